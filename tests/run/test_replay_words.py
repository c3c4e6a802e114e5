"""The word of a replay, from the three strengths and the rate."""

import math

import pytest

from ablate.run.replay import ENOUGH, FACTOR, Comparison, Replay, Shares, strength

HIGH, LOW = ENOUGH + 0.1, ENOUGH - 0.1


def found(batch: float, state: float, before: float, rate: float = 1.0) -> Replay:
    """A replay with these strengths, and a rate so many times the usual one."""
    nothing = Shares(odd=0.0, repeated=0.0)
    compared = {
        name: Comparison(measures=[], strength=value)
        for name, value in {"batch": batch, "state": state, "before": before}.items()
    }
    return Replay(
        step=200,
        healthy=168,
        neighbours=32,
        rate=(200, rate),
        rows=[],
        shares=(nothing, nothing),
        grad_norm=1.0,
        float32=[],
        **compared,
    )


@pytest.mark.parametrize(
    ("strengths", "word"),
    [
        ((HIGH, LOW, HIGH), "batch"),
        ((HIGH, LOW, LOW), "neither"),
        ((LOW, HIGH, LOW), "state"),
        ((LOW, HIGH, HIGH), "state"),
        ((HIGH, HIGH, HIGH), "both"),
        ((HIGH, HIGH, LOW), "state"),
        ((LOW, LOW, HIGH), "both"),
        ((LOW, LOW, LOW), "neither"),
        ((math.inf, LOW, math.inf), "batch"),
    ],
)
def test_words(strengths, word):
    assert found(*strengths).word == word


def test_a_rate_is_of_the_state():
    assert found(LOW, LOW, LOW, rate=FACTOR + 0.1).word == "state"
    assert found(HIGH, LOW, HIGH, rate=FACTOR + 0.1).word == "both"
    assert found(LOW, LOW, LOW, rate=FACTOR - 0.1).word == "neither"


def test_a_gradient_alone_counts_for_so_much():
    assert strength(1.0, 2.0, 6.0) == 3.0
    assert strength(1.0, 99.0, 6.0) == 7.0
    assert strength(1.0, math.nan, 6.0) == math.inf
