"""One page that says what a study shows: the verdict first, then everything that it rests on.

`index.html` needs nothing but itself: figures are part of it, for light and dark paper, and it folds without a
script. The same figures and the numbers behind them lie beside it as PNG and CSV. The page follows from the records
alone (it carries no date), so writing it again changes nothing unless the records have changed.

    outputs/studies/mix_sweep/report/  index.html
                                       forest.png losses.png parallel.png saturation.png mixture.png schedule.png
                                       abilities.png protocols.png pareto.png
                                       verdicts.csv runs.csv curves.csv compression.csv

A study of hundreds of arms has a page that can still be read: the arms that matter most (`strips.foremost`) are shown
in detail, all others in one line each, folded away, and the page says how many those are.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ablate.laws import curves, worth
from ablate.laws.saturation import saturation
from ablate.page import inserted, ladder
from ablate.page import spreadsheet as export
from ablate.page.compressed import heat
from ablate.page.drawing import abilities, figures, parallel, pareto, phases, recipe, strips, vector
from ablate.page.drawing import ladder as ladder_figure
from ablate.page.drawing.doses import doses
from ablate.page.drawing.style import LIGHT
from ablate.page.facts import facts
from ablate.page.templates import environment
from ablate.run.files import make_own, write_atomically
from ablate.run.identity import key_in_words
from ablate.run.study_record import StudyRecord
from ablate.verdict import card, compare, compression, skips, spending, spread
from ablate.verdict import chain as chains
from ablate.verdict.chain import Chain
from ablate.verdict.evidence import Evidence, Run, flops_text, read, spending_text, tokens_text
from ablate.verdict.interventions import Interventions, interventions
from ablate.verdict.ladder import Ladder, read_ladder
from ablate.verdict.task_effects import task_effects
from ablate.verdict.validity import trust

DETAILED = 24  # arms that have a card, a law and a row in every figure
COLOURED = len(LIGHT.arms)  # arms that have a colour of their own where there are more than that
MIXTURES = 14  # arms in the figure of mixtures
SHOWN = {"few": DETAILED, "coloured": COLOURED, "mixtures": MIXTURES}  # as the template calls them


def write(study: StudyRecord) -> Path:
    """Write the page of a study, finished or not; returns the path of index.html."""
    evidence = read(study)
    return of(evidence, trust.conclude(evidence), read_ladder(evidence))


def of(evidence: Evidence, conclusion: trust.Conclusion, rungs: Ladder | None = None) -> Path:
    """Write the page of what was read and concluded. rungs: of the ladder that the study is one of."""
    folder = evidence.study.folder / "report"
    make_own(folder)
    detailed = strips.foremost(conclusion.verdicts, DETAILED)
    arms = [arm for arm in [evidence.base, *(v.arm for v in detailed)] if evidence.finished(arm)]
    trained = [arm for arm in arms if any(run.result["step"] for run in evidence.finished(arm).values())]
    estimated = [curves.estimate(evidence, arm, domain) for arm in trained for domain in evidence.domains]
    eps = compare.smallest_effects(evidence, conclusion.past)
    chain = _chain(evidence)
    drawings = _drawings(evidence, conclusion.verdicts, estimated, eps, chain)
    if rungs:
        drawings["ladder"] = partial(ladder_figure.ladder, rungs, arms[1 : 1 + COLOURED])
    questions = interventions(evidence)
    drawings |= {f"inserted_{place}": partial(doses, one) for place, one in enumerate(questions, 1)}
    pictures = _pictures(drawings, folder)
    for name, text in export.tables(evidence, conclusion.verdicts, conclusion.contrasts).items():
        write_atomically(folder / f"{name}.csv", text)
    write_atomically(
        folder / "index.html", _html(evidence, conclusion, estimated, eps, chain, rungs, questions, pictures)
    )
    return folder / "index.html"


def _chain(evidence: Evidence) -> Chain | None:
    """Of a study with phases, once a run of any of them has finished."""
    chain = chains.of_study(evidence) if evidence.before else None
    return chain if chain and chain.metrics else None


def _pictures(drawings: dict[str, Callable[[], Figure]], folder: Path) -> dict[str, Markup]:
    """{figure: SVG}; as PNG they are also written to the folder."""
    return {name: vector.both(draw(), folder / f"{name}.png") for name, draw in drawings.items()}


def _drawings(
    evidence: Evidence,
    verdicts: list[compare.Verdict],
    estimated: list[curves.Curve],
    eps: dict[str, float],
    chain: Chain | None,
) -> dict[str, Callable[[], Figure]]:
    coloured, rows = ([v.arm for v in strips.foremost(verdicts, count)] for count in (COLOURED, MIXTURES))
    of_chain = {"phases": partial(phases.phases, chain, shown=coloured)} if chain else {}
    if not evidence.any_finished:
        return of_chain
    first = [curve for curve in estimated if curve.arm == estimated[0].arm]  # the base, if it has finished
    points = {curve.domain: curves.all_points(evidence, curve.arm, curve.domain) for curve in first}
    found = of_chain | {"forest": partial(figures.forest, evidence, strips.foremost(verdicts, DETAILED))}
    along = {
        "losses": partial(figures.losses, evidence, shown=coloured),
        "saturation": partial(figures.saturation, first, points, eps),
        "mixture": partial(recipe.mixture, evidence, shown=coloured, rows=rows),
        "schedule": partial(recipe.schedule, evidence, shown=coloured),
    }
    if evidence.any_trained:
        found |= along
    if smaller := compression.smaller(evidence, strips.foremost(verdicts, DETAILED)):
        found["pareto"] = partial(pareto.pareto, smaller)
    if parallel.drawable(evidence):
        found["parallel"] = partial(parallel.parallel, evidence)
    if abilities.progressed(evidence):
        found["abilities"] = partial(abilities.progression, evidence, shown=coloured)
    if abilities.asked_in_several_ways(evidence):
        found["protocols"] = partial(abilities.by_protocol, evidence, shown=coloured)
    return found


def _html(
    evidence: Evidence,
    conclusion: trust.Conclusion,
    estimated: list[curves.Curve],
    eps: dict[str, float],
    chain: Chain | None,
    rungs: Ladder | None,
    questions: list[Interventions],
    pictures: dict[str, Markup],
) -> str:
    environments, rows = _environments(evidence.distinct_runs), _strips(evidence, conclusion.verdicts)
    return (
        _jinja(worth.of_base(evidence))
        .get_template("page.html")
        .render(
            evidence=evidence,
            study=evidence.declaration,
            conclusion=conclusion,
            rows=rows,
            scale=strips.Scale.over(rows, evidence.declaration["margin"]),
            headline=strips.headline(conclusion.verdicts),
            cards={one.verdict.arm: one for one in _cards(evidence, conclusion)},
            settings=parallel.settings(evidence),
            effects=by_arm(compare.domain_effects(evidence, conclusion.past)),
            tasks=task_effects(evidence, conclusion.past) if evidence.scope.tasks else [],
            pairing=spread.gain(evidence, evidence.arms, evidence.metric.name),
            saturations=[saturation(curve, eps[curve.domain]) for curve in estimated],
            cooled=any(curve.points.cooled for curve in estimated),
            law_arm=estimated[0].arm if estimated else None,
            mixture_gap=_mixture_gap(evidence),
            samples=_samples(evidence),
            costs=spending.by_arm(evidence),
            spent=spending.of(evidence),
            spending=spending_text(evidence),
            pictures=pictures,
            environments=environments,
            drift={key: values for key, values in environments.items() if len(values) > 1},
            **SHOWN,
            disturbed=any(skips.windows(run) or run.result.get("spikes") for run in evidence.runs),
            inserted=questions,
            **_of_ladder(rungs),
            **_of_smaller(evidence, conclusion),
            **_of_chain(evidence, conclusion, chain),
        )
    )


def _of_ladder(rungs: Ladder | None) -> dict[str, Any]:
    """What `ladder.html` shows."""
    return {"ladder": rungs, "rungs": list(ladder.rows(rungs)) if rungs else []}


def _of_smaller(evidence: Evidence, conclusion: trust.Conclusion) -> dict[str, Any]:
    """What `compressed.html` shows of a study in which weights became smaller, of the arms in detail."""
    found = compression.smaller(evidence, strips.foremost(conclusion.verdicts, DETAILED))
    return {"smaller": found, "frontier": {one.arm for one in compression.frontier(found)}}


def _of_chain(evidence: Evidence, conclusion: trust.Conclusion, chain: Chain | None) -> dict[str, Any]:
    """What `chain.html` shows of a study with phases, of the arms in detail."""
    if chain is None:
        return {"chain": None}
    shown = [evidence.base, *(verdict.arm for verdict in strips.foremost(conclusion.verdicts, DETAILED))]
    found = {"rows_of_phases": list(chain.rows(shown)), "survival": chains.survival(evidence, conclusion)}
    return found | {"chain": chain, "shown_arms": shown, "panels": phases.PANELS}


def _jinja(base: curves.Curve | None) -> Environment:
    """base: what the worth of arms is read from."""
    jinja = environment()
    jinja.filters |= {"code": _code, "signed": _signed, "tokens": _or_dash(tokens_text), "flops": _or_dash(flops_text)}
    jinja.filters |= {"hours": _or_dash(_hours), "number": _or_dash("{:.4f}".format), "value": _value, "minus": _minus}
    jinja.filters |= {
        "facts": partial(facts, base=base),
        "key": key_in_words,
        "heat": heat,
        "parameters": ladder.heading,
        "note": inserted.note,
    }
    return jinja


def _samples(evidence: Evidence) -> list[dict[str, Any]]:
    """What a run of the base and of each arm, that of the first seed with any, wrote at first and at last."""
    found = []
    for arm, runs in list(evidence.by_arm.items())[: DETAILED + 1]:
        noted = {seed: rows for seed, run in runs.items() if (rows := run.record.rows("sample"))}
        if noted:
            seed, rows = next(iter(noted.items()))
            last = {one["prompt"]: one["text"] for one in rows[-1]["texts"]}
            pairs = [(one["prompt"], one["text"], last.get(one["prompt"], "")) for one in rows[0]["texts"]]
            found.append({"arm": arm, "seed": seed, "steps": (rows[0]["step"], rows[-1]["step"]), "pairs": pairs})
    return found


def _strips(evidence: Evidence, verdicts: list[compare.Verdict]) -> list[strips.Strip]:
    """Those of few arms in the order declared, where a reader looks for them; those of many by their difference."""
    rows = strips.of_verdicts(verdicts)
    if len(rows) > DETAILED:
        rows.sort(key=lambda strip: math.inf if strip.mean is None else evidence.metric.sign * strip.mean)
    return rows


def _cards(evidence: Evidence, conclusion: trust.Conclusion) -> list[card.Card]:
    """Of the arms in detail."""
    detailed = {verdict.arm for verdict in strips.foremost(conclusion.verdicts, DETAILED)}
    return [one for one in card.cards(evidence, conclusion) if one.verdict.arm in detailed]


def by_arm(effects: list[compare.DomainEffect]) -> dict[str, dict[str, compare.DomainEffect]]:
    table: dict[str, dict[str, compare.DomainEffect]] = {}
    for effect in effects:
        table.setdefault(effect.arm, {})[effect.metric] = effect
    return table


def _mixture_gap(evidence: Evidence) -> float:
    """The largest distance between a share asked for and the share read, over all finished runs."""
    mixtures = [run.result["mixture"] for run in evidence.runs if run.outcome == "finished"]
    gaps = [abs(m["realised"].get(d, 0.0) - m["asked"].get(d, 0.0)) for m in mixtures for d in evidence.domains]
    return max(gaps, default=0.0)


def _environments(runs: Iterable[Run]) -> dict[str, list[tuple[str, int]]]:
    """{what: [(value, number of runs)]} of everything recorded; more than one value is drift."""
    found: dict[str, Counter[str]] = {}
    for run in runs:
        if environment := run.record.environment():
            packages = {f"{name} (package)": version for name, version in environment.pop("packages", {}).items()}
            for key, value in (environment | packages).items():
                found.setdefault(key, Counter())[str(value)] += 1
    return {key: values.most_common() for key, values in found.items()}


def _code(text: str) -> Markup:
    """`name` -> <code>name</code>, everything escaped."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−") if math.isfinite(value) else "–"


def _minus(text: str) -> str:
    """A real minus before numbers."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def _or_dash(form: Callable[[float], str]) -> Callable[[float | None], str]:
    return lambda value: form(value) if value is not None and math.isfinite(value) else "–"


def _hours(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.1f} min"
        if seconds >= 60
        else f"{seconds:.1f} s"
    )


def _value(value: Any) -> str:
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
