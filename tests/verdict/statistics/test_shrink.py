import numpy as np
import pytest
from scipy.stats import binom

from ablate.verdict.statistics.shrink import shrink
from bench.verdicts import calibration_error


def of(means: list[float], errors: list[float], df: float = 1e6, scale: float = 1.0):
    return shrink(means, errors, [df] * len(means), scale, 0.95)


def test_small_effects_of_a_null_family_shrink_and_large_ones_stay():
    small = of([0.5, -0.3, 0.2, -0.6, 0.1, 0.4], [1.0] * 6)
    assert all(abs(one.mean) < 0.5 * 0.6 for one in small)
    (large,) = of([30.0], [1.0])
    assert 29 < large.mean < 30
    assert large.below < 1e-6


def test_a_family_of_effects_is_shrunk_less_than_a_family_of_none():
    among_effects = of([2.0, -4.0, 5.0, -6.0, 3.0], [1.0] * 5)[0]
    among_none = of([2.0, 0.1, -0.2, 0.3, -0.1], [1.0] * 5)[0]
    assert 0 < among_none.mean < among_effects.mean < 2.0


def test_signs_mirror():
    one, other = of([1.3], [0.7])[0], of([-1.3], [0.7])[0]
    assert one.mean == pytest.approx(-other.mean)
    assert one.below == pytest.approx(1 - other.below)
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]), abs=1e-6)
    assert one.wrong_sign(1.3) == pytest.approx(other.wrong_sign(-1.3))


def test_an_error_known_with_few_degrees_of_freedom_is_trusted_less():
    sure, unsure = of([3.0], [1.0])[0], of([3.0], [1.0], df=2)[0]
    assert unsure.below > sure.below
    assert np.diff(unsure.interval)[0] > np.diff(sure.interval)[0]


def test_equal_runs_have_no_effect_and_no_error():
    (one,) = of([0.0], [0.0])
    assert abs(one.mean) < 1e-9
    assert one.below == pytest.approx(0.5, abs=0.01)


def test_probabilities_and_intervals_are_those_of_the_world_they_describe():
    """tau is drawn from its prior, effects from tau, estimates from effects."""
    rng, better, negative, covered, gaps = np.random.default_rng(0), [], [], 0, []
    for _ in range(300):
        tau = abs(rng.standard_cauchy())
        truth = tau * rng.standard_normal(6)
        errors = rng.uniform(0.3, 1.0, 6)
        means = truth + errors * rng.standard_normal(6)
        found = of(means.tolist(), errors.tolist())
        better += [one.below for one in found]
        negative += (truth < 0).tolist()
        covered += sum(one.interval[0] <= true <= one.interval[1] for one, true in zip(found, truth, strict=True))
        gaps += [(one.mean - true) ** 2 - (m - true) ** 2 for one, true, m in zip(found, truth, means, strict=True)]
    assert calibration_error(np.array(better), np.array(negative)) < 0.03
    assert binom.ppf(0.001, 1800, 0.95) <= covered <= binom.isf(0.001, 1800, 0.95)
    assert np.mean(gaps) < 0  # nearer to the truth than the estimates are
