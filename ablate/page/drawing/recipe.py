"""Figures of what the runs were given: the mixture that was read, and rate and row length along the way.

mixture     the shares asked for, and the shares read
schedule    learning rate and row length against tokens
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ablate.page.drawing import figures
from ablate.page.drawing.style import LIGHT, Style, grid
from ablate.verdict.evidence import Evidence

SCHEDULES = 6  # that are named


def mixture(
    evidence: Evidence, style: Style = LIGHT, shown: Sequence[str] | None = None, rows: Sequence[str] = ()
) -> Figure:
    """Per domain and arm the share asked for (ring) and the share read (dot), the mean over finished seeds.

    shown: arms that have a colour and a row beside the base; all if not given. rows: grey ones that have a row too.
    """
    with style.applied():
        known = figures.of_arms(evidence, shown, style)
        ordered = [arm for arm in [evidence.base, *evidence.arms] if arm in known or arm in rows]
        colours = {arm: known.get(arm, style.muted) for arm in ordered}
        shares = {arm: _shares(evidence, arm) for arm in colours if evidence.finished(arm)}
        columns = min(4, len(evidence.domains))
        figure, axes = grid(len(evidence.domains), figures.WIDTH, 0.75 + 0.27 * len(shares), columns=columns)
        for ax, domain in zip(axes, evidence.domains, strict=True):
            asked, realised = ([pair[which][domain] for pair in shares.values()] for which in (0, 1))
            _draw_shares(ax, asked, realised, [colours[arm] for arm in shares], style)
            first = ax.get_subplotspec().is_first_col()  # pyrefly: ignore
            ax.set_yticks(
                range(len(shares)),
                [figures.shorten(arm, figures.NAME) if first else "" for arm in shares],
                color=style.ink,
            )
            top = 1.15 * max(*asked, *realised)
            ax.set(title=domain, ylim=(len(shares) - 0.4, -0.6), xlim=(0, top or 1))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
            ax.xaxis.set_major_locator(figures.nice(4))
            ax.grid(visible=True, axis="x")
            ax.grid(visible=False, axis="y")
    return figure


def _draw_shares(ax: Axes, asked: list[float], realised: list[float], colours: list[str], style: Style) -> None:
    rows = range(len(asked))
    ax.hlines(rows, 0, realised, colors=colours, linewidth=1.4, alpha=0.4)
    ax.scatter(realised, rows, s=4.5**2, c=colours, linewidths=0, zorder=2, clip_on=False)
    ax.plot(asked, rows, "o", clip_on=False, markersize=9, markerfacecolor="none", markeredgecolor=style.muted, mew=0.9)


def _shares(evidence: Evidence, arm: str) -> tuple[dict[str, float], dict[str, float]]:
    """Shares of the domains, means over seeds: (asked, realised)."""
    mixtures = [run.result["mixture"] for run in evidence.finished(arm).values()]
    asked, realised = (
        {d: float(np.mean([m[which].get(d, 0.0) for m in mixtures])) for d in evidence.domains}
        for which in ("asked", "realised")
    )
    return asked, realised


def schedule(evidence: Evidence, style: Style = LIGHT, shown: Sequence[str] | None = None) -> Figure:
    """Learning rate and row length against tokens; arms with the same schedule share a line.

    shown: arms that have a colour; a line that none of them has is grey.
    """
    with style.applied():
        figure, axes = grid(2, figures.WIDTH, 2.4, columns=2)
        colours = figures.of_arms(evidence, shown, style)
        for ax, key, title in zip(axes, ("lr", "length"), ("learning rate", "row length, tokens"), strict=True):
            lines = _distinct_lines(evidence, key)
            named = [(line, [arm for arm in arms if arm in colours]) for line, arms in lines.items()]
            step = "steps-pre" if key == "length" else "default"
            for (tokens, values), arms in sorted(named, key=lambda one: bool(one[1])):
                colour, width = (colours[arms[0]], 1.6) if arms else (style.muted, 0.6)
                ax.plot(tokens, values, drawstyle=step, color=colour, linewidth=width, alpha=1.0 if arms else 0.5)
            _schedule_names(ax, [arms for _, arms in named if arms], lines, colours, style)
            top = 1.45 * max((max(values) for _, values in lines), default=1.0)
            ax.set(title=title, xlabel="tokens", xlim=(0, None), ylim=(0, top))
            ax.xaxis.set_major_locator(figures.nice(6))
            ax.yaxis.set_major_locator(figures.nice(4))
            figures.tokens_axis(ax)
    return figure


def _schedule_names(
    ax: Axes, named: list[list[str]], lines: Mapping[Any, list[str]], colours: Mapping[str, str], style: Style
) -> None:
    """Whose line is which, above the lines; when there are many, some and the number of the others."""
    texts = [(figures.shorten(", ".join(arms), 26), colours[arms[0]]) for arms in named[:SCHEDULES]]
    if len(lines) == 1:
        texts = [("all arms", style.ink)]
    elif len(lines) > len(texts):
        texts.append((f"{len(lines) - len(texts)} more schedules", style.muted))
    for i, (text, colour) in enumerate(texts):
        place = (0.015 + 0.5 * (i % 2), 0.985 - 0.085 * (i // 2))
        ax.annotate(text, place, xycoords="axes fraction", va="top", fontsize=8, color=colour)


def _distinct_lines(evidence: Evidence, key: str) -> dict[tuple[tuple[float, ...], tuple[float, ...]], list[str]]:
    """{(tokens, values): arms that have them}, from the first finished seed of each arm that took steps."""
    lines: dict[tuple[tuple[float, ...], tuple[float, ...]], list[str]] = {}
    for arm in [evidence.base, *evidence.arms]:
        for run in list(evidence.finished(arm).values())[:1]:
            line = tuple(row["tokens"] for row in run.steps), tuple(row[key] for row in run.steps)
            if run.steps:
                lines.setdefault(line, []).append(arm)
    return lines
