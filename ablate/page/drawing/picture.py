"""The whole training of a study before its first step: rate, rows, batch and mixture against tokens.

Arms that do the same are one line. What all share is drawn once, in the colour of the ink, and an arm
has its colour from where it leaves the others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ablate.page.drawing.style import LIGHT, Style, grid, png
from ablate.run.files import make_folder, write_atomically
from ablate.verdict.evidence import tokens_text

WIDTH, HEIGHT = 9.6, 2.3  # inches, of the figure and of a panel
NAMED = 9  # lines of a panel that are named; more are told apart by colour alone
NAME = 34  # characters


@dataclass(frozen=True)
class Track:
    """One arm. tokens: (steps + 1,), before each step and at the end; shares: (steps, domains); stages: borders."""

    tokens: np.ndarray
    rate: np.ndarray
    length: np.ndarray
    batch: np.ndarray
    shares: np.ndarray
    stages: np.ndarray


def write(tracks: dict[str, Track], domains: list[str], path: Path) -> Path:
    """Draw and save; returns the path."""
    make_folder(path.parent)
    write_atomically(path, png(timeline(tracks, domains), dpi=170))
    return path


def timeline(tracks: dict[str, Track], domains: list[str], style: Style = LIGHT) -> Figure:
    """One panel a quantity, and one a domain."""
    panels: list[tuple[str, Callable[[Track], np.ndarray]]] = [
        ("learning rate", lambda t: t.rate),
        ("row length, tokens", lambda t: t.length),
        ("batch, tokens", lambda t: t.batch),
        *((f"share of {domain}", lambda t, d=d: t.shares[:, d]) for d, domain in enumerate(domains)),
    ]
    with style.applied():
        figure, axes = grid(len(panels), WIDTH, HEIGHT, columns=2 if len(panels) == 4 else None)
        colours = style.colours(list(tracks))
        for ax, (title, of) in zip(axes, panels, strict=True):
            _panel(ax, tracks, of, colours, style)
            ax.set_title(title)
            if title.startswith("share"):
                ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    return figure


def _panel(
    ax: Axes, tracks: dict[str, Track], of: Callable[[Track], np.ndarray], colours: dict[str, str], style: Style
) -> None:
    lines = _distinct(tracks, of)
    shared = _shared([(tracks[arms[0]].tokens, of(tracks[arms[0]])) for arms in lines])
    crowd = len(lines) > NAMED
    # of so many arms that colours run together, the lines of a panel are told apart, not the arms
    own = style.colours([arms[0] for arms in lines]) if len(tracks) > 1 + len(style.arms) else colours
    for number, arms in enumerate(lines):
        track = tracks[arms[0]]
        x, y = track.tokens, np.append(of(track), of(track)[-1])
        colour = own[arms[0]]
        width, alpha = (0.9, 0.75) if crowd else (1.6, 1.0)
        ax.step(x[shared:], y[shared:], where="post", color=colour, linewidth=width, alpha=alpha)
        if len(lines) > 1 and not crowd:
            name = arms[0] if len(arms) == 1 else f"{arms[0]} and {len(arms) - 1} more"
            text = name if len(name) <= NAME else name[: NAME - 1] + "…"
            ax.annotate(
                text, (0.02, 0.96 - 0.085 * number), xycoords="axes fraction", va="top", fontsize=7, color=colour
            )
    if len(lines) > 1:
        first = tracks[lines[0][0]]
        y = of(first)[: shared + 1]
        ax.step(first.tokens[: len(y)], y, where="post", color=style.ink, linewidth=1.8)
    if len(lines) == 1 or crowd:
        text = "all arms" if len(lines) == 1 else f"{len(lines)} different lines"
        ax.annotate(text, (0.02, 0.96), xycoords="axes fraction", va="top", fontsize=7.5, color=style.muted)
    for border in sorted({int(n) for track in tracks.values() for n in track.stages}):
        ax.axvline(border, color=style.muted, linewidth=0.8, linestyle=(0, (2, 2)))
    named = 0 if crowd or len(lines) == 1 else len(lines)
    top = max(float(of(track).max()) for track in tracks.values())
    ax.set(xlim=(0, None), ylim=(0, (top or 1) * (1.2 + 0.15 * named)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: tokens_text(n)))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.set_xlabel("tokens")


def _distinct(tracks: dict[str, Track], of: Callable[[Track], np.ndarray]) -> list[list[str]]:
    """Arms by the line that they have."""
    lines: dict[tuple[bytes, bytes], list[str]] = {}
    for arm, track in tracks.items():
        lines.setdefault((track.tokens.tobytes(), of(track).tobytes()), []).append(arm)
    return list(lines.values())


def _shared(lines: list[tuple[np.ndarray, np.ndarray]]) -> int:
    """Steps in which all lines are one; 0 for a line by itself."""
    if len(lines) < 2:
        return 0
    steps = min(len(y) for _, y in lines)
    x, y = lines[0]
    same = np.all([(a[:steps] == x[:steps]) & (b[:steps] == y[:steps]) for a, b in lines], axis=0)
    return steps if same.all() else int(same.argmin())
