import dataclasses
import math

import pytest

from ablate.page.drawing import strips
from ablate.verdict import compare
from ablate.verdict.evidence import read
from tests.verdict.worlds import World, write

QUICK = World(evaluations=4, tokens=200_000)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    return compare.verdicts(read(write(tmp_path_factory.mktemp("outputs"), QUICK)))


def test_everything_is_inside_in_its_order(verdicts):
    rows = strips.of_verdicts(verdicts)
    scale = strips.Scale.over(rows, margin=0.01)
    values = sorted(
        [
            0.0,
            -0.01,
            0.01,
            *(v for row in rows for v in (*row.by_seed.values(), *(row.interval or ()), *(row.stripe or ()))),
        ]
    )
    places = [scale.at(value) for value in values]
    assert places == sorted(places)
    assert 0 < places[0] < places[-1] < 100
    middle = (scale.at(values[0]) + scale.at(values[-1])) / 2
    assert scale.at((values[0] + values[-1]) / 2) == pytest.approx(middle, abs=0.02)  # in hundredths of a percent


def test_the_margin_is_seen_even_where_nothing_reaches_it():
    scale = strips.Scale.over([], margin=0.01)
    assert 10 < scale.at(-0.01) < scale.at(0.0) == 50 < scale.at(0.01) < 90


def test_effects_on_one_side_get_the_room(verdicts):
    worse = [row for row in strips.of_verdicts(verdicts) if row.name == "qa_40"]
    scale = strips.Scale.over(worse, margin=0.0001)
    assert 10 < scale.at(0.0) < 20
    assert scale.at(worse[0].mean or 0.0) > 50
    assert all(3 < scale.at(tick) < 97 for tick in scale.ticks)
    assert 0.0 in scale.ticks


def test_a_strip_says_what_the_verdict_says(verdicts):
    for verdict, row in zip(verdicts, strips.of_verdicts(verdicts), strict=True):
        assert (row.name, row.word, row.mean, row.interval) == (
            verdict.arm,
            verdict.word,
            verdict.effect.mean,
            verdict.effect.interval,
        )
        assert row.by_seed == verdict.differences


def test_what_is_not_known_is_none(tmp_path):
    lost = {("qa_20", seed): "diverged" for seed in range(4)} | {("qa_40", seed): "killed" for seed in (1, 2, 3)}
    found = compare.verdicts(read(write(tmp_path, dataclasses.replace(QUICK, outcomes=lost))))
    none, one, _ = strips.of_verdicts(found)
    assert (none.mean, none.interval, none.stripe, none.p) == (None, None, None, None)
    assert one.mean == found[1].differences[0]
    assert (one.interval, one.stripe, one.p) == (None, None, None)
    assert math.isfinite(strips.Scale.over([none, one], 0.01).high)


def test_the_foremost_are_those_with_a_word_and_keep_their_order(verdicts):
    assert [v.word for v in verdicts] == ["better", "worse", "equivalent"]
    assert [v.arm for v in strips.foremost(verdicts[::-1], 2)] == ["qa_40", "qa_20"]
    assert strips.headline(verdicts[::-1]) == "qa_20"
    assert strips.headline([]) is None
