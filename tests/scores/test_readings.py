"""Readings of answers by hand, their noise by source, and guessing at chance."""

import math

import numpy as np
import pytest

from ablate.scores import answers, readings
from ablate.scores.protocols import PROTOCOLS

LN2 = math.log(2)


def row(nats, sizes, gold=0, key="a", source=None):
    return {"item": key, "source": source or key, "gold": gold, "nats": nats, "bytes": sizes, "tokens": [1] * len(nats)}


def generated(right, nats, size):
    return {"item": "a", "source": "a", "gold": 1, "text": "4", "right": right, "nats": [nats], "bytes": [size]}


def test_bits_per_byte_are_those_of_the_gold_answers_together():
    rows = [row([2 * LN2, 9.0], [1, 5]), row([9.0, 4 * LN2], [5, 3], gold=1)]
    assert readings.value(rows, "bpb") == pytest.approx(6 / 4)
    assert readings.value([generated(False, 3 * LN2, 2)], "bpb") == pytest.approx(1.5)


def test_accuracy_asks_for_the_least_nats_and_its_norm_for_the_least_a_byte():
    rows = [row([3.0, 4.0], [1, 4])]  # the gold one has fewer nats, and more a byte
    assert (readings.value(rows, "acc"), readings.value(rows, "acc_norm")) == (1.0, 0.0)
    assert readings.value([generated(True, 1.0, 1), generated(False, 1.0, 1)], "acc") == 0.5


@pytest.mark.parametrize(("nats", "share"), [([1.0, 1.0, 1.0, 1.0], 0.25), ([1.0, 1.0, 2.0], 0.5), ([2.0, 1.0], 0.0)])
def test_of_tied_choices_a_share_is_right(nats, share):
    assert readings.value([row(nats, [1] * len(nats))], "acc") == share


def test_the_gap_is_to_the_best_wrong_choice():
    assert readings.value([row([1 * LN2, 6 * LN2, 8 * LN2], [1, 2, 2])], "gap") == pytest.approx(3 - 1)
    assert readings.value([row([6 * LN2, 1 * LN2], [2, 1])], "gap") == pytest.approx(-2)


def test_chance_is_known_of_choices_alone():
    rows = [row([1.0, 2.0], [1, 1]), row([1.0] * 4, [1] * 4)]
    assert readings.chance(rows, "acc") == pytest.approx(0.375)
    assert readings.chance(rows, "bpb") is None
    assert readings.chance([generated(True, 1.0, 1)], "acc") is None


@pytest.mark.parametrize(
    ("rows", "reading"),
    [
        ([row([1.0], [1])], "acc"),
        ([row([1.0], [1])], "gap"),
        ([generated(True, 1, 1)], "acc_norm"),
        ([{"text": "4", "right": True}], "bpb"),
    ],
)
def test_what_answers_do_not_hold_is_no_number(rows, reading):
    with pytest.raises(readings.Unreadable):
        readings.value(rows, reading)


def test_intervals_cover_in_as_many_draws_as_they_say():
    rng, misses = np.random.default_rng(0), 0
    for _ in range(400):
        sources = rng.normal(0, 0.5, 40)  # five items each, which stand or fall together
        rows = [
            row([2.0 + s + rng.normal(0, 0.2), 9.0], [4, 4], source=str(i))
            for i, s in enumerate(sources)
            for _ in range(5)
        ]
        low, high = readings.interval(rows, "bpb")
        misses += not low <= 2.0 / LN2 / 4 <= high
    assert 8 <= misses <= 32  # of 20 expected, with a sd of 4.4


@pytest.mark.parametrize("reading", ["bpb", "acc", "acc_norm", "gap"])
def test_items_that_are_there_twice_narrow_nothing(reading):
    rng = np.random.default_rng(1)
    rows = [row(rng.uniform(1, 3, 4).tolist(), [3, 4, 5, 6], key=str(i)) for i in range(30)]
    twice = [*rows, *(one | {"item": f"{one['item']} again"} for one in rows)]
    assert readings.interval(twice, reading) == pytest.approx(readings.interval(rows, reading))
    assert readings.value(twice, reading) == pytest.approx(readings.value(rows, reading))


def test_protocols_are_known_without_the_models_that_they_ask():
    assert set(answers.PROTOCOLS) == set(PROTOCOLS)


@pytest.mark.parametrize("share", [0.02, 0.25, 0.98])
def test_a_share_near_its_end_is_not_taken_for_exact(share):
    """Where all of 40 answers are wrong, as small models have it, the interval is not 0 wide: it would miss in 45 %."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        right = (rng.random(40) < share).astype(int).tolist()
        rows = [{"item": str(i), "source": str(i), "right": one, "text": ""} for i, one in enumerate(right)]
        low, high = readings.interval(rows, "acc")
        held.append(low <= share <= high)
    assert 0.92 <= np.mean(held) <= 0.99
    assert readings.interval([row | {"right": 0} for row in rows], "acc")[0] == pytest.approx(0)
