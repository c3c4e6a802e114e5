import numpy as np
import pytest

from ablate.laws import mixture_laws as laws

RNG = np.random.default_rng(0)
MIXTURES = RNG.dirichlet(np.full(5, 0.6), 40)
UNSEEN = RNG.dirichlet(np.full(5, 0.6), 200)
WORTH = np.array([1.0, 0.3, 0.05, 0.0, 0.01])


def planted(weights: np.ndarray) -> np.ndarray:
    return 1.0 + 0.4 * (0.02 + weights @ WORTH) ** -0.35


def off(predicted: np.ndarray, true: np.ndarray) -> float:
    """Root mean square error as a part of the spread."""
    return float(np.sqrt(np.mean((predicted - true) ** 2)) / true.std())


@pytest.mark.parametrize(("runs", "error"), [(12, 0.1), (40, 0.03)])
def test_a_law_of_effective_data_is_recovered_from_few_runs(runs, error):
    law = laws.effective(MIXTURES[:runs], planted(MIXTURES[:runs]), own=0)
    assert off(law(UNSEEN), planted(UNSEEN)) < error
    plain = laws.log_linear(MIXTURES[:runs], planted(MIXTURES[:runs]))
    assert off(plain(UNSEEN), planted(UNSEEN)) > 2 * off(law(UNSEEN), planted(UNSEEN))


def test_a_log_linear_law_is_recovered():
    true = 0.8 + np.exp(-0.5 - MIXTURES @ np.array([2.0, 0.5, 0.0, 1.0, 0.2]))
    law = laws.log_linear(MIXTURES, true)
    assert off(law(MIXTURES), true) < 0.02


@pytest.mark.parametrize(
    ("form", "slopes", "size"), [("_effective", "_effective_slopes", 10), ("_log_linear", "_log_linear_slopes", 7)]
)
def test_slopes_are_the_derivatives_of_the_form(form, slopes, size):
    q, step = 0.3 * np.random.default_rng(1).standard_normal(size), 1e-6
    both = [[getattr(laws, form)(q + sign * step * e, UNSEEN) for e in np.eye(size)] for sign in (1, -1)]
    numeric = (np.stack(both[0], 1) - np.stack(both[1], 1)) / (2 * step)
    assert getattr(laws, slopes)(q, UNSEEN) == pytest.approx(numeric, abs=1e-6)


def test_errors_at_runs_left_out_are_those_of_fits_without_them():
    noisy = planted(MIXTURES) + 0.02 * np.random.default_rng(2).standard_normal(len(MIXTURES))
    law = laws.effective(MIXTURES, noisy, own=0)
    without = []
    for i in range(len(noisy)):
        rest = np.arange(len(noisy)) != i
        without.append(noisy[i] - laws.effective(MIXTURES[rest], noisy[rest], own=0)(MIXTURES[i : i + 1])[0])
    fitted = noisy - law(MIXTURES)
    assert np.corrcoef(law.left_out, without)[0, 1] > 0.9
    assert np.abs(law.left_out).mean() > np.abs(fitted).mean()
    assert np.mean(np.square(law.left_out)) == pytest.approx(np.mean(np.square(without)), rel=0.3)


def test_equal_losses_are_no_trouble():
    law = laws.effective(MIXTURES, np.full(len(MIXTURES), 2.5), own=0)
    assert law(UNSEEN) == pytest.approx(np.full(len(UNSEEN), 2.5), abs=1e-6)


def test_one_log_linear_law_on_a_sum_has_its_optimum_on_a_vertex():
    """Two domains, each loss falls with its own: the best of the sum is between them, and no such law can say so."""
    weights = np.linspace(0.02, 0.98, 25)
    mixtures, fine = np.stack([weights, 1 - weights], 1), np.linspace(0, 1, 201)
    each = [1.3 / (0.1 + weights), 1 / (0.1 + 1 - weights)]
    everywhere = np.stack([fine, 1 - fine], 1)
    summed = laws.log_linear(mixtures, each[0] + each[1])(everywhere)
    assert fine[summed.argmin()] in (0.0, 1.0)
    apart = sum(laws.log_linear(mixtures, one)(everywhere) for one in each)
    assert 0.4 < fine[np.argmin(apart)] < 0.7
