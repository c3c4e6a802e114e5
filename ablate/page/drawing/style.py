"""How figures look: one palette, one set of parameters, on light and on dark paper.

An arm has one colour in every figure, and the base is always the colour of the ink. The colours
are those of Okabe & Ito (2008), told apart also by readers who are colour-blind; more arms than
that are taken in order from viridis, as arms that many usually are steps of one quantity.
Figures are made without pyplot: nothing global changes, and no display is needed.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

DRAWING = "Drawing"  # what a PNG shows, in its own words
FONTS = (  # the first that is installed; the last comes with matplotlib
    "Inter",
    "Helvetica Neue",
    "Helvetica",
    "Arial",
    "Liberation Sans",
    "DejaVu Sans",
)


@dataclass(frozen=True)
class Style:
    """Colours of one paper; `words` are those of the verdicts."""

    paper: str
    ink: str
    muted: str
    faint: str
    arms: tuple[str, ...]
    words: dict[str, str]

    def colours(self, arms: list[str]) -> dict[str, str]:
        """The colour of each arm; the first is the base."""
        others = arms[1:]
        if len(others) <= len(self.arms):
            return dict(zip(arms, (self.ink, *self.arms), strict=False))
        ramp = mpl.colormaps["viridis"]
        steps = [to_hex(ramp(0.08 + 0.84 * i / (len(others) - 1))) for i in range(len(others))]
        return dict(zip(arms, (self.ink, *steps), strict=True))

    @contextmanager
    def applied(self) -> Iterator[None]:
        with mpl.rc_context(self._parameters()):
            yield

    def _parameters(self) -> dict[str, Any]:
        return {
            "figure.facecolor": self.paper,
            "figure.dpi": 100,
            "savefig.dpi": 180,
            "font.family": _fonts(),
            "font.size": 9,
            "text.parse_math": False,  # a name with dollar signs is a name
            "text.color": self.ink,
            "axes.facecolor": self.paper,
            "axes.edgecolor": self.faint,
            "axes.labelcolor": self.muted,
            "axes.titlecolor": self.ink,
            "axes.titlesize": 9.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.titlepad": 7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "axes.axisbelow": True,
            "axes.formatter.useoffset": False,
            "axes.unicode_minus": True,
            "grid.color": self.faint,
            "grid.linewidth": 0.6,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.major.size": 3,
            "ytick.major.size": 0,
            "xtick.minor.size": 0,
            "lines.linewidth": 1.6,
            "lines.solid_capstyle": "round",
            "legend.frameon": False,
            "legend.fontsize": 9,
        }


LIGHT = Style(
    paper="#ffffff",
    ink="#1c2128",
    muted="#59636e",
    faint="#dfe3e8",
    arms=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    words={"better": "#1a7f37", "worse": "#cf222e", "equivalent": "#0969da", "inconclusive": "#8a6100"},
)
DARK = Style(
    paper="#161b22",
    ink="#e6edf3",
    muted="#9aa5b1",
    faint="#30363d",
    arms=("#4aa8e0", "#f0813a", "#2fc49a", "#e095c0", "#f2b632", "#8fd0f5"),
    words={"better": "#3fb950", "worse": "#f85149", "equivalent": "#58a6ff", "inconclusive": "#d29922"},
)


@cache
def _fonts() -> list[str]:
    present = set(font_manager.get_font_names())
    return [next(name for name in FONTS if name in present), "DejaVu Sans"]


def png(figure: Figure, dpi: float | Literal["figure"] = "figure", drawing: str = "") -> bytes:
    """The same bytes every time. drawing: what the file says that it shows."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None} | ({DRAWING: drawing} if drawing else {}))
    return buffer.getvalue()


def grid(count: int, width: float, height: float, columns: int | None = None) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, `height` inches each; the last row may be part empty."""
    columns = columns or _columns(count)
    figure = _figure(width, -(-count // columns) * height)
    axes = figure.subplots(-(-count // columns), columns, squeeze=False).flatten().tolist()
    for empty in axes[count:]:
        empty.set_axis_off()
    return figure, axes[:count]


def paired_grid(count: int, width: float, height: float) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """As `grid`, each panel in two parts, one above the other; the lower parts share their y axis."""
    columns = _columns(count)
    rows = -(-count // columns)
    figure = _figure(width, 0.35 + rows * height)
    axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[1.4, 1.0] * rows)
    pairs = [(axes[2 * row][column], axes[2 * row + 1][column]) for row in range(rows) for column in range(columns)]
    for empty in pairs[count:]:
        for ax in empty:
            ax.set_axis_off()
    return figure, pairs[:count]


def _columns(count: int) -> int:
    return min(count, 4 if count in (4, 7, 8) else 3)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06, wspace=0.02, hspace=0.02)  # pyrefly: ignore
    return figure
