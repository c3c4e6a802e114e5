"""Laws of one curve: the optimum from any grid, and many laws weighted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.laws import curve_laws as laws
from ablate.laws.extrapolation import factor

TOKENS = np.linspace(1e5, 3e6, 24)


@given(st.floats(0.1, 3), st.floats(0.1, 1.5), st.floats(0.05, 2))
def test_a_law_without_noise_is_recovered(E, alpha, fall):
    A = fall / (TOKENS[0] ** -alpha)
    law = laws.estimate_power_law(TOKENS, E + A * TOKENS**-alpha)
    assert law.rms < 1e-6
    assert law.alpha == pytest.approx(alpha, rel=1e-3)
    assert law(1e7) == pytest.approx(E + A * 1e7**-alpha, abs=1e-5)


def noisy(rng: np.random.Generator) -> np.ndarray:
    return 0.9 + rng.uniform(50, 900) * TOKENS ** -rng.uniform(0.2, 0.8) + rng.normal(0, 0.003, len(TOKENS))


def test_the_optimum_is_found_from_100_of_100_random_grids():
    """A search that ends elsewhere, from any of them, on any curve, fails: the best is known by brute force."""
    rng = np.random.default_rng(0)
    fine = np.geomspace(*laws.ALPHAS, 4000)[:, None]
    for _ in range(100):
        losses, order, unit = noisy(rng), rng.permutation(len(TOKENS)), 10 ** rng.uniform(-6, 6)
        law = laws.estimate_power_law(TOKENS[order] * unit, losses[order], grid=int(rng.integers(40, 200)))
        best = laws.linear(TOKENS / TOKENS.mean(), fine, losses)[0].min()
        assert law.rms**2 * len(losses) <= best * (1 + 1e-9)


def test_a_search_too_coarse_for_the_optimum_would_be_seen():
    rng = np.random.default_rng(0)
    fine, missed = np.geomspace(*laws.ALPHAS, 4000)[:, None], 0
    for losses in (noisy(rng) for _ in range(100)):
        best = laws.linear(TOKENS / TOKENS.mean(), fine, losses)[0].min()
        once = laws.linear(TOKENS / TOKENS.mean(), np.geomspace(*laws.ALPHAS, 40)[:, None], losses)[0].min()
        missed += bool(once > best * (1 + 1e-9))
    assert missed > 90  # a grid alone, without refinement, is hardly ever there


@given(st.integers(0, 1000), st.sampled_from([1e-6, 1.0, 1e6]))
def test_neither_the_order_of_points_nor_the_unit_of_tokens_matters(seed, unit):
    rng = np.random.default_rng(seed)
    y = 0.9 + 500 * TOKENS**-0.43 + rng.normal(0, 0.003, len(TOKENS))
    order = rng.permutation(len(TOKENS))
    law, again = laws.estimate_power_law(TOKENS, y), laws.estimate_power_law(TOKENS[order] * unit, y[order])
    assert again.alpha == pytest.approx(law.alpha, rel=1e-4)
    assert again(1e7 * unit) == pytest.approx(law(1e7), abs=1e-6)


def test_neither_E_nor_A_becomes_negative():
    falling = laws.estimate_power_law(TOKENS, 1e9 * TOKENS**-1.5 - 0.5)
    rising = laws.estimate_power_law(TOKENS, 1 + 1e-7 * TOKENS)
    assert falling.E == 0
    assert rising.A == 0
    assert float(rising(1e9)) == pytest.approx(np.mean(1 + 1e-7 * TOKENS))


@pytest.mark.parametrize("eps", [0.003, 0.02])
def test_doubling_from_the_saturation_point_gains_eps(eps):
    law = laws.Law(0.95, 420.0, 0.42, 0.0)
    n = law.saturation(eps)
    assert law(n) - law(2 * n) == pytest.approx(eps)


def test_the_weighted_laws_hold_the_curve_where_it_is_a_law():
    at = np.array([2e6, 1e7, 3e7])
    mean, spread = laws.estimate_laws(TOKENS, 1 + 300 * TOKENS**-0.4).loss(at)
    assert np.all(np.abs(mean - 1 - 300 * at**-0.4) < factor("loss", 0.9) * spread + 1e-3)
    assert spread[0] == 0 < spread[1] < spread[2] < 0.1  # the first is within the curve


def squared(found: laws.Laws, tokens: float) -> tuple[np.ndarray, np.ndarray]:
    mean, spread = found.gain(np.array([tokens]))
    return mean, spread**2


def test_mean_and_spread_are_those_of_the_laws():
    found = laws.estimate_laws(TOKENS, noisy(np.random.default_rng(3)))
    shift, alpha = laws._grid()
    for n in (1e5, 4e6):
        at = found.E + found.A * (n / found.last + shift * found.first) ** -alpha
        twice = found.E + found.A * (2 * n / found.last + shift * found.first) ** -alpha
        for values, (mean, variance) in ((at, found._loss((n / found.last,))), (at - twice, squared(found, n))):
            assert float(mean[0]) == pytest.approx(np.average(values, weights=found.w), rel=1e-9)
            expected = np.average((values - mean[0]) ** 2, weights=found.w)
            assert float(variance[0]) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_more_noise_and_more_distance_spread_the_laws():
    rng = np.random.default_rng(0)
    curve, noise = 1 + 300 * TOKENS**-0.4, rng.standard_normal(len(TOKENS))
    near, far = np.array([6e6]), np.array([6e7])
    quiet, loud = (laws.estimate_laws(TOKENS, curve + sd * noise) for sd in (1e-4, 5e-3))
    assert quiet.loss(near)[1] < loud.loss(near)[1]
    assert loud.loss(near)[1] < loud.loss(far)[1]


@given(st.floats(1e-3, 1e3), st.floats(-5, 5))
def test_the_unit_of_tokens_and_the_level_of_losses_shift_nothing(unit, level):
    losses = 8 + noisy(np.random.default_rng(1))  # far above 0, so that E at least 0 binds nowhere
    one, other = laws.estimate_laws(TOKENS, losses), laws.estimate_laws(TOKENS * unit, losses + level)
    mean, spread = one.loss(np.array([1e7]))
    again, same = other.loss(np.array([1e7 * unit]))
    assert again - level == pytest.approx(mean, rel=1e-6)
    assert same == pytest.approx(spread, rel=1e-3)


def test_curves_that_flatten_are_told_from_those_that_do_not():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.002, len(TOKENS))
    x = np.log(TOKENS / TOKENS[0])
    assert laws.bend(TOKENS, 1 + 300 * TOKENS**-0.4 + noise) > 10
    assert abs(laws.bend(TOKENS, 3 - 0.1 * x + noise)) < 3
    assert laws.bend(TOKENS, 3 - 0.05 * x**2 + noise) < -10
    assert laws.bend(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.5])) == 0.0  # three points fit any parabola
