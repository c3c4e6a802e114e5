"""What a terminal shows: verdicts, findings, the card of an arm, and the error rates of a lab."""

import math
from collections import Counter
from collections.abc import Sequence

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ablate.laws.curves import Curve
from ablate.page import chain, compressed, inserted, ladder, tables
from ablate.page.facts import facts
from ablate.page.tables import COLOURS, lines, table
from ablate.verdict import compression, registry, selftest
from ablate.verdict.card import Card
from ablate.verdict.compare import Verdict, bounds
from ablate.verdict.contrasts import Contrast
from ablate.verdict.evidence import Evidence, spending_text
from ablate.verdict.interventions import interventions
from ablate.verdict.ladder import Ladder
from ablate.verdict.preferences import HALF, Preferences, preferences
from ablate.verdict.selftest import SelfTest
from ablate.verdict.statistics.paired import Interval
from ablate.verdict.task_effects import TaskEffect, task_effects
from ablate.verdict.validity.finding import Finding
from ablate.verdict.validity.trust import Conclusion

SHOWN = 12  # findings that held
REASONS = 8  # of runs that have not finished, in the foot of the table


def show(found: Evidence, conclusion: Conclusion, console: Console, rungs: Ladder | None = None) -> None:
    """Print the question, the verdicts, what was found about the study, and the verdict in a sentence."""
    console.print(f"[bold]{escape(found.study.name)}[/]  {escape(found.declaration['question'])}\n")
    if found.any_finished:
        console.print(verdicts(conclusion.verdicts), "", sep="\n")
        console.print(*chain.small(found, conclusion), sep="\n")
        if smaller := compression.smaller(found, conclusion.verdicts):
            console.print(
                compressed.arms(smaller),
                *compressed.rates(smaller),
                *compressed.heats({one.arm: one.forms for one in smaller}),
                "",
                sep="\n",
            )
        if rungs:
            console.print(ladder.shown(rungs), "", sep="\n")
        for one in interventions(found):
            console.print(inserted.shown(one), "", sep="\n")
        if conclusion.contrasts:
            console.print(contrasts(conclusion.contrasts), "", sep="\n")
        if of_pairs := preferences(found):
            console.print(pairs(of_pairs), "", sep="\n")
        if found.scope.tasks and (effects := task_effects(found, conclusion.past)):
            console.print(tasks(effects), "", sep="\n")
        console.print(findings(conclusion.findings))
    else:
        console.print(f"No run has finished yet ({len(found.distinct_runs)} declared): there is nothing to compare.\n")
        console.print(*chain.small(found, conclusion), sep="\n")
    for line in _remarks(found):
        console.print(escape(line))
    if found.any_finished:
        console.print(f"\n[bold]{escape(conclusion.sentence)}[/]")


def _remarks(found: Evidence) -> list[str]:
    lines = [f"\n{spending_text(found)}"]
    if found.null_arms:
        lines.append(f"\n{', '.join(found.null_arms)} = {found.base}: the same settings, hence the same runs.")
    if not found.complete:
        lines.append(f"\n{found.num_done} of {len(found.distinct_runs)} runs are done; the verdict is provisional.")
    if unfinished := [run for run in found.distinct_runs if run.outcome != "finished"]:
        outcomes = Counter(f"{run.outcome}: {run.reason}" if run.reason else run.outcome for run in unfinished)
        lines += [f"{count} {outcome}" for outcome, count in outcomes.most_common(REASONS)]
    return lines


def verdicts(results: list[Verdict]) -> Table:
    """Value of base and arm, difference with its interval, p value, what could have been seen, and the word."""
    metric = results[0].metric if results else None
    out = table("arm", f">{metric.name if metric else 'metric'}", ">difference", ">p adj.", ">detectable", "verdict")
    for verdict in results:
        out.add_row(*_cells(verdict))
    if metric:
        out.caption = f"{metric.name}: {metric.unit}, {metric.better} is better"
    return out


def contrasts(found: Sequence[Contrast]) -> Table:
    """Of a grid, one family: difference with its interval, p value, and the word; of many the clearest."""
    out = table("factor by factor", ">difference", ">p adj.", ">detectable", "verdict")
    shown = sorted(found, key=lambda one: one.effect.p_adjusted)[:SHOWN] if len(found) > SHOWN else found
    for one in shown:
        effect, word = one.effect, one.effect.word
        mde = "–" if math.isnan(one.detectable) else f"{one.detectable:.4f}"
        mean = lines(f"{effect.mean:+.4f}", bounds(effect.interval))
        out.add_row(one.name, mean, f"{effect.p_adjusted:.2g}", mde, Text(word, style=COLOURS[word]))
    if len(shown) < len(found):
        out.caption = f"{len(found) - len(shown)} more of this family: the page has them all"
    return out


PAIRS = {"likelier": 3, "chosen": 1, "rise": 2, "distance": 2, "longer": 2}  # decimals of what stands beside `acc`


def pairs(found: Sequence[Preferences]) -> Table:
    """What every arm says of held-out pairs, with what training on preferences hides."""
    out = table("pairs", ">acc", *(f">{name}" for name in PAIRS))
    for one in found:
        intervals = f"{shares(one.over_seeds)} seeds", f"{shares(one.over_pairs)} pairs"
        acc = lines(f"{one.values['acc']:.3f}", *intervals, style="green" if one.learnt else "")
        others = (f"{one.values[name]:.{digits}f}" if name in one.values else "–" for name, digits in PAIRS.items())
        out.add_row(Text(one.arm, style="bold"), acc, *others)
    learnt = ", ".join(one.arm for one in found if one.learnt) or "none"
    out.caption = f"means over seeds of preference:*, {found[0].pairs} pairs; both intervals above {HALF:g}: {learnt}"
    return out


def shares(interval: Interval) -> str:
    """Of shares, which have no sign."""
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]" if all(map(math.isfinite, interval)) else "[–]"


def tasks(found: Sequence[TaskEffect]) -> Table:
    """Every arm on every task, exploratory: of many the clearest."""
    out = table(
        "task", ">reading", "arm", ">base", ">difference", ">p adj.", ">by other items", title="tasks, exploratory"
    )
    shown = sorted(found, key=lambda one: one.p_adjusted)[:SHOWN]
    for one in shown:
        asked = one.metric.asked
        assert asked is not None
        name = f"{asked.task} {asked.protocol}".strip()
        mean = lines(f"{one.mean:+.4f}", bounds(one.interval) if one.seeds > 1 else "1 seed")
        items = lines(f"± {one.items.error:.4f}", f"{one.items.items} items") if one.items else Text("–")
        out.add_row(
            name,
            asked.reading,
            Text(one.arm, style="bold"),
            f"{one.base_value:.4f}",
            mean,
            f"{one.p_adjusted:.2g}",
            items,
        )
    more = f"; {len(found) - len(shown)} more: the page has them all" if len(shown) < len(found) else ""
    out.caption = f"p is corrected, reading by reading, for all arms on all tasks; nothing here decides{more}"
    return out


def _cells(v: Verdict) -> list[Text]:
    word = lines(v.word, *v.remarks, *(["provisional"] if v.provisional else []), style=COLOURS[v.word])
    arm, seeds = Text(v.arm, style="bold"), f"{len(v.differences)} seeds"
    if not v.differences:
        return [arm, Text("–"), Text("–"), Text("–"), Text("–"), word]
    values = lines(f"{v.base_value:.4f}", f"→ {v.arm_value:.4f}")
    if len(v.differences) < 2:
        return [arm, values, Text(f"{v.effect.mean:+.4f}"), Text("–"), lines("–", "1 seed"), word]
    mean = lines(f"{v.effect.mean:+.4f}", bounds(v.effect.interval))
    return [
        arm,
        values,
        mean,
        Text("–" if math.isnan(v.effect.p_adjusted) else f"{v.effect.p_adjusted:.2g}"),
        lines("–" if math.isnan(v.detectable) else f"{v.detectable:.4f}", seeds),
        word,
    ]


def findings(found: list[Finding]) -> Table:
    """Those that void come first."""
    ordered = sorted(found, key=lambda finding: finding.held)
    shown = max(SHOWN, sum(not finding.held for finding in found))
    out = tables.facts((finding.check, _finding(finding)) for finding in ordered[:shown])
    if len(ordered) > shown:
        out.add_row("", Text(f"and {len(ordered) - shown} more that held: the page has them all", style="dim"))
    return out


def _finding(finding: Finding) -> Text:
    arm = f"{finding.arm}: " if finding.arm else ""
    return Text(f"{arm}{finding.text}", style="" if finding.held else "bold red")


def card(one: Card, base: Curve | None) -> Table:
    """All that the verdict of one arm rests on, a line a fact. base: see `worth.of_base`."""
    word = Text(one.verdict.word, style=f"bold {COLOURS[one.verdict.word]}")
    return tables.facts([(f"[bold not dim]{escape(one.verdict.arm)}[/]", word), *facts(one, base)])


def self_test(test: SelfTest) -> Group:
    """The rates, the noise by metric and kind, and what pairing gains, for a terminal."""
    pairs = f"{test.pairs} A/A pairs of trained runs ({selftest.METRIC})"
    title = f"{pairs}, {selftest.SEEDS} to a pseudo-arm; bounds of 95 %"
    rates = table("false differences", ">found", ">of", ">rate", ">at most", title=title)
    for name, rate in (
        (f"one pseudo-arm, level {selftest.ALPHA}, judged as verdicts are", test.moderated),
        (f"one pseudo-arm, level {selftest.ALPHA}, by the plain paired t", test.plain),
        ("any in a study, corrected for the family", test.families),
    ):
        if rate.trials:
            rates.add_row(name, f"{rate.found:.3g}", str(rate.trials), f"{rate.value:.3f}", f"{rate.bound:.3f}")
    positives = f"positive controls found: {test.positives_found} of {test.positives}"
    if not test.positives:
        positives = "no positive control has been trained: that effects are found has not been shown here"
    return Group(rates, Text(), _noises(test), Text(), _pairings(test), Text(), Text(positives))


def _noises(test: SelfTest) -> Table:
    headings = ("metric", "kind of arm", ">sd (unit of the metric)", ">worth d0", ">arms")
    out = table(*headings, title="noise of a difference")
    for metric, found in test.noises.items():
        for known in found:
            sd = f"{math.sqrt(known.noise.variance):.4f}" if known.noise.df else "–"
            out.add_row(metric, registry.name_of(known.changed), sd, f"{known.noise.df:.1f}", str(known.arms))
    return out


def _pairings(test: SelfTest) -> Table:
    out = table("kind of arm", ">variance cut", ">correlation", ">arms", ">df", title="gain from pairing")
    for kind, one in test.pairings.get(selftest.METRIC, {}).items():
        cut, correlation = f"x{one.value:.3g}", f"{one.correlation:.2f}"
        out.add_row(registry.name_of(kind), cut, correlation, str(one.arms), str(one.df))
    return out
