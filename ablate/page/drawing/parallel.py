"""Parallel coordinates: every arm as a line over the settings in which arms differ, coloured by what came of it.

The colour is the difference from the base on the declared metric: blue is better, orange is worse, and the hue says
nothing that the last axis does not say too. Arms that share a setting are fanned out a little around it, ordered by
that difference, so that seventy lines through three values can still be followed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.path import Path as Curve

from ablate.page.drawing.style import LIGHT, Style
from ablate.verdict.evidence import Evidence, tokens_text

WIDTH, HEIGHT = 9.6, 3.6  # inches
AXES = 8  # more settings than that cannot be read side by side
LEVELS = 7  # up to so many values are all written, and arms fanned out around them
FAN = 0.05  # of the height of an axis
# Told apart by all readers, and on light and on dark paper
COLOURS = LinearSegmentedColormap.from_list("effect", ["#0072b2", "#8a8f98", "#d55e00"])


@dataclass(frozen=True)
class Dimension:
    """One setting: what each arm has of it, where that lies on the axis in 0..1, and what is written there."""

    key: str
    places: dict[str, float]
    ticks: dict[float, str]

    @property
    def name(self) -> str:
        return self.key.rpartition(".")[2]


def settings(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """{key: {arm: value}} of every key in which some arm differs from the base, the base included."""
    arms, base = evidence.declaration["arms"], {}
    for changes in arms.values():
        base |= {key: old for key, (old, _) in changes.items()}
    shown = [evidence.base, *evidence.arms]
    return {k: {arm: arms.get(arm, {}).get(k, (None, old))[1] for arm in shown} for k, old in base.items()}


def _varying(evidence: Evidence) -> dict[str, dict[str, Any]]:
    return {key: values for key, values in settings(evidence).items() if len(set(map(str, values.values()))) > 1}


def drawable(evidence: Evidence) -> bool:
    """Whether there is more than one setting to compare, and an arm with a difference."""
    return len(_varying(evidence)) > 1 and any(evidence.differences(arm, evidence.metric.name) for arm in evidence.arms)


def parallel(evidence: Evidence, style: Style = LIGHT) -> Figure:
    """An axis a setting (those with most values, up to AXES), then the difference from the base."""
    found = _varying(evidence)
    effects = {evidence.base: 0.0} | {
        arm: float(np.mean(list(d.values())))
        for arm in evidence.arms
        if (d := evidence.differences(arm, evidence.metric.name))
    }
    kept = sorted(found, key=lambda key: -len(set(map(str, found[key].values()))))[:AXES]
    dimensions = [_dimension(key, found[key]) for key in found if key in kept]
    last = _outcome(effects)
    with style.applied():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        ax = figure.subplots()
        losses = {arm: evidence.metric.sign * effect for arm, effect in effects.items()}
        _draw_arms(ax, [_fanned(d, effects) for d in dimensions] + [last], losses, evidence.base, style)
        _draw_axes(ax, [*dimensions, last], style)
    return figure


def of_runs(settings: dict[str, dict[str, Any]], losses: dict[str, float], unit: str, style: Style = LIGHT) -> Figure:
    """An axis a setting, {name: {run: value}}, then the loss of each run. Blue is below the median, orange above."""
    dimensions = [_dimension(key, values) for key, values in settings.items()]
    middle = float(np.median(list(losses.values())))
    with style.applied():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        ax = figure.subplots()
        last = _numbers(unit, losses)
        fanned = [_fanned(dimension, losses) for dimension in dimensions]
        _draw_arms(ax, [*fanned, last], {run: loss - middle for run, loss in losses.items()}, "", style)
        _draw_axes(ax, [*dimensions, last], style)
    return figure


def _dimension(key: str, values: dict[str, Any]) -> Dimension:
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values.values())
    return _numbers(key, values) if numeric else _categories(key, values)


def _categories(key: str, values: dict[str, Any]) -> Dimension:
    names = list(dict.fromkeys(_text(value) for value in values.values()))
    at = {name: (i + 0.5) / len(names) for i, name in enumerate(names)}
    return Dimension(key, {arm: at[_text(v)] for arm, v in values.items()}, {place: n for n, place in at.items()})


def _numbers(key: str, values: dict[str, float]) -> Dimension:
    """On a logarithmic axis where all are above 0 and the largest is ten times the smallest or more."""
    known = sorted(set(values.values()))
    low, high = known[0], known[-1]
    scale = math.log if low > 0 and high >= 10 * low else float
    span = scale(high) - scale(low) or 1.0
    at = {value: 0.06 + 0.88 * (scale(value) - scale(low)) / span for value in known}
    written = known if len(known) <= LEVELS else [low, high]
    ticks = _apart({at[value]: _text(value) for value in written})
    return Dimension(key, {arm: at[value] for arm, value in values.items()}, ticks)


def _outcome(effects: dict[str, float]) -> Dimension:
    """The last axis: differences, with the arms' names where there are few."""
    axis, named = _numbers("difference", effects), len(effects) <= LEVELS + 1
    written = effects if named else (min(effects, key=effects.__getitem__), max(effects, key=effects.__getitem__))
    ticks = {axis.places[arm]: f"{arm}  {_signed(effects[arm])}" if named else _signed(effects[arm]) for arm in written}
    return Dimension(axis.key, axis.places, _apart(ticks))


def _signed(effect: float) -> str:
    return f"{effect:+.4f}".replace("-", "−") if effect else "0"


def _apart(ticks: dict[float, str]) -> dict[float, str]:
    """Without those that would be written over the one below."""
    kept: dict[float, str] = {}
    for place in sorted(ticks):
        if not kept or place - max(kept) > 0.055:
            kept[place] = ticks[place]
    return kept


def _fanned(dimension: Dimension, effects: dict[str, float]) -> Dimension:
    levels: dict[float, list[str]] = {}
    for arm in sorted(effects, key=lambda arm: effects[arm]):
        levels.setdefault(dimension.places[arm], []).append(arm)
    if len(levels) > LEVELS:
        return dimension
    room = min(FAN, 0.3 / len(levels))
    places = {
        arm: place + room * (2 * i / (len(arms) - 1) - 1) if len(arms) > 1 else place
        for place, arms in levels.items()
        for i, arm in enumerate(arms)
    }
    return Dimension(dimension.key, places, dimension.ticks)


def _draw_arms(ax: Axes, dimensions: Sequence[Dimension], losses: dict[str, float], base: str, style: Style) -> None:
    """base: drawn in ink over all others; empty for none."""
    limit = max(abs(loss) for loss in losses.values()) or 1.0
    arms = sorted((arm for arm in losses if arm != base), key=lambda arm: abs(losses[arm]))  # the strongest on top
    colours, on_top = [to_hex(COLOURS(0.5 + 0.5 * losses[arm] / limit)) for arm in arms], [base] if base else []
    curves = [_curve([d.places[arm] for d in dimensions]) for arm in [*arms, *on_top]]
    widths = [1.8 if len(arms) < 30 else 1.1] * len(arms) + [2.2] * len(on_top)
    lines = PathCollection(curves, facecolors="none", edgecolors=colours + [style.ink] * len(on_top), linewidths=widths)
    lines.set_alpha([0.8] * len(arms) + [1.0] * len(on_top))
    ax.add_collection(lines)


def _curve(places: Sequence[float]) -> Curve:
    """Through the places, level where it crosses an axis."""
    points, codes = [(0.0, places[0])], [Curve.MOVETO]
    for i, (one, other) in enumerate(pairwise(places)):
        points += [(i + 0.4, one), (i + 0.6, other), (i + 1.0, other)]
        codes += [Curve.CURVE4] * 3
    return Curve(points, codes)


def _draw_axes(ax: Axes, dimensions: Sequence[Dimension], style: Style) -> None:
    ax.set(xlim=(-0.25, len(dimensions) - 0.35), ylim=(-0.02, 1.12))
    ax.set_axis_off()
    box = {"boxstyle": "round,pad=0.15", "facecolor": style.paper, "edgecolor": "none", "alpha": 0.85}
    for i, dimension in enumerate(dimensions):
        ax.plot([i, i], [0, 1], color=style.muted, linewidth=0.8, zorder=3)
        ax.text(i, 1.05, _shortened(dimension.name), ha="center", fontweight="bold", fontsize=8.5, color=style.ink)
        for place, text in dimension.ticks.items():
            how = {"ha": "left", "va": "center", "fontsize": 8, "color": style.ink, "bbox": box, "zorder": 4}
            ax.text(i + 0.03, place, _shortened(text), **how)


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None or not isinstance(value, int | float):
        return str(value)
    return tokens_text(value) if abs(value) >= 10_000 else f"{value:.4g}"


def _shortened(text: str) -> str:
    return text if len(text) <= 24 else text[:23] + "…"
