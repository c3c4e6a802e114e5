"""What a router is worth, as tables: accuracy at equal tokens, and the gain over choice at random."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ablate.page.tables import table
from ablate.verdict.statistics.routing import SHARES, Estimate, Judged

SHOWN = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way from never to always


def routed(found: Judged) -> Group:
    return Group(Text(_ends(found)), Text(), _curves(found), Text(), _gains(found))


def _curves(found: Judged) -> Table:
    """A row a number of tokens, a column a rule."""
    out = table(">tokens", ">random", *(f">{name}" for name in found.curves))
    for place in (int(abs(SHARES - share).argmin()) for share in SHOWN):
        cells = [
            f"{curve.accuracy[place]:.3f} ±{(curve.high[place] - curve.low[place]) / 2:.3f}"
            for curve in found.curves.values()
        ]
        out.add_row(f"{found.tokens[place]:.1f}", f"{found.at_random[place]:.3f}", *cells)
    out.caption = "accuracy where so many tokens may be written for a question, ± half an interval of 95%"
    return out


def _ends(found: Judged) -> str:
    never, always = found.tokens[0], found.tokens[-1]
    return f"never steps: {found.at_random[0]:.3f} right, {never:.1f} tokens; always: {found.always:.3f}, {always:.1f}"


def _gains(found: Judged) -> Table:
    out = table("right more than at random, at equal tokens", ">mean", ">95%", "")
    gains = {name: curve.gain for name, curve in found.curves.items()}
    for name, gain in gains.items():
        out.add_row(name, *_cells(gain))
    first = next(iter(gains))
    for name, difference in found.differences.items():
        out.add_row(f"{first} less {name}", *_cells(difference))
    return out


def _cells(found: Estimate) -> tuple[str, str, str]:
    return f"{found.value:+.4f}", f"[{found.low:+.4f}, {found.high:+.4f}]", found.word
