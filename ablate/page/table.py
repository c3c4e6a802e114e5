"""What a terminal shows of a study: its verdicts, one row an arm, and what was found about the study itself."""

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.verdict.compare import Verdict, bounds
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
    return out


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
