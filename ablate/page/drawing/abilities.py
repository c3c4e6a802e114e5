"""What the arms of a study could do: a panel a task, as the tables of `report --progress`.

    progression    by checkpoint: bits per byte of the right answers above, accuracy below
    by_protocol    the same items at the end, asked in several ways: accuracy

Each line is the mean over the seeds of an arm, with its interval over items; a dotted line is what guessing gives, and
a ring marks a checkpoint that was selected.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ablate.page.drawing.figures import nice, tokens_axis
from ablate.page.drawing.style import LIGHT, Style, grid, paired_grid
from ablate.scores.readings import BITS
from ablate.verdict import progress as checkpoints
from ablate.verdict.evidence import Evidence
from ablate.verdict.progress import Point

WIDTH, HEIGHT = 9.6, 3.0  # inches, of the figure and of a panel
PANELS = 12  # of the first tasks; more would not be read
BESIDE = 0.08  # how far arms stand apart, of the distance of two protocols
CHANCE: dict[str, Any] = {"linewidth": 1, "linestyle": (0, (2, 2))}
Panels = dict[tuple[str, str], list[Point]]  # by task and protocol


def progressed(evidence: Evidence) -> bool:
    """Whether some arm was asked at more than one checkpoint."""
    points = checkpoints.progress(evidence, BITS) if evidence.scope.tasks else []
    return len({point.step for point in points}) > 1


def asked_in_several_ways(evidence: Evidence) -> bool:
    """Whether some task was asked by more than one protocol."""
    return any(len(panels) > 1 for panels in _by_task(_panels(evidence, "acc")).values())


def progression(
    evidence: Evidence, tasks: Sequence[str] = (), shown: Sequence[str] | None = None, style: Style = LIGHT
) -> Figure:
    """tasks: those that have a panel; if not given, the first PANELS with several checkpoints. shown: arms beside the
    base."""
    colours = _colours(evidence, shown, style)
    loss, right = _panels(evidence, BITS), _panels(evidence, "acc") | _panels(evidence, "acc_norm")
    curves = [name for name, points in loss.items() if len({point.step for point in points}) > 1]
    names = [name for name in curves if not tasks or name[0] in tasks][:PANELS]
    several = {task for task, panels in _by_task(loss).items() if len(panels) > 1}
    with style.applied():
        figure, pairs = paired_grid(len(names), WIDTH, HEIGHT)
        for (above, below), name in zip(pairs, names, strict=True):
            _draw_line(above, loss[name], colours)
            _draw_line(below, right.get(name, []), colours)
            _draw_chance(below, right.get(name, []), style)
            above.set_title(" ".join(name) if name[0] in several else name[0])
            above.tick_params(labelbottom=False)
            below.set(xlabel="tokens", ylim=(0, 1.03))
            if above.get_subplotspec().is_first_col():  # pyrefly: ignore
                above.set_ylabel("bits per byte")
                below.set_ylabel("accuracy")
        _legend(figure, colours, style)
    return figure


def by_protocol(
    evidence: Evidence, tasks: Sequence[str] = (), shown: Sequence[str] | None = None, style: Style = LIGHT
) -> Figure:
    """A panel each task that was asked by more than one protocol; arguments as of `progression`."""
    colours, found = _colours(evidence, shown, style), _by_task(_panels(evidence, "acc"))
    names = [name for name, panels in found.items() if len(panels) > 1 and (not tasks or name in tasks)][:PANELS]
    with style.applied():
        figure, axes = grid(len(names), WIDTH, HEIGHT, columns=min(len(names), 4))
        for ax, name in zip(axes, names, strict=True):
            _draw_protocols(ax, found[name], colours, style)
            ax.set(title=name, ylim=(-0.03, 1.03))
            if ax.get_subplotspec().is_first_col():  # pyrefly: ignore
                ax.set_ylabel("accuracy")
        _legend(figure, colours, style)
    return figure


def _colours(evidence: Evidence, shown: Sequence[str] | None, style: Style) -> dict[str, str]:
    return style.colours([evidence.base, *(evidence.arms if shown is None else shown)])


def _panels(evidence: Evidence, reading: str) -> Panels:
    found: Panels = {}
    for point in checkpoints.progress(evidence, reading):
        found.setdefault((point.task, point.protocol), []).append(point)
    return found


def _by_task(panels: Panels) -> dict[str, dict[str, list[Point]]]:
    found: dict[str, dict[str, list[Point]]] = {}
    for (task, protocol), points in panels.items():
        found.setdefault(task, {})[protocol] = points
    return found


def _draw_line(ax: Axes, points: Sequence[Point], colours: dict[str, str]) -> None:
    for arm, colour in colours.items():
        line = [point for point in points if point.arm == arm]
        tokens, values = [point.tokens for point in line], [point.value for point in line]
        lows, highs = ([point.interval[end] for point in line] for end in (0, 1))
        ax.fill_between(tokens, lows, highs, color=colour, alpha=0.12, linewidth=0)
        ax.plot(tokens, values, marker="o", markersize=3, color=colour)
        peaks = [point for point in line if point.selected]
        ring = {"markersize": 8, "markerfacecolor": "none", "color": colour}
        ax.plot([point.tokens for point in peaks], [point.value for point in peaks], "o", **ring)
    ax.set_xscale("log")
    ax.set_xticks(sorted({point.tokens for point in points}))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(nice(4))
    tokens_axis(ax)


def _draw_chance(ax: Axes, points: Sequence[Point], style: Style) -> None:
    for chance in {point.chance for point in points if point.chance is not None}:
        ax.axhline(chance, color=style.muted, **CHANCE)


def _draw_protocols(ax: Axes, by_protocol: dict[str, list[Point]], colours: dict[str, str], style: Style) -> None:
    for number, (arm, colour) in enumerate(colours.items()):
        line = [(x, last) for x, points in enumerate(by_protocol.values()) if (last := _last(points, arm))]
        places = [x + BESIDE * (number - (len(colours) - 1) / 2) for x, _ in line]
        for x, (_, point) in zip(places, line, strict=True):
            ax.plot([x, x], point.interval, color=colour, linewidth=1.2)
        ax.plot(places, [point.value for _, point in line], marker="o", markersize=4, linewidth=1, color=colour)
    for x, points in enumerate(by_protocol.values()):
        if (chance := points[0].chance) is not None:
            ax.plot([x - 0.35, x + 0.35], [chance, chance], color=style.muted, **CHANCE)
    ax.set_xticks(range(len(by_protocol)), list(by_protocol))
    ax.set_xlim(-0.45, len(by_protocol) - 0.55)
    ax.yaxis.set_major_locator(nice(4))


def _last(points: Sequence[Point], arm: str) -> Point | None:
    return max((point for point in points if point.arm == arm), key=lambda point: point.step, default=None)


def _legend(figure: Figure, colours: dict[str, str], style: Style) -> None:
    first = figure.axes[0]
    lines = [first.plot([], [], color=colour, linewidth=2.4)[0] for colour in colours.values()]
    lines += first.plot([], [], color=style.muted, **CHANCE)
    figure.legend(lines, [*colours, "chance"], loc="outside upper left", ncols=min(len(lines), 8))
