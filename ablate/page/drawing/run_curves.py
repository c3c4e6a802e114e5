"""How runs went: the metric, the training loss, the learning rate and the gradient norm against tokens.

Training losses are those of single steps, and a step may hold one row of one domain; the line is their mean over
a window of SMOOTH of the run. What a run left out is shaded, and its spikes are marked.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ablate.page.drawing.disturbed import disturbed
from ablate.page.drawing.style import LIGHT, Style, grid, png
from ablate.run.files import write_atomically
from ablate.run.record import Record
from ablate.scores.metrics import Metric, Scope, metric_of
from ablate.verdict.evidence import tokens_text

WIDTH, HEIGHT = 9.6, 2.7  # inches, of the figure and of a panel
SMOOTH = 0.05  # of the rows of a run
SPREAD_FROM = 0.1  # part of a run after which values decide the range of an axis; the start is far above


def draw(runs: Mapping[str, Record], metric: Metric, scope: Scope, style: Style = LIGHT) -> Figure:
    """`runs`: by the name in the legend. Of a single run every domain has a line."""
    with style.applied():
        figure, axes = grid(4, WIDTH, HEIGHT, columns=2)
        colours = style.colours(list(runs))
        _scores(axes[0], runs, metric, scope, colours, style)
        rows = {name: record.rows("train") for name, record in runs.items()}
        _line(axes[1], rows, "nats", colours, smooth=True)
        _line(axes[2], rows, "lr", colours)
        _line(axes[3], rows, "grad_norm", colours, smooth=True)
        judged = f"{metric.name}, {metric.unit} ({metric.better} is better)"
        paired = any("counted_pairs" in row for of_run in rows.values() for row in of_run)
        loss = f"training loss, {'of a pair' if paired else 'nats per token'}"
        titles = (judged, loss, "learning rate", "gradient norm")
        for ax, title in zip(axes, titles, strict=True):
            ax.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: tokens_text(tokens)))
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.set(title=title, xlabel="tokens", xlim=(0, None))
        axes[2].set_ylim(0, None)
        for name, record in runs.items():
            disturbed(record).draw(axes, colours[name])
        figure.legend(*axes[1].get_legend_handles_labels(), loc="outside upper left", ncols=min(3, len(runs)))
    return figure


def write(runs: Mapping[str, Record], metric: Metric, scope: Scope, path: Path) -> Path:
    """As PNG."""
    write_atomically(path, png(draw(runs, metric, scope)))
    return path


def _scores(
    ax: Axes, runs: Mapping[str, Record], metric: Metric, scope: Scope, colours: Mapping[str, str], style: Style
) -> None:
    lines: list[tuple[str, Record, Metric, str, float]] = []
    if len(runs) == 1:
        [(_, record)] = runs.items()
        others = style.colours(["", *scope.domains])
        lines += [(d, record, metric_of(d, scope.domains), others[d], 1.0) for d in scope.domains]
    lines += [(metric.name, record, metric, colours[name], 2.0) for name, record in runs.items()]
    ends, late = [], []
    for name, record, one, colour, width in lines:
        tokens, values = _points(record.rows("evaluation"), lambda row, one=one: one.value(row, scope))
        ax.plot(tokens, values, color=colour, linewidth=width, marker="o", markersize=2.5)
        late += values[int(SPREAD_FROM * len(values)) :]
        ends += [(values[-1], name, colour)] if values else []
    _range(ax, late)
    for place, (_, name, colour) in zip(_apart([end[0] for end in ends], ax), ends, strict=True):
        if len(runs) == 1:
            ax.annotate(name, (1.01, place), xycoords=("axes fraction", "data"), color=colour, fontsize=8, va="center")


def _apart(values: Sequence[float], ax: Axes) -> list[float]:
    """Heights of labels beside the ends of lines, moved so that none is over another."""
    low, high = ax.get_ylim()
    least, order = (high - low) / 13, np.argsort(values)
    places = np.array(values, dtype=float)
    for before, after in pairwise(order):
        places[after] = max(places[after], places[before] + least)
    return places.tolist()


def _line(
    ax: Axes,
    rows: Mapping[str, list[dict[str, Any]]],
    name: str,
    colours: Mapping[str, str],
    smooth: bool = False,
) -> None:
    late: list[float] = []
    for run, found in rows.items():
        tokens, values = _points(found, lambda row: row.get(name))
        shown = _smoothed(values) if smooth else values
        if smooth and len(rows) == 1:
            ax.plot(tokens, values, color=colours[run], alpha=0.25, linewidth=0.8)
        ax.plot(tokens, shown, color=colours[run], linewidth=1.4, label=run)
        late += (values if len(rows) == 1 else shown)[int(SPREAD_FROM * len(shown)) :]
    _range(ax, late)


def _points(
    rows: Sequence[dict[str, Any]], read: Callable[[dict[str, Any]], float | None]
) -> tuple[list[int], list[float]]:
    known = [(row["tokens"], value) for row in rows if (value := read(row)) is not None]
    return [tokens for tokens, _ in known], [value for _, value in known]


def _smoothed(values: Sequence[float]) -> list[float]:
    """The mean over a window around each value; shorter windows at the ends."""
    half = int(SMOOTH * len(values) / 2)
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    return ((total[last] - total[first]) / (last - first)).tolist()


def _range(ax: Axes, late: Sequence[float]) -> None:
    finite = [value for value in late if np.isfinite(value)]
    if finite and min(finite) < max(finite):
        room = 0.06 * (max(finite) - min(finite))
        ax.set_ylim(min(finite) - room, max(finite) + room)
