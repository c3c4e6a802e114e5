"""What each phase of a chain did, in a terminal: rows of metrics or arms, a column a phase."""

import math
from collections.abc import Iterable, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ablate.page.tables import COLOURS, lines, table
from ablate.verdict import chain as chains
from ablate.verdict.chain import Chain, Estimate, Stage
from ablate.verdict.compare import Verdict, bounds
from ablate.verdict.evidence import Evidence
from ablate.verdict.validity.trust import Conclusion

SHOWN = 12  # arms of a study
Survival = Mapping[str, Mapping[str, Verdict]]


def small(evidence: Evidence, conclusion: Conclusion) -> list[RenderableType]:
    """Of a study with phases, the declared metric alone: what each phase did, and whether the verdict survives.

    Empty without phases, and before a run of any has finished.
    """
    if not evidence.before or not (chain := chains.of_study(evidence)).metrics:
        return []
    return [of_study(chain), "", survival(chain, chains.survival(evidence, conclusion)), ""]


def stages(rows: Iterable[tuple[Text, Sequence[Stage]]], heading: str, columns: Sequence[str], noise: str) -> Table:
    """Rows of a name and its stages: the value at the end of each phase, and how far the phase moved it."""
    out = table(heading, *columns)
    for name, found in rows:
        out.add_row(name, *map(_stage, found))
    out.caption = f"at the end of each phase, and beneath by how much the phase changed it; ± half an interval {noise}"
    return out


def of_study(chain: Chain) -> Table:
    """The declared metric of every arm."""
    shown = chain.arms[: SHOWN + 1]
    rows = ((Text(arm, style="bold"), chain.row(arm, chain.first)) for arm in shown)
    noise = f"of {chain.confidence:.0%} over seeds, or of one seed over passages or items"
    out = stages(rows, f"{chain.first} by phase", [phase.name for phase in chain.phases], noise)
    return _counted(out, len(chain.arms) - len(shown))


def of_run(chain: Chain) -> Table:
    """Every metric of one chain; the names of phases stand in the heads of columns."""
    [arm] = chain.arms
    rows = ((lines(name, chain.unit(name).unit, style="bold"), chain.row(arm, name)) for name in chain.metrics)
    noise = f"of {chain.confidence:.0%} over passages or items, where one run knows any: another seed is not in it"
    return stages(rows, "at the end of", [phase.name for phase in chain.phases], noise)


def survival(chain: Chain, found: Survival) -> Table:
    """The difference of each arm from the base at the end of every phase, and how far each phase moved it."""
    *before, judged = chain.phases
    arms = [*found[judged.name]]
    out = table(f"minus {chain.arms[0]}", *(phase.name for phase in before), f"{judged.name}, judged")
    for arm in arms[:SHOWN]:
        cells = [_contrast(stage, found[stage.phase].get(arm)) for stage in chain.row(arm, chain.first)]
        out.add_row(Text(arm, style="bold"), *cells)
    out.caption = "words of earlier phases are those there would be, were they judged"
    return _counted(out, len(arms) - SHOWN)


def _counted(out: Table, more: int) -> Table:
    if more > 0:
        out.caption = f"{out.caption}; {more} more arms: phases.csv has them all"
    return out


def _stage(stage: Stage) -> Text:
    if stage.value is None:
        return lines("–", *stage.notes)
    change = [_around(stage.change, "+.4f")] if stage.change else []
    same = [f"the runs of {stage.same}"] if stage.same else []
    unchanged = [stage.unchanged] if stage.unchanged else []
    return lines(_around(stage.value, ".4f"), *change, *unchanged, *same, *stage.notes)


def _contrast(stage: Stage, verdict: Verdict | None) -> Text:
    if stage.contrast is None:
        return lines("–", "the same runs" if stage.same else "; ".join(stage.notes))
    shift = [f"moved {_around(stage.shift, '+.4f')}"] if stage.shift else []
    if verdict is None or len(verdict.differences) < 2:
        return lines(_around(stage.contrast, "+.4f"), *shift)
    word = Text(f"{verdict.effect.mean:+.4f} ").append(verdict.word, style=COLOURS[verdict.word])
    return Text("\n").join([word, lines("", bounds(verdict.effect.interval), *shift)[1:]])


def _around(one: Estimate, form: str) -> str:
    """`2.3141 ±0.0213`, alone where no noise is known."""
    low, high = one.interval or (math.nan, math.nan)
    return f"{one.mean:{form}}" + (f" ±{(high - low) / 2:.4f}" if one.interval else "")
