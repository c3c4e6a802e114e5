import numpy as np
import pytest
from scipy.stats import binom

from ablate.verdict.statistics.shrink import shrink
from bench.verdicts import calibration_error


def of(means: list[float], errors: list[float], df: float = 1e6, scale: float = 1.0):
    return shrink(means, errors, [df] * len(means), scale, 0.95)


def test_effects_of_null_families_shrink_and_large_ones_stay():
    """By half in their mean square: estimates of families that are null, which say so themselves."""
    means = np.random.default_rng(0).standard_normal((100, 8))
    found = np.array([[one.mean for one in of(family.tolist(), [1.0] * 8)] for family in means])
    assert (found**2).sum() < 0.5 * (means**2).sum()
    assert (np.abs(found) < np.abs(means)).all()
    (large,) = of([30.0], [1.0])
    assert 29 < large.mean < 30
    assert large.wrong_sign < 1e-6


@pytest.mark.parametrize("effect", [0.0, 6.0])
def test_the_interval_of_the_largest_of_many_estimates_holds(effect):
    """One arm of 20 has the effect, in units of the noise of a pair; four seeds, and noise known with 8 degrees."""
    rng, arms, studies, held = np.random.default_rng(0), 20, 60, 0
    truth = np.where(np.arange(arms) < 1, effect, 0.0)
    for _ in range(studies):
        means = truth + rng.standard_normal(arms) / 2
        errors = np.sqrt(rng.chisquare(8, arms) / 8) / 2
        largest = int(np.argmax(np.abs(means)))
        low, high = of(means.tolist(), errors.tolist(), df=8)[largest].interval
        held += low <= truth[largest] <= high
    assert held >= binom.ppf(0.001, studies, 0.93)


def test_a_family_of_effects_is_shrunk_less_than_a_family_of_none():
    among_effects = of([2.0, -4.0, 5.0, -6.0, 3.0], [1.0] * 5)[0]
    among_none = of([2.0, 0.1, -0.2, 0.3, -0.1], [1.0] * 5)[0]
    assert 0 < among_none.mean < among_effects.mean < 2.0


def test_signs_mirror():
    one, other = of([1.3], [0.7])[0], of([-1.3], [0.7])[0]
    assert one.mean == pytest.approx(-other.mean)
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]), abs=1e-6)
    assert one.wrong_sign == pytest.approx(other.wrong_sign)


def test_an_error_known_with_few_degrees_of_freedom_is_trusted_less():
    sure, unsure = of([3.0], [1.0])[0], of([3.0], [1.0], df=2)[0]
    assert unsure.wrong_sign > sure.wrong_sign
    assert np.diff(unsure.interval)[0] > np.diff(sure.interval)[0]


def test_equal_runs_have_no_effect_and_no_error():
    (one,) = of([0.0], [0.0])
    assert abs(one.mean) < 1e-9
    assert one.wrong_sign > 0.9


@pytest.mark.parametrize("margin", [3.0, 0.1, 1e-6])
def test_intervals_hold_small_effects_whatever_the_margin(margin):
    """Effects of half the noise of a pair, three seeds each."""
    rng, error, covered = np.random.default_rng(0), 3**-0.5, 0
    for _ in range(100):
        truth = 0.5 * rng.standard_normal(8)
        found = of((truth + error * rng.standard_normal(8)).tolist(), [error] * 8, scale=margin)
        covered += sum(one.interval[0] <= true <= one.interval[1] for one, true in zip(found, truth, strict=True))
    assert covered >= binom.ppf(0.001, 800, 0.95)


def test_where_few_arms_have_an_effect_a_likely_sign_is_likely():
    """One arm in ten has an effect, drawn from a wide normal; the others have none, so that their sign is wrong."""
    rng, stated, came = np.random.default_rng(0), [], []
    for _ in range(200):
        truth = np.where(rng.random(10) < 0.1, 4.0, 0.0) * rng.standard_normal(10)
        means = truth + rng.standard_normal(10)
        stated += [one.wrong_sign for one in of(means.tolist(), [1.0] * 10, scale=0.1)]
        came += (np.sign(means) != np.sign(truth)).tolist()
    stated, came = np.array(stated), np.array(came)
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.01)):
        some = (low <= stated) & (stated < high)
        assert stated[some].mean() / 2 < came[some].mean() < 2 * stated[some].mean()


def test_probabilities_and_intervals_are_those_of_the_world_they_describe():
    """tau^2 is drawn from its prior, effects from tau, estimates from effects; some share of them has none."""
    rng, wrong, missed, covered, gaps = np.random.default_rng(0), [], [], 0, []
    for number in range(400):
        tau = 3 * 0.5 * np.sqrt(rng.exponential() / rng.gamma(0.5))
        share = rng.beta(9, 1) if number % 2 else 0.0
        truth = np.where(rng.random(6) < share, 0.0, tau * rng.standard_normal(6))
        means = truth + 0.5 * rng.standard_normal(6)
        found = of(means.tolist(), [0.5] * 6, scale=0.1)
        if share:
            wrong += [one.wrong_sign for one in found]
            missed += (np.sign(truth) != np.sign(means)).tolist()
        else:
            covered += sum(one.interval[0] <= true <= one.interval[1] for one, true in zip(found, truth, strict=True))
            gaps += [(one.mean - true) ** 2 - (m - true) ** 2 for one, true, m in zip(found, truth, means, strict=True)]
    assert calibration_error(np.array(wrong), np.array(missed)) < 0.03
    assert binom.ppf(0.001, 1200, 0.95) <= covered <= binom.isf(0.001, 1200, 0.95)
    assert np.mean(gaps) < 0  # nearer to the truth than the estimates are
