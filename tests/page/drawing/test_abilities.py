"""What arms could do, drawn: every checkpoint and protocol stands where its number is, and chance beside it."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from ablate.page.drawing import abilities
from ablate.page.drawing.style import LIGHT
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.progress import progress
from tests.verdict.answered import Asked, answer
from tests.verdict.worlds import World, write


@pytest.fixture
def study(tmp_path):
    return write(tmp_path, World(null_arm=None))


def lines(figure: Figure, panel: int, colour: str) -> list[list[tuple[float, float]]]:
    found = [np.column_stack(line.get_data()) for line in figure.axes[panel].lines if line.get_color() == colour]
    return [[(float(x), float(y)) for x, y in points] for points in found if len(points)]


def told(evidence: Evidence, reading: str, arm: str) -> list[tuple[float, float]]:
    return [(point.tokens, point.value) for point in progress(evidence, reading) if point.arm == arm]


def test_every_checkpoint_is_drawn_where_its_number_is_and_a_peak_has_a_ring(study):
    answer(study, Asked(effects={"qa_20": -0.3}), steps={100: 1.0, 200: -0.4})
    evidence = read(study)
    figure = abilities.progression(evidence)
    colour = LIGHT.colours([evidence.base, *evidence.arms])["qa_20"]
    for panel, reading in ((0, "bpb"), (1, "acc_norm")):
        drawn, *rings = lines(figure, panel, colour)
        assert drawn == told(evidence, reading, "qa_20")
        assert rings[0] == [drawn[1]]
    assert lines(figure, 1, LIGHT.muted) == [[(0.0, 0.5), (1.0, 0.5)]]  # chance, of two choices


def test_the_arms_and_tasks_that_are_shown_can_be_chosen(study):
    answer(study, steps={100: 1.0})
    figure = abilities.progression(read(study), tasks=["sums"], shown=["qa_40"])
    assert [text.get_text() for text in figure.legends[0].texts] == ["base", "qa_40", "chance"]


def test_one_checkpoint_is_no_curve(study):
    answer(study)
    assert not abilities.progressed(read(study))
    answer(study, steps={100: 1.0})
    assert abilities.progressed(read(study))


def test_protocols_stand_side_by_side_with_their_intervals(study):
    answer(study, Asked(effects={"qa_20": -0.5}), "cloze")
    assert not abilities.asked_in_several_ways(read(study))
    answer(study, Asked(effects={"qa_20": 0.5}), "likelihood")
    evidence = read(study)
    assert abilities.asked_in_several_ways(evidence)
    figure = abilities.by_protocol(evidence)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["cloze", "likelihood"]
    *intervals, values = lines(figure, 0, LIGHT.colours([evidence.base, *evidence.arms])["qa_20"])
    points = {p.protocol: p for p in progress(evidence, "acc") if p.arm == "qa_20"}
    assert [y for _, y in values] == [points["cloze"].value, points["likelihood"].value]
    assert [tuple(y for _, y in ends) for ends in intervals] == [points[p].interval for p in ("cloze", "likelihood")]
