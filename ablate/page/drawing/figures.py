"""The figures of a report. Each takes what was read or computed and gives a matplotlib Figure.

    forest      what the study found: differences by seed, interval, margin, word
    losses      how it came about: loss by domain, and the difference from the base beneath
    saturation  where each domain stops gaining

Losses are in bits per byte, differences in the unit of the study's metric.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import Transform, blended_transform_factory

from ablate.laws import curves
from ablate.laws import saturation as places
from ablate.page.drawing.disturbed import disturbed
from ablate.page.drawing.style import LIGHT, Style, grid, paired_grid
from ablate.scores.metrics import metric_of
from ablate.verdict.compare import Verdict
from ablate.verdict.evidence import Evidence, tokens_text

WIDTH = 9.6  # inches
SPREAD_FROM = 0.25  # share of the run after which losses decide the range of an axis; the start is far above
LEGEND_COLUMNS = 150  # characters in a line of the legend
TEXT_COLUMNS = 72  # of the text above a panel
NAME = 26  # characters of an arm's name
NAMED = 40  # arms in a legend
AHEAD = 4  # how far past the end of the run a law is drawn, as a multiple of its tokens


def forest(evidence: Evidence, verdicts: list[Verdict], style: Style = LIGHT) -> Figure:
    """One row an arm: a dot per seed, the mean, its interval, and the wider stripe held against the margin."""
    with style.applied():
        names = [verdict.arm for verdict in verdicts] + evidence.null_arms
        figure = Figure(figsize=(WIDTH, 1.2 + 0.5 * len(names)), layout="constrained")
        ax = figure.subplots()
        colours, margin = style.colours([evidence.base, *evidence.arms]), evidence.declaration["margin"]
        ax.axvspan(-margin, margin, color=style.faint, alpha=0.55, linewidth=0)
        ax.axvline(0, color=style.muted, linewidth=0.9)
        for row, verdict in enumerate(verdicts):
            _forest_row(ax, row, verdict, colours[verdict.arm])
            _forest_text(ax, row, verdict, style)
        for row in range(len(verdicts), len(names)):
            text = f"= {evidence.base}: the same settings, the same runs"
            ax.text(1.02, row, text, transform=_beside(ax), va="center", color=style.muted, fontsize=8)
        reach = 1.12 * max([1.6 * margin, *(_reach(v) for v in verdicts)])
        ax.set(xlim=(-reach, reach), ylim=(len(names) - 0.4, -0.6))
        ax.set_yticks(range(len(names)), [shorten(name, NAME) for name in names], color=style.ink, fontsize=9.5)
        metric = evidence.metric
        ax.set_xlabel(f"difference from {evidence.base}, {metric.unit} ({metric.name})")
        ax.grid(visible=False)
        ax.spines["left"].set_visible(False)
        _forest_heads(ax, margin, metric.ends, style)
    return figure


def _forest_row(ax: Axes, row: int, v: Verdict, colour: str) -> None:
    dots = list(v.differences.values())
    ax.plot(dots, [row + 0.27] * len(dots), "o", color=colour, markersize=3.2, alpha=0.6, markeredgewidth=0)
    if len(dots) >= 2:
        stripe = {"linewidth": 7, "alpha": 0.28, "solid_capstyle": "butt"}
        ax.plot(v.effect.equivalence_interval, [row, row], color=colour, **stripe)
        ax.plot(v.effect.interval, [row, row], color=colour, linewidth=1.4, marker="|", markersize=7)
    if dots:
        ax.plot(v.effect.mean, row, "o", color=colour, markersize=6.5, zorder=4)


def _forest_text(ax: Axes, row: int, v: Verdict, style: Style) -> None:
    mean = f"{v.effect.mean:+.4f}" if v.differences else ""
    bounds = " [{:+.4f}, {:+.4f}]".format(*v.effect.interval) if len(v.differences) >= 2 else ""
    above = -0.13 if v.remarks and v.differences else 0.0
    how = {"transform": _beside(ax), "va": "center"}
    ax.text(1.02, row, v.word, color=style.words[v.word], fontweight="bold", **how)
    ax.text(1.155, row + above, (mean + bounds).replace("-", "−"), color=style.ink, fontsize=8, **how)
    ax.text(1.155, row - above, shorten("; ".join(v.remarks), 48), color=style.muted, fontsize=7.5, **how)


def _beside(ax: Axes) -> Transform:
    """x in widths of the axes, y in rows."""
    return blended_transform_factory(ax.transAxes, ax.transData)


def _reach(v: Verdict) -> float:
    ends = [*v.effect.interval, *v.effect.equivalence_interval] if len(v.differences) >= 2 else []
    return max((abs(end) for end in [*v.differences.values(), *ends]), default=0.0)


def _forest_heads(ax: Axes, margin: float, ends: tuple[str, str], style: Style) -> None:
    above = blended_transform_factory(ax.transData, ax.transAxes)
    how = {"va": "bottom", "color": style.muted, "fontsize": 8}
    ax.text(0, 1.02, f"margin ±{margin:g}", transform=above, ha="center", **how)
    ax.text(0, 1.02, f"← {ends[0]}", transform=ax.transAxes, ha="left", **how)
    ax.text(1, 1.02, f"{ends[1]} →", transform=ax.transAxes, ha="right", **how)


def losses(evidence: Evidence, style: Style = LIGHT, shown: Sequence[str] | None = None) -> Figure:
    """For every domain the mean over seeds with its range, and beneath it the paired difference from the base.

    shown: arms that have a colour and a band; the others are thin grey lines. All if not given. What runs of arms in
    colour left out is shaded, and their spikes are marked.
    """
    with style.applied():
        colours, metric = of_arms(evidence, shown, style), evidence.metric
        arms = [arm for arm in [*evidence.arms, evidence.base] if evidence.finished(arm)]
        of_domains = metric_of(evidence.domains[0], evidence.domains).unit
        panels = dict.fromkeys(evidence.domains, of_domains)
        if any(curves.all_points(evidence, arm, metric.name).pooled()[0].size for arm in arms):
            panels |= {metric.name: metric.unit}  # otherwise it is measured at the end of a run alone
        figure, pairs = paired_grid(len(panels), WIDTH, 3.3)
        for (above, below), (panel, unit) in zip(pairs, panels.items(), strict=True):
            by_arm = {arm: _by_tokens(curves.all_points(evidence, arm, panel)) for arm in arms}
            _draw_losses(above, by_arm, colours, style)
            margin = evidence.declaration["margin"] if unit == metric.unit else 0.0
            _draw_differences(below, by_arm, colours, (evidence.base, margin), style)
            above.set_title(panel)
            if below.get_subplotspec().is_first_col() or unit != of_domains:  # pyrefly: ignore
                above.set_ylabel(unit)
                below.set_ylabel(f"minus {evidence.base}")
        for arm in (arm for arm in arms if arm in colours):
            for run in evidence.finished(arm).values():
                disturbed(run.record).draw([ax for pair in pairs for ax in pair], colours[arm])
        others = len(set(arms) - set(colours))
        _legend(figure, {arm: colour for arm, colour in colours.items() if arm in arms}, others, style)
    return figure


ByTokens = dict[float, dict[int, float]]  # {tokens: {seed: bits per byte}}
ByMean = Mapping[float, list[float]]  # {tokens: bits per byte of every seed}


def of_arms(evidence: Evidence, shown: Sequence[str] | None, style: Style) -> dict[str, str]:
    """Of the base and the arms shown, the base first; each arm has the colour it has in all figures."""
    if shown is None:
        return style.colours([evidence.base, *evidence.arms])
    return style.colours([evidence.base, *shown])


def _draw_losses(ax: Axes, by_arm: Mapping[str, ByTokens], colours: Mapping[str, str], style: Style) -> None:
    values = {arm: {n: list(by_seed.values()) for n, by_seed in found.items()} for arm, found in by_arm.items()}
    _bands(ax, {arm: found for arm, found in values.items() if arm in colours}, colours)
    _background(ax, [found for arm, found in values.items() if arm not in colours], style)
    late = [v for found in values.values() for n, vs in found.items() if n > SPREAD_FROM * max(found) for v in vs]
    if late:  # an evaluation may hold no value of a metric
        space = 0.06 * (max(late) - min(late)) or 0.01
        ax.set(ylim=(min(late) - space, max(late) + space))
    ax.set(xlim=(0, None))
    ax.tick_params(labelbottom=False)
    ax.xaxis.set_major_locator(nice(4))
    ax.yaxis.set_major_locator(nice(5))


def _draw_differences(
    ax: Axes, by_arm: Mapping[str, ByTokens], colours: Mapping[str, str], against: tuple[str, float], style: Style
) -> None:
    (name, margin), base = against, by_arm.get(against[0], {})
    ax.axhspan(-margin, margin, color=style.faint, alpha=0.55, linewidth=0)
    ax.axhline(0, color=style.ink, linewidth=1)
    paired = {
        arm: {n: d for n, v in found.items() if (d := [x - base[n][s] for s, x in v.items() if s in base.get(n, {})])}
        for arm, found in by_arm.items()
        if arm != name
    }
    _bands(ax, {arm: found for arm, found in paired.items() if arm in colours}, colours)
    _background(ax, [found for arm, found in paired.items() if arm not in colours], style)
    ax.set(xlabel="tokens", xlim=(0, None))
    tokens_axis(ax)
    ax.xaxis.set_major_locator(nice(4))
    ax.yaxis.set_major_locator(nice(5))


def _background(ax: Axes, arms: list[ByMean], style: Style) -> None:
    """Arms without a colour: the mean of each."""
    lines = [[(n, float(np.mean(v))) for n, v in found.items()] for found in arms if found]
    if lines:
        ax.add_collection(LineCollection(lines, colors=style.muted, linewidths=0.6, alpha=0.35, zorder=1.5))
        ax.autoscale_view()


def _by_tokens(points: curves.Points) -> ByTokens:
    found: ByTokens = {}
    for seed, tokens in points.tokens.items():
        for n, value in zip(tokens, points.losses[seed], strict=True):
            found.setdefault(float(n), {})[seed] = float(value)
    return dict(sorted(found.items()))


def _bands(ax: Axes, by_arm: Mapping[str, ByMean], colours: Mapping[str, str]) -> None:
    """The mean over seeds and its range, of all arms as two artists: an artist each takes seconds for 200 arms."""
    arms = [arm for arm, values in by_arm.items() if values]
    lines, ranges = [], []
    for values in (by_arm[arm] for arm in arms):
        tokens = np.array(list(values))
        mean, low, high = (np.array([function(v) for v in values.values()]) for function in (np.mean, min, max))
        lines.append(np.column_stack([tokens, mean]))
        ranges.append(np.column_stack([[*tokens, *tokens[::-1]], [*low, *high[::-1]]]))
    kept = [colours[arm] for arm in arms]
    ax.add_collection(PolyCollection(ranges, facecolors=kept, alpha=0.15, linewidths=0))
    ax.add_collection(LineCollection(lines, colors=kept, linewidths=1.4, zorder=2))
    ax.autoscale_view()


def _legend(figure: Figure, colours: Mapping[str, str], others: int, style: Style) -> None:
    """Names of the first arms; of 200 they would leave no room for the panels."""
    first, named = figure.axes[0], dict(list(colours.items())[:NAMED])
    lines = [first.plot([], [], color=colour, linewidth=2.4)[0] for colour in named.values()]
    names = [shorten(name, NAME) for name in named]
    if others:
        lines += first.plot([], [], color=style.muted, linewidth=0.8)
        names.append(f"{others} more {'arm' if others == 1 else 'arms'}")
    title = {"title": f"and {len(colours) - NAMED} more"} if len(colours) > NAMED else {}
    columns = max(1, min(8, LEGEND_COLUMNS // (max(map(len, names)) + 5)))
    how = {"ncols": columns, "handlelength": 1.2, "columnspacing": 1.6}
    figure.legend(lines, names, loc="outside upper left", **how, **title)


def saturation(
    estimated: list[curves.Curve],
    points: Mapping[str, curves.Points],
    eps: Mapping[str, float],
    colour: str | None = None,
    style: Style = LIGHT,
) -> Figure:
    """One panel a domain: evaluations by seed, the law with its interval, and where doubling gains less than eps.

    estimated: of one arm, one a domain. points, eps: by domain; all evaluations, so that those left out are seen too.
    """
    with style.applied():
        figure, axes = grid(len(estimated), WIDTH, 2.9, columns=min(len(estimated), 2) if len(estimated) < 5 else None)
        for ax, curve in zip(axes, estimated, strict=True):
            found = places.saturation(curve, eps[curve.domain])
            _draw_points(ax, curve, points[curve.domain], colour or style.arms[0], style)
            if curve.laws and not curve.problem:
                _draw_laws(ax, curve, found, colour or style.arms[0], style)
            _saturation_axes(ax, curve, points[curve.domain], style)
            ax.set_title(curve.domain, pad=52)
            lines = [f"{found.status}{found.where}", *textwrap.wrap(found.reading, TEXT_COLUMNS)]
            text = ax.text(
                0, 1.03, "\n".join(lines[:3]), transform=ax.transAxes, va="bottom", fontsize=8, color=style.muted
            )
            text.set(linespacing=1.5, in_layout=False)  # a long line must not squeeze its panel
            if ax.get_subplotspec().is_first_col():  # pyrefly: ignore
                ax.set_ylabel("bits per byte")
    return figure


def _draw_points(ax: Axes, curve: curves.Curve, every: curves.Points, colour: str, style: Style) -> None:
    how = {"marker": "o", "linestyle": "", "markersize": 3.4, "markeredgewidth": 0}
    ax.plot(*every.pooled(), color=style.muted, alpha=0.3, **how)
    ax.plot(*curve.points.pooled(), color=colour, alpha=0.6, **how)


def _draw_laws(ax: Axes, curve: curves.Curve, found: places.Saturation, colour: str, style: Style) -> None:
    inside = np.geomspace(curve.points.pooled()[0].min(), curve.trained, 80)
    beyond = np.geomspace(curve.trained, AHEAD * curve.trained, 40)
    ax.plot(inside, curve.loss(inside), color=colour)
    ax.plot(beyond, curve.loss(beyond), color=colour, linestyle=(0, (4, 2)))
    if len(curve.by_seed) >= 2:
        tokens = np.concatenate([inside, beyond])
        ax.fill_between(tokens, *curve.band(tokens), color=colour, alpha=0.16, linewidth=0)
    if found.tokens and found.interval and found.tokens < AHEAD * curve.trained:
        mark = style.words["better"]
        ax.axvspan(found.interval[0], found.interval[1], color=mark, alpha=0.14, linewidth=0)
        ax.axvline(found.tokens, color=mark, linewidth=1.4)


def _saturation_axes(ax: Axes, curve: curves.Curve, every: curves.Points, style: Style) -> None:
    tokens, losses = every.pooled()
    shown = tokens > 0.5 * SPREAD_FROM * curve.trained
    late = losses[shown] if shown.any() else losses  # none: a result that says more tokens than its rows
    ahead = curve.loss(np.array([AHEAD * curve.trained]))[0] if curve.laws and not curve.problem else math.inf
    low = min(late.min(), float(ahead))
    space = 0.08 * (late.max() - low) or 0.01
    ax.set_xscale("log")
    ax.set(xlabel="tokens", xlim=(0.5 * SPREAD_FROM * curve.trained, AHEAD * curve.trained))
    ax.set(ylim=(low - space, late.max() + space))
    ax.axvline(curve.trained, color=style.muted, linewidth=0.9, linestyle=(0, (2, 2)))
    ax.annotate(
        "end of the run",
        (curve.trained, 0.97),
        xycoords=ax.get_xaxis_transform(),
        xytext=(4, 0),
        textcoords="offset points",
        va="top",
        fontsize=7.5,
        color=style.muted,
    )
    ax.set_xticks([curve.trained * 2.0**k for k in range(-3, 3)])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(nice(5))
    tokens_axis(ax)


def tokens_axis(ax: Axes) -> None:
    """Tokens along the x axis, as 1.5M."""
    ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: tokens_text(n)))


def nice(ticks: int) -> MaxNLocator:
    """About so many ticks, at round numbers."""
    return MaxNLocator(ticks, steps=[1, 2, 5, 10])


def shorten(text: str, length: int) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"
