"""The chance of a verdict against the true effect, a curve for each number of seeds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ablate.page.drawing.style import LIGHT, Style, png
from ablate.run.files import write_atomically
from ablate.verdict.statistics.power import Power

WIDTH, HEIGHT, POINTS = 7.2, 3.6, 81


def draw(power: Power, seeds: Sequence[int], unit: str = "", style: Style = LIGHT) -> Figure:
    """Curves from no effect to the one that the fewest seeds but two detect, or twice the margin."""
    several = [power.detectable(n) for n in seeds if n > 2]
    most = min(max(2 * power.margin, *several[:1], 1.3 * power.detectable(max(seeds))), 4 * power.margin)
    effects = np.linspace(0, most, POINTS)
    with style.applied():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        colours = style.colours(["", *map(str, seeds)])
        for n in seeds:
            chances = [power.chance(effect, n) for effect in effects]
            axes.plot(effects, chances, color=colours[str(n)], label=f"{n} seeds")
        axes.axhline(power.power, color=style.muted, linewidth=0.9, linestyle=":")
        axes.axvline(power.margin, color=style.muted, linewidth=0.9, linestyle=":")
        beside = {"xytext": (3, 0), "textcoords": "offset points", "rotation": 90, "ha": "left", "va": "center"}
        axes.annotate("margin", (power.margin, 0.5), color=style.muted, fontsize=8, **beside).set_bbox(
            {"facecolor": style.paper, "edgecolor": "none", "pad": 0.5}
        )
        axes.annotate(f" {power.power:.0%}", (0, power.power), color=style.muted, va="bottom", fontsize=8)
        effect = f"true effect, {unit}" if unit else "true effect"
        axes.set(xlim=(0, most), ylim=(0, 1.02), xlabel=effect, ylabel="chance to be called real")
        judged = f"one of {power.arms} arms" if power.arms > 1 else "one arm"
        level = f"{power.confidence:.0%} confidence, noise {power.noise:.4g}"
        axes.set_title(f"What so many seeds can see: {judged}, {level}")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def write(power: Power, seeds: Sequence[int], unit: str, path: Path) -> Path:
    """As PNG."""
    write_atomically(path, png(draw(power, seeds, unit)))
    return path
