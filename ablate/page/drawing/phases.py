"""Metrics along a chain of phases: a panel a metric, a line an arm, each phase a stripe of the paper.

A phase of few tokens would not be seen beside a long one, so that none is narrower than LEAST of the widest: within a
phase the axis is linear, and it has ticks at the ends of phases alone. A line goes on from one phase to the next where
both are measured on the same. Arms that share the runs of a phase are one line there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.page.drawing.figures import SPREAD_FROM, nice, shorten
from ablate.page.drawing.style import LIGHT, Style, grid, png
from ablate.run.files import write_atomically
from ablate.verdict.chain import Chain
from ablate.verdict.evidence import tokens_text

WIDTH, HEIGHT = 9.6, 2.7  # inches, of the figure and of a panel
PANELS = 12  # of the first metrics; more would not be read
LEAST = 0.4  # width of a phase, of the widest
NAME = 11  # characters of a phase's name
Curve = Mapping[float, Mapping[int, float]]  # {place on the axis: {seed: value}}


def phases(chain: Chain, shown: Sequence[str] | None = None, style: Style = LIGHT) -> Figure:
    """shown: arms that are drawn beside the base; all if not given."""
    arms = list(chain.arms) if shown is None else [chain.arms[0], *shown]
    colours, edges, names = style.colours(arms), _edges(chain), chain.metrics[:PANELS]
    with style.applied():
        figure, axes = grid(len(names), WIDTH, HEIGHT)
        for ax, name in zip(axes, names, strict=True):
            _stripes(ax, chain, edges, style)
            late = [value for arm in arms for value in _draw(ax, chain, arm, name, edges, colours[arm])]
            space = 0.08 * (max(late) - min(late)) or 0.01
            ax.set_title(name, pad=15)
            ax.set(xlabel="tokens", xlim=(0, edges[-1]), ylim=(min(late) - space, max(late) + space))
            ax.yaxis.set_major_locator(nice(5))
            if ax.get_subplotspec().is_first_col() or chain.unit(name).unit != chain.unit(names[0]).unit:  # pyrefly: ignore
                ax.set_ylabel(chain.unit(name).unit)
        if len(arms) > 1:
            lines = [axes[0].plot([], [], color=colour, linewidth=2.4)[0] for colour in colours.values()]
            figure.legend(lines, [shorten(arm, 26) for arm in arms], loc="outside upper left", ncols=min(len(arms), 6))
    return figure


def write(chain: Chain, path: Path) -> Path:
    """As PNG."""
    write_atomically(path, png(phases(chain)))
    return path


def _edges(chain: Chain) -> np.ndarray:
    """Where phases begin on the axis, and where the last one ends."""
    tokens = np.array([max(phase.tokens, 1) for phase in chain.phases], dtype=float)
    return np.concatenate([[0.0], np.cumsum(np.maximum(tokens, LEAST * tokens.max()))])


def _stripes(ax: Axes, chain: Chain, edges: np.ndarray, style: Style) -> None:
    for number, phase in enumerate(chain.phases):
        if number % 2:
            ax.axvspan(edges[number], edges[number + 1], color=style.faint, alpha=0.45, linewidth=0)
        place = (edges[number], 1.015)
        how = {"xycoords": ("data", "axes fraction"), "va": "bottom", "fontsize": 7, "color": style.muted}
        ax.annotate(shorten(phase.name.partition("\n")[0], NAME), place, **how)
    totals = np.cumsum([phase.tokens for phase in chain.phases])
    ax.set_xticks(edges[1:], [tokens_text(n) for n in totals], fontsize=7.5)


def _draw(ax: Axes, chain: Chain, arm: str, name: str, edges: np.ndarray, colour: str) -> list[float]:
    """Draw one arm; returns the values that decide the range of the axis: the start of training is far above."""
    late: list[float] = []
    ends: dict[int, float] = {}
    for number, phase in enumerate(chain.phases):
        stage, width = chain.stage(phase, arm, name), edges[number + 1] - edges[number]
        curve = {
            float(edges[number] + width * (tokens / phase.tokens if phase.tokens else 1.0)): by_seed
            for tokens, by_seed in chain.curve(phase, arm, name).items()
        }
        late += _late(curve, edges[number] + (SPREAD_FROM * width if number == 0 else 0.0))
        if curve and not stage.same:
            going_on = {float(edges[number]): ends} if stage.change and ends else {}
            _line(ax, going_on | curve, colour)
        ends = stage.value.by_seed if stage.value else {}
        if stage.value and not stage.same:
            at = max(place for place, by_seed in curve.items() if by_seed.keys() & ends.keys())
            ax.plot(at, stage.value.mean, "o", color=colour, markersize=4, zorder=3, clip_on=False)
    return late


def _late(curve: Curve, start: float) -> list[float]:
    found = [value for place, by_seed in curve.items() if place > start for value in by_seed.values()]
    return found or [value for by_seed in curve.values() for value in by_seed.values()]


def _line(ax: Axes, curve: Curve, colour: str) -> None:
    """The mean over seeds, and their range."""
    places = list(curve)
    mean, low, high = (
        np.array([fold([*by_seed.values()]) for by_seed in curve.values()]) for fold in (np.mean, min, max)
    )
    ax.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.plot(places, mean, color=colour, linewidth=1.4, zorder=2)
