"""Bytes against damage: the arms of a study that compares forms, and the frontier of those that are worth a look."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from ablate.page.drawing.figures import shorten
from ablate.page.drawing.style import LIGHT, Style, png
from ablate.run.files import write_atomically
from ablate.verdict.compare import Verdict
from ablate.verdict.compression import Smaller, frontier, smaller
from ablate.verdict.evidence import Evidence

WIDTH, HEIGHT = 9.6, 4.8  # inches
MANY = 6  # margins: where an arm loses more, what is beyond the margin is drawn on a logarithmic axis
LINE = 11.0  # points, between two names
NAME = 26  # characters of an arm
SIZES = (1, 1.5, 2, 3, 4, 5, 6, 8)  # times powers of ten: ticks


def pareto(found: Sequence[Smaller], style: Style = LIGHT) -> Figure:
    """Each arm with its interval over seeds, in the colour of its word, and a dot a seed; the base is a square."""
    base, arms = found[0], [one for one in found[1:] if one.verdict]
    with style.applied():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        ax = figure.subplots()
        margin = _margin(ax, arms, style)
        for one in arms:
            _arm(ax, one, style)
        ax.plot(base.bytes / 1e6, 0, "s", color=style.ink, markersize=6, zorder=4)
        best = frontier(found)
        steps = [one.bytes / 1e6 for one in best], [one.damage for one in best]
        ax.step(*steps, where="post", color=style.ink, linewidth=1.1, alpha=0.6, zorder=2)
        _axes(ax, found, margin)
        _names(ax, found, style)
    return figure


def _margin(ax: Axes, arms: Sequence[Smaller], style: Style) -> float:
    """A stripe as wide as the margin; the words of the axis."""
    verdict = arms[0].verdict if arms else None
    if verdict is None:
        return 0.0
    ax.axhspan(-verdict.margin, verdict.margin, color=style.faint, alpha=0.55, linewidth=0)
    ax.axhline(0, color=style.muted, linewidth=0.9)
    ax.set_ylabel(f"lost, {verdict.metric.unit} ({verdict.metric.name})")
    return verdict.margin


def _arm(ax: Axes, one: Smaller, style: Style) -> None:
    assert one.verdict
    colour, x, (low, high) = style.words[one.verdict.word], one.bytes / 1e6, one.interval
    if len(one.verdict.differences) > 1:
        ax.plot([x, x], [low, high], color=colour, linewidth=1.4, marker="_", markersize=7, zorder=3)
    dots = [one.verdict.metric.sign * value for value in one.verdict.differences.values()]
    ax.plot([x] * len(dots), dots, "o", color=style.ink, markersize=2.6, alpha=0.7, markeredgewidth=0, zorder=5)
    ax.plot(x, one.damage, "o", color=colour, markersize=6.5, zorder=4)


def _axes(ax: Axes, found: Sequence[Smaller], margin: float) -> None:
    ax.set_xscale("log")
    low, high = (edge(one.bytes / 1e6 for one in found) for edge in (min, max))
    ax.set_xlim(low / 1.12, high * 1.3)
    ax.set_xticks(
        [tick * 10**power for power in range(-6, 8) for tick in SIZES if low / 1.12 < tick * 10**power < high * 1.3]
    )
    ax.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    beyond = margin and max(one.damage for one in found) > MANY * margin
    if beyond:
        ax.set_yscale("symlog", linthresh=margin, linscale=1.5)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    scale = "; logarithmic beyond the margin" if beyond else ""
    ax.set_xlabel("MB on disk")
    ax.set_title(f"What is lost against bytes: means and intervals over seeds; the line is the frontier{scale}")


def _names(ax: Axes, found: Sequence[Smaller], style: Style) -> None:
    """Beside their dots; where those are near one another, one above the other."""
    ax.figure.draw_without_rendering()  # pyrefly: ignore
    points = 72 / ax.figure.dpi
    at = {one.arm: ax.transData.transform((one.bytes / 1e6, one.damage)) * points for one in found}
    placed: list[tuple[float, float]] = []
    for one in sorted(found, key=lambda one: one.damage):
        x, y = at[one.arm]
        own = y
        while any(abs(own - other) < LINE and -80 < x - beside < 80 for beside, other in placed):
            own += 1.0
        placed.append((x, own))
        text = shorten(one.arm, NAME)
        ax.annotate(
            text,
            (one.bytes / 1e6, one.damage),
            (9, own - y),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=style.ink,
            bbox={"facecolor": style.paper, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
        )


def keep(evidence: Evidence, verdicts: Sequence[Verdict], folder: Path) -> None:
    """As PNG, of a study in which weights became smaller."""
    if found := smaller(evidence, verdicts):
        write_atomically(folder / "pareto.png", png(pareto(found)))
