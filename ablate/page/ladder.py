"""A ladder as a table, for a terminal and for the page: arms in rows, sizes in columns, and what is foretold beyond."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from ablate.page.tables import COLOURS, lines, table
from ablate.verdict.ladder import Ladder

NOTE = """effects in percent of what the base loses at that size; the last two columns are foretold from all sizes and \
from how effects wandered in public campaigns (docs/scale.md): an interval of {confidence:.0%}, and the probability \
that the sign is another there"""


@dataclass(frozen=True)
class Cell:
    """An arm at one size. word: "" where nothing was found yet; rates: what it is at others, where it is another."""

    effect: str
    word: str
    rates: str


@dataclass(frozen=True)
class Row:
    arm: str
    cells: list[Cell]
    foretold: str
    interval: str
    flip: str


def rows(found: Ladder) -> Iterator[Row]:
    for arm in found.arms:
        cells = [_cell(found, arm, i) for i in range(len(found.sizes))]
        held = found.held.get(arm)
        ends = "[{:+.2f}, {:+.2f}]".format(*(100 * end for end in held.interval)) if held else ""
        yield Row(arm, cells, f"{100 * held.effect:+.2f} %" if held else "–", ends, f"{held.flip:.2g}" if held else "–")


def _cell(found: Ladder, arm: str, place: int) -> Cell:
    step = found.sizes[place]
    if arm not in step.verdicts:
        return Cell("–", "", "")
    verdict = step.verdicts[arm]
    others = [f"{one.word} at {rate:g} x" for rate, one in found.at(arm, step.rung.size) if one.word != verdict.word]
    best = found.best_rate(arm, step.rung.size)
    said = [*others, *([f"best at {best:g} x the rate"] if best else [])]
    return Cell(f"{100 * step.share(arm)[0]:+.2f} %", verdict.word, ", ".join(said))


def heading(parameters: float) -> str:
    """`1.2M`: a number of parameters."""
    power = next((power for power in (9, 6, 3) if parameters >= 10**power), 0)
    return f"{parameters / 10**power:.3g}{ {9: 'B', 6: 'M', 3: 'k', 0: ''}[power] }"


def shown(found: Ladder) -> Table:
    """For a terminal."""
    sizes = [heading(step.parameters) for step in found.sizes]
    out = table("arm", *(f">{size}" for size in sizes), f">at {heading(found.target)}", ">sign turns", title=found.of)
    for row in rows(found):
        cells = [
            lines(one.effect, *filter(None, (one.word, one.rates)), style=COLOURS.get(one.word, ""))
            for one in row.cells
        ]
        out.add_row(Text(row.arm, style="bold"), *cells, lines(row.foretold, row.interval), row.flip)
    unsaid = "" if found.held or len(found.sizes) < 2 else f"; nothing is foretold: {found.why_not}"
    missing = f"; {found.missing} of {len(found.declared)} studies have no result yet" if found.missing else ""
    out.caption = NOTE.format(confidence=found.confidence) + unsaid + missing
    return out


def _lines(one: Cell) -> Text:
    return lines(one.effect, *filter(None, (one.word, one.rates)), style=COLOURS.get(one.word, ""))
