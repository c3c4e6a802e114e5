"""Accuracy against the tokens written: rules that say which question gets steps, beside chance and the oracle."""

from pathlib import Path

from matplotlib.figure import Figure

from ablate.page.drawing.style import LIGHT, Style, png
from ablate.run.files import make_folder, write_atomically
from ablate.verdict.statistics.routing import ORACLE, Judged

WIDTH, HEIGHT = 7.2, 3.8


def draw(found: Judged, style: Style = LIGHT) -> Figure:
    """A line a rule with its band; at random the chord from never to always."""
    with style.applied():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        rules = [name for name in found.curves if name != ORACLE]
        colours = style.colours(["random", *rules]) | {ORACLE: style.muted}
        for name, curve in found.curves.items():
            line, width = (":", 1.0) if name == ORACLE else ("-", 1.6)
            told = name if name == ORACLE else f"{name}: {curve.gain.value:+.3f}, {curve.gain.word}"
            axes.plot(found.tokens, curve.accuracy, color=colours[name], label=told, ls=line, lw=width)
            if name != ORACLE:
                axes.fill_between(found.tokens, curve.low, curve.high, color=colours[name], alpha=0.15, linewidth=0)
        axes.plot(found.tokens, found.at_random, color=style.ink, linestyle="--", linewidth=1.0, label="random")
        ends = {"never": (found.tokens[0], found.at_random[0]), "always": (found.tokens[-1], found.always)}
        for name, at in ends.items():
            axes.plot(*at, "o", color=style.ink, markersize=4)
            axes.annotate(name, at, (0, -12), textcoords="offset points", ha="center", fontsize=8, color=style.muted)
        axes.set(xlabel="tokens that may be written, a question", ylabel="accuracy")
        axes.set_title("Steps for some questions: right at equal tokens, 95% intervals")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def write(found: Judged, path: Path) -> Path:
    """As PNG."""
    make_folder(path.parent)
    write_atomically(path, png(draw(found)))
    return path
