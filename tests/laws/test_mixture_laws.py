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


def test_slopes_are_the_derivatives_of_the_form():
    q, step = 0.3 * np.random.default_rng(1).standard_normal(10), 1e-6
    both = [[laws._effective(q + sign * step * e, UNSEEN) for e in np.eye(10)] for sign in (1, -1)]
    numeric = (np.stack(both[0], 1) - np.stack(both[1], 1)) / (2 * step)
    assert laws._effective_slopes(q, UNSEEN) == pytest.approx(numeric, abs=1e-6)


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
