"""A stream of ideas: wealth is a fair bet, counted over all signs, and no more than alpha is staked."""

from itertools import product

import numpy as np
import pytest

from ablate.verdict.statistics.stream import Rule, ends, given_back, judge, most, stake, wealths

RULE = Rule()
SIGNS = np.array(list(product((-1.0, 1.0), repeat=12)))


@pytest.mark.parametrize("effect", [0.5, 2.0])
@pytest.mark.parametrize("sizes", [np.ones(12), np.exp(np.arange(12) % 5), np.array([5.0, *[0.1] * 11])])
def test_over_all_signs_no_pair_makes_wealth_grow(sizes, effect):
    assert wealths(SIGNS * sizes, effect).mean(0) == pytest.approx(np.ones(12))


def test_of_worse_ideas_it_falls():
    means = wealths(SIGNS * np.exp(np.arange(12) % 5) + 0.5, RULE.effect).mean(0)
    assert (means[1:] < means[:-1]).all()


@pytest.mark.parametrize("staked", [0.05, 0.002, 0.0005])
def test_a_coin_is_kept_no_oftener_than_its_stake(staked):
    """Every one of its 2^16 courses; noise of one size is what comes nearest to the bound."""
    courses = np.array(np.meshgrid(*[[-1.0, 1.0]] * 16, copy=False)).reshape(16, -1).T
    kept = ends(courses, np.full(len(courses), staked), RULE).kept.mean()
    assert staked / 5 < kept <= staked


def test_units_do_not_matter():
    d = np.random.default_rng(0).standard_normal(20) - 1
    assert wealths(1e-4 * d, 2.0) == pytest.approx(wealths(d, 2.0))


def test_pairs_that_do_not_differ_say_nothing():
    first, second, third = wealths(np.array([0.0, -1.0, 0.0]), 2.0)
    assert first == 1 < second == third
    assert judge([0.0] * 3, 0.001, RULE).word == ""


def test_the_word_stands_where_it_fell():
    first = judge([-1.0] * 12, 0.0005, RULE)
    assert (first.word, first.pairs) == ("keep", 12)
    assert judge([*[-1.0] * 12, 9.0, 9.0], 0.0005, RULE) == first
    assert judge([0.3, *[-1.0] * 30], 0.0005, RULE).word == "discard"


def test_an_idea_that_stays_undecided_is_for_a_retest_and_goes_on():
    course = [*[-1.0] * 5, 1.0] * 6
    limit = most(0.0005, RULE)
    assert judge(course[: limit - 1], 0.0005, RULE).word == ""
    assert judge(course[:limit], 0.0005, RULE).word == "retest"
    assert judge(course[:limit], 0.0005, RULE, 2 * limit).word == ""
    assert judge([], 0.0005, RULE).word == ""


def test_stakes_add_up_to_alpha_and_half_of_it_is_the_first_hundred():
    pot, staked = RULE.alpha, []
    for number in range(1, 5001):
        staked.append(stake(pot, number, RULE))
        pot -= staked[-1]
    assert sum(staked[: RULE.ideas]) == pytest.approx(RULE.alpha / 2)
    assert pot == pytest.approx(RULE.alpha * RULE.ideas / (RULE.ideas + 5000))


@pytest.mark.parametrize(("wealth", "share"), [(0.1, 0.1), (1.0, 1.0), (3000.0, 1.0)])
def test_no_idea_gives_back_more_than_its_stake(wealth, share):
    assert given_back(0.0005, wealth) == pytest.approx(share * 0.0005)
