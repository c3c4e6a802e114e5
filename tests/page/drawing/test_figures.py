"""Figures are looked at by people; here, that each draws what it was given and nothing else."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ablate.laws import curves
from ablate.page.drawing import figures, recipe
from ablate.page.drawing.style import DARK, LIGHT
from ablate.verdict import compare
from ablate.verdict.evidence import Evidence, read
from tests.verdict.worlds import World, write

QUICK = World(evaluations=12, tokens=600_000)


def study(folder: Path, **changes) -> Evidence:
    return read(write(folder, dataclasses.replace(QUICK, **changes)))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def drawn(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=60)
    return buffer.getvalue()


def saturation_of(evidence: Evidence, **changes) -> Figure:
    estimated = [curves.estimate(evidence, "base", domain) for domain in evidence.domains]
    points = {domain: curves.all_points(evidence, "base", domain) for domain in evidence.domains}
    return figures.saturation(estimated, points, compare.smallest_effects(evidence), **changes)


def test_forest_shows_every_seed_interval_and_word(tmp_path):
    evidence = study(tmp_path)
    verdicts = compare.verdicts(evidence)
    figure = figures.forest(evidence, verdicts)
    lines = [list(np.asarray(line.get_xdata(), dtype=float)) for line in figure.axes[0].lines]
    for verdict in verdicts:
        assert list(verdict.differences.values()) in lines
        assert list(verdict.effect.interval) in lines
        assert verdict.word in texts(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["qa_20", "qa_40", "qa_12", "qa_10"]
    assert any(text.startswith("= base") for text in texts(figure))


def test_forest_shows_an_arm_that_diverged(tmp_path):
    evidence = study(tmp_path, outcomes={("qa_20", seed): "diverged" for seed in range(4)})
    figure = figures.forest(evidence, compare.verdicts(evidence))
    assert "4 of 4 diverged; no seed has finished in both" in texts(figure)
    assert drawn(figure)


def test_losses_show_the_mean_of_each_arm_and_its_difference(tmp_path):
    evidence = study(tmp_path)
    figure = figures.losses(evidence)
    titles = [ax.get_title("left") for ax in figure.axes if ax.get_title("left")]
    assert titles == [*evidence.domains, "macro"]
    below = figure.axes[3]  # three columns: the first of the second row
    (means,) = (one for one in below.collections if isinstance(one, LineCollection))
    ends = [float(segment[-1, 1]) for segment in means.get_segments()]
    finals = [np.mean(list(evidence.differences(arm, "general").values())) for arm in evidence.arms]
    assert ends == pytest.approx(finals)
    assert list(np.asarray(means.get_colors())[0, :3]) == list(to_rgb(LIGHT.arms[0]))


def test_a_legend_names_no_more_arms_than_there_is_room_for(tmp_path):
    figure = figures.losses(study(tmp_path, effects={f"arm_{i}": 0.0 for i in range(figures.NAMED + 4)}, seeds=(0,)))
    (legend,) = figure.legends
    assert len(legend.get_texts()) == figures.NAMED
    assert legend.get_title().get_text() == "and 5 more"  # the base is one of them


def test_the_base_is_ink_and_an_arm_has_one_colour_everywhere():
    arms = ["base", "a", "b", "c"]
    assert LIGHT.colours(arms)["base"] == LIGHT.ink
    assert LIGHT.colours(arms)["b"] == LIGHT.colours([*arms, "d"])["b"]
    many = LIGHT.colours(["base", *map(str, range(30))])
    assert len(set(many.values())) == 31


def test_the_mixture_shows_what_was_asked_and_what_was_read(tmp_path):
    evidence = study(tmp_path)
    qa = recipe.mixture(evidence).axes[3]
    (rings,) = qa.lines
    (dots,) = (one for one in qa.collections if isinstance(one, PathCollection))
    asked = [0.1, 0.2, 0.4, 0.12]
    assert list(rings.get_xdata()) == pytest.approx(asked)  # pyrefly: ignore
    assert list(np.asarray(dots.get_offsets())[:, 0]) == pytest.approx([share + 3e-5 for share in asked])


def test_arms_of_one_schedule_share_a_line(tmp_path):
    figure = recipe.schedule(study(tmp_path))
    assert [len(ax.lines) for ax in figure.axes] == [1, 1]
    assert texts(figure) == ["all arms", "all arms"]


@pytest.mark.parametrize("style", [LIGHT, DARK])
def test_every_figure_is_drawn_on_its_paper(tmp_path, style):
    evidence = study(tmp_path)
    before = dict(rcParams)
    made = [
        figures.forest(evidence, compare.verdicts(evidence), style),
        figures.losses(evidence, style),
        saturation_of(evidence, style=style),
        recipe.mixture(evidence, style),
        recipe.schedule(evidence, style),
    ]
    for figure in made:
        assert figure.get_facecolor()[:3] == to_rgb(style.paper)
        assert drawn(figure).startswith(b"\x89PNG")
    assert dict(rcParams) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"outcomes": {("base", seed): "not started" for seed in range(4)}},
        {"outcomes": {(arm, seed): "running" for arm in ("qa_20", "qa_40", "qa_12") for seed in range(4)}},
        {"seeds": (0,)},
        {"domains": {"text": (0.9, 500.0, 0.4)}, "effects": {"other": 0.0}, "null_arm": None},
        {"effects": {f"qa_{i}": 0.001 * i for i in range(11, 20)}, "seeds": (0, 1)},
    ],
    ids=["no base", "no arm", "one seed", "one domain", "many arms"],
)
def test_unfinished_and_unusual_studies_are_drawn(tmp_path, changes):
    evidence = study(tmp_path, **changes)
    for figure in (figures.forest(evidence, compare.verdicts(evidence)), figures.losses(evidence)):
        assert drawn(figure)
    assert drawn(recipe.mixture(evidence))
    assert drawn(recipe.schedule(evidence))


def test_arms_without_a_colour_are_grey_and_still_there(tmp_path):
    evidence = study(tmp_path)
    figure = figures.losses(evidence, shown=["qa_40"])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["base", "qa_40", "2 more arms"]
    coloured, grey = (one for one in figure.axes[3].collections if isinstance(one, LineCollection))
    assert (len(coloured.get_segments()), len(grey.get_segments())) == (1, 2)
    mixture = recipe.mixture(evidence, shown=["qa_40"], rows=["qa_12"])
    assert [label.get_text() for label in mixture.axes[0].get_yticklabels()] == ["base", "qa_40", "qa_12"]
    (dots,) = (one for one in mixture.axes[0].collections if isinstance(one, PathCollection))
    assert [tuple(colour[:3]) for colour in np.asarray(dots.get_facecolor())] == [
        to_rgb(colour) for colour in (LIGHT.ink, LIGHT.arms[0], LIGHT.muted)
    ]
