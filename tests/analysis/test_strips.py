import dataclasses
import math

import pytest

from ablate.analysis import compare, strips
from ablate.analysis.evidence import read
from tests.analysis.worlds import World, write

QUICK = World(evaluations=4, tokens=200_000)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    return compare.verdicts(read(write(tmp_path_factory.mktemp("outputs"), QUICK)))


def test_zero_is_in_the_middle_and_everything_is_inside(verdicts):
    rows = strips.of_verdicts(verdicts)
    scale = strips.Scale.over(rows, margin=0.01)
    assert scale.at(0.0) == 50
    for row in rows:
        for value in (*row.by_seed.values(), *row.interval, *row.stripe):
            assert 0 < scale.at(value) < 100
            assert (scale.at(value) - 50) * value >= 0
    assert scale.at(0.01) - 50 == pytest.approx(50 * 0.01 / scale.limit, abs=0.006)  # in hundredths of a percent


def test_the_margin_is_seen_even_where_nothing_reaches_it():
    assert strips.Scale.over([], margin=0.01).at(0.01) < 90


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
    assert math.isfinite(strips.Scale.over([none, one], 0.01).limit)


def test_the_foremost_are_those_with_a_word_and_keep_their_order(verdicts):
    assert [v.word for v in verdicts] == ["better", "worse", "equivalent"]
    assert [v.arm for v in strips.foremost(verdicts[::-1], 2)] == ["qa_40", "qa_20"]
    assert strips.headline(verdicts[::-1]) == "qa_20"
    assert strips.headline([]) is None
