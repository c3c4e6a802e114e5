"""What is believed of noise: planted spreads are found, little evidence counts for little, and no rule is fooled more
often than it says."""

import math

import numpy as np
import pytest
from scipy.special import polygamma
from scipy.stats import binom

from ablate.verdict.statistics import moderated as moderation
from ablate.verdict.statistics.looks import Noise
from ablate.verdict.statistics.moderated import (
    LEAST,
    MOST,
    estimate,
    lent,
    moderated,
    past,
    promised,
    scatter,
    variance,
)
from ablate.verdict.statistics.paired import judge
from ablate.verdict.statistics.power import Power
from bench.noise import World, normal
from bench.verdicts import study


def block(rng: np.random.Generator, sds: np.ndarray, seeds: int = 3, shared: float = 0.0) -> list[list[float]]:
    """Differences of the arms of one study; `shared` of each variance is the base's."""
    own = sds[:, None] * rng.standard_normal((len(sds), seeds)) * math.sqrt(1 - shared)
    return (own + math.sqrt(shared) * rng.standard_normal(seeds) * sds.mean()).tolist()


@pytest.mark.parametrize("value", [1e-6, 0.01, 0.3, 1.6449, 5.0, 400.0])
def test_the_inverse_of_trigamma(value):
    assert polygamma(1, moderation._inverse_trigamma(value)) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize("d0", [4, 10])
def test_a_planted_spread_of_variances_is_found(d0):
    rng = np.random.default_rng(0)
    blocks = [block(rng, 0.002 * np.sqrt(d0 / rng.chisquare(d0, 4)), seeds=4) for _ in range(1000)]
    # bases are not shared here, so their share of the scatter is wrongly taken out: that is small at 4 arms a study
    found = estimate(blocks)
    assert found.df == pytest.approx(d0, rel=0.35)
    assert math.sqrt(found.variance) == pytest.approx(0.002, rel=0.05)


def test_equal_noise_is_known_the_better_the_more_was_seen():
    rng = np.random.default_rng(1)
    studies = [block(rng, np.full(10, 0.003), shared=0.5) for _ in range(40)]
    few, more, many = (estimate(studies[:count]) for count in (2, 10, 40))
    assert 1 < few.df < more.df < many.df
    assert math.sqrt(many.variance) == pytest.approx(0.003, rel=0.1)


def test_one_study_says_little_of_the_level_however_many_arms_it_has():
    """They share a base of 2 degrees of freedom: no number of them is worth more than some 8."""
    rng = np.random.default_rng(2)
    assert estimate([block(rng, np.full(2000, 1.0), shared=0.5)]).df < 8
    assert estimate([block(rng, np.full(10, 1.0), shared=0.5) for _ in range(200)]).df > 20


def test_too_little_evidence_is_none():
    rng = np.random.default_rng(3)
    arms = block(rng, np.ones(LEAST - 1))
    assert estimate([arms]) == Noise()
    assert estimate([]) == Noise()
    assert estimate([[d[:1] for d in block(rng, np.ones(20))]]) == Noise()  # one seed has no variance
    assert estimate([arms, block(rng, np.ones(1))]).df > 0


def test_the_scatter_of_few_arms_is_taken_with_caution():
    """Six studies of an arm of three seeds, all of one variance: by hand, with trigamma(1) = pi^2 / 6 a log variance.

    The scatter found is 0; its standard error sqrt(4.4 / 6) x 3/4 of pi^2 / 6; the level has a sixth of pi^2 / 6.
    """
    found = estimate([[[0.0, 1.0, 2.0]] for _ in range(6)])
    scatter = (math.pi**2 / 6) * (0.5 * math.sqrt(4.4 / 6) * 3 / 4 + 1 / 6)
    assert polygamma(1, found.df / 2) == pytest.approx(scatter)


def test_runs_that_are_one_say_nothing_of_noise():
    rng = np.random.default_rng(4)
    arms = block(rng, np.full(12, 0.01))
    assert estimate([[*arms, [0.0, 0.0, 0.0]]]) == estimate([arms])


PRIOR = Noise(1.0, 10.0)
EVEN = [
    [-1.0, 0.0, 1.0],
    [-0.9, 0.0, 1.1],
    [-1.1, 0.0, 0.9],
    [-1.0, 0.1, 1.0],
    [-1.0, -0.1, 1.0],
    [-1.2, 0.1, 0.8],
    [1.0, 0.0, -1.0],
]


@pytest.mark.parametrize(
    ("arms", "alone", "after"), [(1, 0, 1.6), (2, 0, 1.6), (3, 1.6, 3.2), (4, 2, 5), (5, 2, 5), (7, 3, 5)]
)
def test_what_arms_lend_one_another_and_what_the_past_lends(arms, alone, after):
    """The table of the module, for arms of variance 1 after a past of variance 1."""
    assert lent(Noise(), EVEN[:arms]).df == alone
    assert lent(PRIOR, EVEN[:arms]).df == pytest.approx(after)
    assert lent(PRIOR, EVEN[:arms]).variance == pytest.approx(1, abs=0.03)
    assert lent(Noise(1.0, 1.1), EVEN[:arms]).df == pytest.approx(min(after, alone + 1.1))  # all that the past knows


@pytest.mark.parametrize(("arms", "effect"), [(3, 3.0), (5, 3.5), (8, 3.0)])
def test_what_is_planned_is_what_is_found(arms, effect):
    rng, found = np.random.default_rng(10), 0
    for _ in range(300):
        d = normal()(rng, arms, 3) + np.where(np.arange(arms) == 0, effect, 0.0)[:, None]
        differences = {str(arm): row for arm, row in enumerate(d.tolist())}
        noise = lent(Noise(), d.tolist())
        found += judge(differences, 1.0, 0.95, dict.fromkeys(differences, noise))["0"].p_adjusted <= 0.05
    planned = Power(noise=1.0, margin=1.0, arms=arms, noise_df=promised(arms)).chance(effect, 3)
    assert 0.6 < planned < 0.8
    assert found / 300 == pytest.approx(planned, abs=0.13)


def test_two_seeds_borrow_nothing():
    assert lent(PRIOR, [d[:2] for d in EVEN]) == Noise()
    assert past(PRIOR, [d[:2] for d in EVEN]) == Noise()


def test_a_past_that_is_quieter_is_let_go():
    """By the F test at RELEASE: of one arm, p(F(2, 10) > 1.36) = 0.30, and of three, p(F(4, 10) > 1.43) = 0.29."""
    one = EVEN[0]
    for factor, df in ((1.35, 1.6), (1.37, 0.0)):
        assert past(PRIOR, [[x * math.sqrt(factor) for x in one]]).df == df
    assert lent(PRIOR, [[2 * x for x in d] for d in EVEN[:3]]).df == 1.6  # what they lend one another
    assert lent(PRIOR, [[x / 9 for x in d] for d in EVEN[:3]]).df == 3.2  # a past that is noisier can only widen


def test_an_arm_that_is_its_base_counts_for_nothing():
    assert lent(PRIOR, [*EVEN[:2], [0.0, 0.0, 0.0]]).df == lent(PRIOR, EVEN[:2]).df
    assert lent(PRIOR, [[0.0, 0.0, 0.0]]) == Noise()


def test_arms_of_the_study_that_scatter_have_the_last_word():
    rng = np.random.default_rng(5)
    prior = estimate([block(rng, np.ones(20), shared=0.5) for _ in range(20)])
    odd = block(rng, np.where(np.arange(20) < 5, 10.0, 1.0))
    assert lent(prior, odd).df < 3 < prior.df
    assert scatter(odd) < 3
    assert scatter(odd[:4]) == MOST


def test_the_moderated_variance_is_smyths_unless_the_arms_own_is_larger():
    small, large = [0.0, 0.1, 0.2], [0.0, 10.0, 20.0]
    assert variance(small) == pytest.approx(np.var(small, ddof=1))
    found = moderated(small, Noise(0.04, 6.0))
    assert found.variance == pytest.approx((6 * 0.04 + 2 * 0.01) / 8)
    assert found.df == 8
    assert moderated(large, Noise(0.04, 6.0)) == Noise(100.0, 8.0)
    assert moderated(small, Noise()).variance == pytest.approx(0.01)
    assert math.isinf(moderated([0.1], Noise(0.04, 6.0)).variance)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("now", "before", "earlier", "arms"),
    [
        (normal(), normal(), (3, 10), 1),
        (normal(1.0), normal(), (10, 20), 3),
        (normal(1.0), normal(), (10, 20), 20),
        (normal(), normal(), (0, 0), 8),
        (normal(), normal(), (0, 0), 200),
        (normal(0.2), normal(0.2), (3, 10), 8),
        (normal(0.2), normal(0.2), (0, 0), 40),
    ],
    ids=[
        "one arm",
        "all noisier than before",
        "20 noisier",
        "alone",
        "200 arms on one base",
        "unequal",
        "unequal, alone",
    ],
)
def test_some_false_difference_in_at_most_5_percent_of_studies(now, before, earlier, arms):
    rng, studies, world = np.random.default_rng(6), 300, World(now, before, earlier)
    false = sum(any(one.p_adjusted <= 0.05 for one in study(world, rng, arms, 3)[0]) for _ in range(studies))
    assert false <= binom.isf(0.001, studies, 0.05)


def test_noise_believed_to_be_known_is_what_unequal_noise_punishes():
    """The worlds above can tell a rule that is too sure of itself."""
    rng, studies, false = np.random.default_rng(7), 200, 0
    for _ in range(studies):
        d = {str(i): row for i, row in enumerate(normal(0.2)(rng, 8, 3).tolist())}
        false += any(one.p_adjusted <= 0.05 for one in judge(d, 1.0, 0.95, dict.fromkeys(d, Noise(1.0, 1e6))).values())
    assert false > 1.5 * binom.isf(0.001, studies, 0.05)


def test_three_seeds_find_more_and_say_it_in_shorter_intervals():
    rng, world = np.random.default_rng(8), World(normal(), normal(), (10, 20))
    pairs = [(known[0], plain[0]) for known, plain in (study(world, rng, 1, 3, 2.0) for _ in range(200))]
    found, plain = (sum(one[i].p_adjusted <= 0.05 for one in pairs) for i in (0, 1))
    assert found > 1.2 * plain
    lengths = np.median([[np.diff(one.interval)[0] for one in pair] for pair in pairs], axis=0)
    assert lengths[0] < 0.8 * lengths[1]
