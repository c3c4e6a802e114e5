"""The verdicts of a study for a terminal, one row an arm; narrow enough for 80 columns."""

import math

from rich.table import Table
from rich.text import Text

from ablate.verdict.compare import Verdict, bounds
from ablate.verdict.statistics.paired import Word

COLOURS: dict[Word, str] = {"better": "green", "worse": "red", "equivalent": "blue", "inconclusive": "yellow"}


def table(results: list[Verdict]) -> Table:
    """Value of base and arm, difference with its interval, p value, what could have been seen, and the word."""
    out = Table(box=None, pad_edge=False, header_style="dim")
    out.add_column("arm", overflow="fold")
    for name in (results[0].metric if results else "metric", "difference", "p adj.", "detectable"):
        out.add_column(name, justify="right", no_wrap=True)
    out.add_column("verdict", overflow="fold")
    for verdict in results:
        out.add_row(*_cells(verdict))
    return out


def _cells(v: Verdict) -> list[Text]:
    word = lines(v.word, *v.notes, *(["provisional"] if v.provisional else []), style=COLOURS[v.word])
    arm, seeds = Text(v.arm, style="bold"), f"{len(v.differences)} seeds"
    if not v.differences:
        return [arm, Text("–"), Text("–"), Text("–"), Text("–"), word]
    values = lines(f"{v.base_bpb:.4f}", f"→ {v.arm_bpb:.4f}")
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
