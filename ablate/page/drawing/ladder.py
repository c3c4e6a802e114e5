"""Effects against size: every arm at every size of a ladder, and what is foretold beyond."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.page.drawing.figures import shorten
from ablate.page.drawing.style import LIGHT, Style
from ablate.verdict.ladder import Ladder

WIDTH, HEIGHT = 9.6, 3.9  # inches
BESIDE = 0.035  # of a decade, between two arms at one size
CLEAR = 0.05  # chance of turning below which a sign is drawn as certain as it is foretold: filled


def ladder(found: Ladder, shown: Sequence[str], style: Style = LIGHT) -> Figure:
    """Shares of the base's loss with the intervals of verdicts; the last point of an arm is foretold, at the target."""
    with style.applied():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        ax = figure.subplots()
        ax.axhline(0, color=style.muted, linewidth=0.9)
        ax.set_xscale("log")
        arms = [arm for arm in found.arms if arm in shown]
        for i, (arm, colour) in enumerate(zip(arms, style.arms, strict=False)):
            beside = 10 ** (BESIDE * (i - (len(arms) - 1) / 2))
            _arm(ax, found, arm, colour, beside)
        if found.held:
            ax.axvline(found.target, color=style.faint, linewidth=8, zorder=0)
        ax.set_xlabel("parameters")
        ax.set_ylabel("effect, % of the loss of the base")
        ax.set_title("Effects by size, with their intervals; on the stripe what is foretold")
        ax.legend(loc="best", fontsize=8, ncols=2)
    return figure


def _arm(ax: Axes, found: Ladder, arm: str, colour: str, beside: float) -> None:
    steps = [step for step in found.sizes if arm in step.verdicts]
    x = [beside * step.parameters for step in steps]
    y = [100 * step.share(arm)[0] for step in steps]
    for at, step in zip(x, steps, strict=True):
        verdict = step.verdicts[arm]
        if len(verdict.differences) > 1:
            ends = [100 * end / verdict.base_value for end in verdict.effect.interval]
            ax.plot([at, at], ends, color=colour, linewidth=1.4, marker="_", markersize=6)
    ax.plot(x, y, "o-", color=colour, linewidth=1, markersize=5, label=shorten(arm, 24))
    if arm in found.held:
        held, at = found.held[arm], beside * found.target
        ax.plot([at, at], [100 * end for end in held.interval], color=colour, linewidth=1.4, marker="_", markersize=6)
        face = colour if held.flip < CLEAR else "none"
        ax.plot([x[-1], at], [y[-1], 100 * held.effect], ":", color=colour, linewidth=1)
        ax.plot(at, 100 * held.effect, "s", color=colour, markerfacecolor=face, markersize=5.5)
