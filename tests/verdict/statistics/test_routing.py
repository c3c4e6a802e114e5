"""Curves of rules that say which question goes the slow way: by hand, at their ends, and how often they are wrong."""

import numpy as np
import pytest

from ablate.verdict.statistics import routing
from ablate.verdict.statistics.routing import ORACLE, SHARES, Outcomes, judged


def outcomes(fast, slow, cost) -> Outcomes:
    two = np.full(len(fast), 2.0)
    return Outcomes(np.array(fast, float), two, np.array(slow, float), two + cost, np.arange(len(fast)))


def drawn(rng: np.random.Generator, number: int, gain: float = 0.4) -> tuple[Outcomes, np.ndarray]:
    """Questions of which some gain by the slow way, and what says how likely they do."""
    hard = rng.normal(size=number)
    fast, slow = rng.random(number) < 1 / (1 + np.exp(2 * hard)), rng.random(number) < 0.5 + gain
    return outcomes(fast, slow, rng.integers(10, 60, number)), hard


# Four questions; the slow way costs 10, 10, 20 and 40 tokens, so never is 2 tokens and always 22
FOUR = outcomes([0, 0, 1, 0], [1, 0, 1, 1], [10, 10, 20, 40])


def test_a_curve_by_hand():
    found = judged(FOUR, {"rule": np.array([4.0, 3.0, 2.0, 1.0])})
    curve = found.curves["rule"]
    assert (found.tokens[0], found.tokens[-1]) == (2, 22)
    # After the first question 1/8 of the way and 0.5 right; then nothing, until the last brings 0.25 over half the way
    assert curve.accuracy[[0, 5, 20, 40]] == pytest.approx([0.25, 0.5, 0.5, 0.75])
    assert found.at_random[[0, 20, 40]] == pytest.approx([0.25, 0.5, 0.75])
    area = 0.125 * (0.25 + 0.5) / 2 + 0.375 * 0.5 + 0.5 * (0.5 + 0.75) / 2
    assert curve.gain.value == pytest.approx(area - 0.5)
    best = 0.125 * (0.25 + 0.5) / 2 + 0.5 * (0.5 + 0.75) / 2 + 0.375 * 0.75
    assert found.curves[ORACLE].gain.value == pytest.approx(best - 0.5)


def test_questions_of_one_score_go_together():
    same = judged(FOUR, {"rule": np.ones(4)})
    assert same.curves["rule"].accuracy == pytest.approx(same.at_random)
    assert same.curves["rule"].gain == pytest.approx((0, 0, 0))
    assert same.curves["rule"].gain.word == "no better"


def test_their_order_in_the_list_tells_nothing():
    rng = np.random.default_rng(0)
    one, score = drawn(rng, 300)
    score, order = score.round(), rng.permutation(300)
    other = Outcomes(*(part[order] for part in one))
    values = [
        judged(*pair).curves["rule"].gain.value for pair in ((one, {"rule": score}), (other, {"rule": score[order]}))
    ]
    assert values[0] == pytest.approx(values[1])


def test_nothing_is_spent_where_a_rule_expects_nothing():
    """A rule that sends nothing is `never`; so is a choice at random, where steps are right less often."""
    worse = outcomes([1, 1, 0, 1], [0, 1, 1, 0], [10, 10, 20, 40])
    found = judged(worse, {"none": -np.ones(4), "all": np.ones(4), "known": worse.gain})
    assert found.always == 0.5
    assert found.at_random == pytest.approx(np.full(len(SHARES), 0.75))
    assert found.curves["none"].gain.value == pytest.approx(0, abs=1e-12)
    assert found.curves["none"].gain.word == "no better"
    assert found.curves["all"].gain.value == pytest.approx(-0.125)
    assert found.curves["known"].accuracy[-1] == 1
    assert found.differences["all"].value == pytest.approx(0.125)


def test_no_rule_has_more_than_the_oracle():
    rng = np.random.default_rng(1)
    for _ in range(20):
        one, hard = drawn(rng, 80, rng.uniform(-0.4, 0.4))
        found = judged(one, {"rule": hard, "other": rng.normal(size=80)})
        assert all(curve.gain.value <= found.curves[ORACLE].gain.value for curve in found.curves.values())


def test_questions_that_are_there_twice_narrow_nothing():
    one, hard = drawn(np.random.default_rng(2), 200)
    twice = Outcomes(*(np.concatenate((part, part)) for part in one))
    once, again = (
        judged(each, {"rule": score}).curves["rule"].gain for each, score in ((one, hard), (twice, np.tile(hard, 2)))
    )
    assert again == pytest.approx(once)


@pytest.mark.slow
def test_the_interval_holds_what_many_questions_give():
    rng = np.random.default_rng(3)
    many, hard = drawn(rng, 100_000 // 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routing, "DRAWS", 1)
        truth = judged(many, {"rule": hard}).curves["rule"].gain.value
        patch.setattr(routing, "DRAWS", 300)
        found = [
            judged(one, {"rule": score}).curves["rule"].gain for one, score in (drawn(rng, 300) for _ in range(200))
        ]
    assert 0.9 <= np.mean([gain.low <= truth <= gain.high for gain in found]) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.4, 0.0, -0.2])
def test_scores_that_know_nothing_are_seldom_called_better(gain, monkeypatch):
    """Whether steps help much, hardly, or harm."""
    monkeypatch.setattr(routing, "DRAWS", 300)
    rng = np.random.default_rng(4)
    words = [
        judged(drawn(rng, 200, gain)[0], {"rule": rng.normal(size=200)}).curves["rule"].gain.word for _ in range(300)
    ]
    assert np.mean([word == "better" for word in words]) <= 0.05


def test_scores_that_know_something_are_found():
    rng = np.random.default_rng(5)
    worlds = [drawn(rng, 500) for _ in range(8)]
    assert all(judged(one, {"rule": hard + 10}).curves["rule"].gain.word == "better" for one, hard in worlds)
