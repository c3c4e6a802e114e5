"""What a terminal shows: verdicts, findings, the card of an arm, and the error rates of a lab."""

import math

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ablate.page.facts import facts
from ablate.verdict import registry, selftest
from ablate.verdict.card import Card
from ablate.verdict.compare import Verdict, bounds
from ablate.verdict.selftest import SelfTest
from ablate.verdict.statistics.paired import Word
from ablate.verdict.validity.finding import Finding
from ablate.verdict.validity.trust import Conclusion

COLOURS: dict[Word, str] = {"better": "green", "worse": "red", "equivalent": "blue", "inconclusive": "yellow"}
SHOWN = 12  # findings that held


def show(conclusion: Conclusion, console: Console) -> None:
    """Print all that a study says but the sentence."""
    console.print(verdicts(conclusion.verdicts), "", findings(conclusion.findings), sep="\n")


def verdicts(results: list[Verdict]) -> Table:
    """Value of base and arm, difference with its interval, p value, what could have been seen, and the word."""
    out = Table(box=None, pad_edge=False, header_style="dim")
    out.add_column("arm", overflow="fold")
    for name in (results[0].metric.name if results else "metric", "difference", "p adj.", "detectable"):
        out.add_column(name, justify="right", no_wrap=True)
    out.add_column("verdict", overflow="fold")
    for verdict in results:
        out.add_row(*_cells(verdict))
    if results:
        metric = results[0].metric
        out.caption, out.caption_justify = f"{metric.name}: {metric.unit}, {metric.better} is better", "left"
    return out


def _cells(v: Verdict) -> list[Text]:
    word = lines(v.word, *v.notes, *(["provisional"] if v.provisional else []), style=COLOURS[v.word])
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
        lines(f"{v.effect.mde:.4f}", seeds),
        word,
    ]


def lines(first: str, *more: str, style: str = "") -> Text:
    text = Text(first, style=style)
    for line in more:
        text.append(f"\n{line}", style="not bold dim default")
    return text


def findings(found: list[Finding]) -> Table:
    """Those that void come first."""
    out = Table(box=None, pad_edge=False, show_header=False)
    out.add_column(style="dim", no_wrap=True)
    out.add_column(overflow="fold")
    ordered = sorted(found, key=lambda finding: finding.held)
    shown = max(SHOWN, sum(not finding.held for finding in found))
    for finding in ordered[:shown]:
        arm = f"{finding.arm}: " if finding.arm else ""
        out.add_row(finding.check, Text(f"{arm}{finding.text}", style="" if finding.held else "bold red"))
    if len(ordered) > shown:
        out.add_row("", Text(f"and {len(ordered) - shown} more that held: the page has them all", style="dim"))
    return out


def card(one: Card) -> Table:
    """All that the verdict of one arm rests on, a line a fact."""
    out = Table.grid(padding=(0, 2))
    out.add_column(style="dim", no_wrap=True)
    out.add_column(overflow="fold")
    word = one.verdict.word
    out.add_row(Text(one.verdict.arm, style="bold not dim"), Text(word, style=f"bold {COLOURS[word]}"))
    for name, text in facts(one):
        out.add_row(name, Text(text))
    return out


def self_test(test: SelfTest) -> Group:
    """The rates, the noise by metric and kind, and what pairing gains, for a terminal."""
    pairs = f"{test.pairs} A/A pairs of trained runs ({selftest.METRIC})"
    title = f"{pairs}, {selftest.SEEDS} to a pseudo-arm; bounds of 95 %"
    rates = Table(box=None, pad_edge=False, header_style="dim", title=title, title_justify="left")
    rates.add_column("false differences", overflow="fold")
    for name in ("found", "of", "share", "at most"):
        rates.add_column(name, justify="right", no_wrap=True)
    for name, rate in (
        (f"one pseudo-arm, level {selftest.ALPHA}, judged as verdicts are", test.moderated),
        (f"one pseudo-arm, level {selftest.ALPHA}, by the plain paired t", test.plain),
        ("any in a study, corrected for the family", test.families),
    ):
        if rate.trials:
            rates.add_row(name, f"{rate.found:.3g}", str(rate.trials), f"{rate.share:.3f}", f"{rate.bound:.3f}")
    positives = f"positive controls found: {test.positives_found} of {test.positives}"
    if not test.positives:
        positives = "no positive control has been trained: that effects are found has not been shown here"
    return Group(rates, Text(), _noises(test), Text(), _pairings(test), Text(), Text(positives))


def _noises(test: SelfTest) -> Table:
    out = Table(box=None, pad_edge=False, header_style="dim", title="noise of a difference", title_justify="left")
    for name in ("metric", "kind of arm"):
        out.add_column(name, overflow="fold")
    for name in ("sd (unit of the metric)", "worth d0", "arms"):
        out.add_column(name, justify="right", no_wrap=True)
    for metric, found in test.noises.items():
        for known in found:
            sd = f"{math.sqrt(known.noise.variance):.4f}" if known.noise.df else "–"
            out.add_row(metric, registry.name_of(known.kind), sd, f"{known.noise.df:.1f}", str(known.arms))
    return out


def _pairings(test: SelfTest) -> Table:
    out = Table(box=None, pad_edge=False, header_style="dim", title="gain from pairing", title_justify="left")
    out.add_column("kind of arm", overflow="fold")
    for name in ("variance cut", "correlation", "arms", "df"):
        out.add_column(name, justify="right", no_wrap=True)
    for kind, one in test.pairings.get(selftest.METRIC, {}).items():
        cut, correlation = f"x{one.value:.3g}", f"{one.correlation:.2f}"
        out.add_row(registry.name_of(kind), cut, correlation, str(one.arms), str(one.df))
    return out
