"""What a surrogate says of mixtures, drawn: against what was measured, along each domain, and over three of them.

    checked     predicted without each run against measured, a panel a validation set and one for the metric
    along       one domain's weight from nothing to all, the others in the proportions of the best mixture
    ternary     three domains share what the best mixture gives them, the others keep theirs

Bits per byte throughout: lower is better. Dots are mixtures that were trained; the star is the predicted best.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ablate.laws.surrogate import Surrogate
from ablate.laws.swarm import MixtureStudy
from ablate.page.drawing.style import LIGHT, Style, grid, png
from ablate.run.files import make_folder, write_atomically

WIDTH, PANEL = 9.6, 2.5  # inches
STEPS, FINE = 60, 40  # points along a weight, along a side of a triangle
Z = 1.96
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
TRIANGLES = 4  # at most


def write(found: Surrogate, mixture: np.ndarray, path: Path) -> Path:
    """The response along every domain, as a PNG; returns the path."""
    make_folder(path.parent)
    write_atomically(path, png(along(found, mixture), dpi=150))
    return path


def checked(study: MixtureStudy, found: Surrogate, sets: list[str], style: Style = LIGHT) -> Figure:
    """Predicted against measured. The metric stands first; the diagonal is what a perfect prediction would give."""
    swarm, predicted = found.swarm, found.without
    panels = [("metric", swarm.metric, predicted @ swarm.importance)]
    panels += [(name, swarm.losses[:, i], predicted[:, i]) for i, name in enumerate(sets)]
    with style.applied():
        figure, axes = grid(len(panels), WIDTH, PANEL + 0.3)
        for ax, (name, measured, guessed) in zip(axes, panels, strict=True):
            _against(ax, measured, guessed, style)
            error = float(np.sqrt(np.mean((measured - guessed) ** 2)))
            ax.set(title=f"{name}: off by {error:.4f}", xlabel="measured", ylabel="predicted without it")
        if study.noise:
            axes[0].set_xlabel(f"measured; noise of one run {study.noise.sd:.4f}")
    return figure


def _against(ax: Axes, measured: np.ndarray, guessed: np.ndarray, style: Style) -> None:
    both = np.concatenate([measured, guessed])
    space = 0.06 * float(np.ptp(both)) or 0.01
    ends = (both.min() - space, both.max() + space)
    ax.plot(ends, ends, color=style.faint, linewidth=1.2)
    ax.plot(measured, guessed, "o", color=style.arms[0], markersize=4, alpha=0.8, markeredgewidth=0)
    ax.plot(measured[0], guessed[0], "o", color=style.ink, markersize=5)  # the base
    ax.set(xlim=ends, ylim=ends)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4))


def along(found: Surrogate, mixture: np.ndarray, style: Style = LIGHT) -> Figure:
    """Expected metric with its band of 95 %, a panel a domain."""
    domains = found.swarm.domains
    with style.applied():
        figure, axes = grid(len(domains), WIDTH, PANEL)
        bounds = []
        for k, (ax, domain) in enumerate(zip(axes, domains, strict=True)):
            weights = np.linspace(0, 1, STEPS)
            mean, sd = found.metric(_with(mixture, k, weights))
            ax.fill_between(weights, mean - Z * sd, mean + Z * sd, color=style.arms[0], alpha=0.16, linewidth=0)
            ax.plot(weights, mean, color=style.arms[0])
            ax.plot(mixture[k], found.metric(mixture[None])[0], "*", color=style.arms[1], markersize=11, clip_on=False)
            ax.plot(found.swarm.weights[:, k], found.swarm.metric, "o", color=style.muted, markersize=3.2, alpha=0.7)
            ax.set(title=domain, xlabel="weight", xlim=(0, 1))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda w, _: f"{100 * w:.3g}%"))
            bounds += [mean.min(), found.swarm.metric.min()]
        low, high = min(bounds), float(found.swarm.metric.max())
        for ax in axes:
            ax.set_ylim(low - 0.1 * (high - low), high + 0.05 * (high - low))
        axes[0].set_ylabel("bits per byte")
    return figure


def _with(mixture: np.ndarray, k: int, weights: np.ndarray) -> np.ndarray:
    """The mixture with other weights of domain k, the rest in its proportions."""
    others = np.where(np.arange(len(mixture)) == k, 0.0, mixture)
    others = others / others.sum() if others.sum() else (np.arange(len(mixture)) != k) / (len(mixture) - 1)
    return weights[:, None] * np.eye(len(mixture))[k] + (1 - weights)[:, None] * others


def ternary(found: Surrogate, mixture: np.ndarray, style: Style = LIGHT) -> Figure:
    """Expected metric over triangles of domains, on one scale; at most TRIANGLES of them."""
    three = list(combinations(range(len(mixture)), 3))[:TRIANGLES]
    with style.applied():
        figure, axes = grid(len(three), WIDTH, WIDTH / min(len(three), 3) * 0.85, columns=min(len(three), 2))
        surfaces = [_surface(found, mixture, corners) for corners in three]
        low = min(s[1].min() for s in surfaces)
        high = 2 * float(np.median(found.swarm.metric)) - low  # the best stands out
        levels = np.linspace(low, high, 13)
        drawn = None
        for ax, corners, (places, values) in zip(axes, three, surfaces, strict=True):
            drawn = ax.tricontourf(places[:, 0], places[:, 1], values, levels=levels, cmap="viridis", extend="max")
            _triangle(ax, found, mixture, corners, style)
        figure.colorbar(drawn, ax=axes, shrink=0.6, label="expected metric, bits per byte")  # pyrefly: ignore
    return figure


def _surface(found: Surrogate, mixture: np.ndarray, corners: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Places in the plane and the expected metric there."""
    shares = np.array([(a, b, FINE - a - b) for a in range(FINE + 1) for b in range(FINE + 1 - a)]) / FINE
    total = _total(mixture, corners)
    mixtures = np.repeat(mixture[None], len(shares), 0)
    mixtures[:, corners] = shares * total
    return shares @ CORNERS, found.metric(mixtures / mixtures.sum(1, keepdims=True))[0]


def _total(mixture: np.ndarray, corners: tuple[int, int, int]) -> float:
    return max(float(mixture[list(corners)].sum()), 1e-3)


def _triangle(ax: Axes, found: Surrogate, mixture: np.ndarray, corners: tuple[int, int, int], style: Style) -> None:
    ax.plot(*CORNERS[[0, 1, 2, 0]].T, color=style.muted, linewidth=0.8)
    runs = found.swarm.weights[:, corners]
    inside = runs.sum(1) > 0.05
    places = runs[inside] / runs[inside].sum(1, keepdims=True) @ CORNERS
    ax.plot(*places.T, "o", color=style.paper, markeredgecolor=style.ink, markersize=4.5, markeredgewidth=0.8)
    best = mixture[list(corners)] / _total(mixture, corners) @ CORNERS
    ax.plot(*best, "*", color=style.arms[1], markersize=14, markeredgecolor=style.paper, markeredgewidth=0.8)
    for place, k, side in zip(CORNERS, corners, ("right", "left", "center"), strict=True):
        offset = {"right": (-0.02, -0.05), "left": (0.02, -0.05), "center": (0, 0.04)}[side]
        ha = {"right": "left", "left": "right", "center": "center"}[side]
        x, y = place + offset
        ax.text(x, y, found.swarm.domains[k], ha=ha, va="center", fontsize=9, color=style.ink)
    others = 1 - _total(mixture, corners)
    ax.set(title=f"the other domains keep {100 * others:.3g}%", aspect="equal", xlim=(-0.05, 1.05), ylim=(-0.1, 0.95))
    ax.set_axis_off()
