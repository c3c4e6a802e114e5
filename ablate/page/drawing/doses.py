"""Answers by how often their text was read: a dot a question, and all together with their interval."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.page.drawing.style import LIGHT, Style
from ablate.page.inserted import heading
from ablate.verdict.interventions import UNIT, Interventions

WIDTH, HEIGHT = 6.4, 3.4  # inches
SHARE = 0.05  # of the answers that were left alone lie outside the stripe
SPREAD = 0.24  # of a place, over which dots are laid


def doses(found: Interventions, style: Style = LIGHT) -> Figure:
    """Differences, so that lower is better."""
    with style.applied():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        ax = figure.subplots()
        reach = found.judged.noise.reach(SHARE)
        ax.axhspan(-reach, reach, color=style.faint, zorder=0)
        ax.axhline(0, color=style.muted, linewidth=0.9)
        for place, times in enumerate(found.judged.by_times):
            _at(ax, place, times, found, style)
        ax.set_xticks(range(len(found.judged.by_times)), [heading(times) for times in found.judged.by_times])
        ax.set_xlabel("text read")
        ax.set_ylabel(f"difference, {UNIT}")
        ax.set_title(f"Answers of {found.task}, beside those that were left alone")
    return figure


def _at(ax: Axes, place: int, times: int, found: Interventions, style: Style) -> None:
    answers = [told for (_, number), told in found.judged.answers.items() if number == times]
    for number, told in enumerate(sorted(answers, key=lambda one: one.mean)):
        beside = SPREAD * ((number + 0.5) / len(answers) - 0.5) - 0.2
        ax.plot(place + beside, told.mean, "o", color=style.words[told.word], markersize=3.5, alpha=0.8)
    told = found.judged.by_times[times]
    ax.plot([place + 0.1] * 2, told.interval, color=style.ink, linewidth=1.6, marker="_", markersize=8)
    ax.plot(place + 0.1, told.mean, "s", color=style.words[told.word], markersize=6)
