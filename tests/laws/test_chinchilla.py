"""Scaling laws: the optimum from any grid."""

import numpy as np
import pytest
from scipy.optimize import minimize

from ablate.laws import chinchilla

TRUTH = chinchilla.ScalingLaw(1.8172, 477.84, 2143.5, 0.3473, 0.3672)  # the parameters of Besiroglu et al. 2024


def planted(rng: np.random.Generator, noise: float = 0.005) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As many runs as there were in their fit, with heavy tails."""
    params, tokens = 10 ** rng.uniform(7.7, 10.2, 245), 10 ** rng.uniform(8.7, 11.4, 245)
    return params, tokens, TRUTH(params, tokens) * np.exp(noise * rng.standard_t(3, 245))


def test_the_law_is_recovered_without_noise():
    found = chinchilla.estimate(*planted(np.random.default_rng(0), 0.0))
    for name in ("E", "A", "B", "a", "b"):
        assert getattr(found, name) == pytest.approx(getattr(TRUTH, name), rel=1e-4)


@pytest.mark.slow
def test_the_optimum_is_found_from_100_of_100_random_grids():
    rng = np.random.default_rng(0)
    params, tokens, loss = planted(rng)
    reached = []
    for _ in range(100):
        order, (of_params, of_tokens) = rng.permutation(len(loss)), 10 ** rng.uniform(-6, 6, 2)
        law = chinchilla.estimate(
            params[order] * of_params, tokens[order] * of_tokens, loss[order], grid=int(rng.integers(16, 41))
        )
        reached.append(law.objective(params[order] * of_params, tokens[order] * of_tokens, loss[order]))
    assert max(reached) <= min(reached) * (1 + 1e-6)
    assert min(reached) <= TRUTH.objective(params, tokens, loss)


def test_single_random_starts_seldom_reach_it():
    """The baseline, and proof that the objective is hard enough for the test above to fail."""
    rng = np.random.default_rng(0)
    params, tokens, loss = planted(rng)
    best = chinchilla.estimate(params, tokens, loss).objective(params, tokens, loss)
    x, z, logs = np.log(params), np.log(tokens), np.log(loss)

    def objective(q: np.ndarray) -> float:
        predicted = np.logaddexp.reduce([np.full_like(x, q[0]), q[1] - q[3] * x, q[2] - q[4] * z])
        return chinchilla.huber(np.exp(np.clip(predicted - logs, -300, 300)), np.ones_like(logs))

    low, high = np.array([[-1, 0, 0, 0, 0], [1.5, 25, 25, 2, 2]])
    ends = [minimize(objective, rng.uniform(low, high), method="L-BFGS-B").fun for _ in range(10)]
    assert sum(end <= 1.01 * best for end in ends) <= 5


def test_predictions_are_stable_and_parameters_are_not():
    rng = np.random.default_rng(1)
    params, tokens, loss = planted(rng)
    small = params * tokens * 6 < 1e20
    found = chinchilla.resample(params[small], tokens[small], loss[small], 20, rng)
    relative = {name: np.std([getattr(law, name) for law in found]) / getattr(TRUTH, name) for name in ("A", "B")}
    predicted = np.array([law(5e9, 1e11) for law in found])
    assert np.std(predicted) / np.mean(predicted) < 0.03
    assert min(relative.values()) > 5 * np.std(predicted) / np.mean(predicted)
    assert np.mean(predicted) == pytest.approx(TRUTH(5e9, 1e11), rel=0.02)


def test_the_optimal_allocation_is_a_minimum():
    params, tokens = TRUTH.optimal(1e21)
    assert 6 * params * tokens == pytest.approx(1e21)
    best = TRUTH(params, tokens)
    assert all(best < TRUTH(params * f, tokens / f) for f in (0.9, 1.1))


def test_too_few_runs_are_refused():
    with pytest.raises(ValueError, match="4 runs do not identify"):
        chinchilla.estimate(np.arange(1.0, 5), np.arange(1.0, 5), np.arange(4.0, 0, -1))


@pytest.mark.slow
def test_five_runs_of_245_that_carry_a_parameter_are_named():
    """The five shortest runs are a decade shorter than the rest and end too high, as in the published points."""
    rng = np.random.default_rng(3)
    params, tokens, loss = planted(rng)
    clean = {edge.which: edge for edge in chinchilla.edges(params, tokens, loss, np.random.default_rng(0))}
    short = np.argsort(tokens)[:5]
    tokens[short] = 10 ** rng.uniform(7.8, 8.0, 5)
    loss[short] = 1.2 * TRUTH(params[short], tokens[short])
    bent = {edge.which: edge for edge in chinchilla.edges(params, tokens, loss, np.random.default_rng(0))}
    assert not clean["fewest tokens"].moved
    assert "B" in bent["fewest tokens"].moved
    assert set(bent["fewest tokens"].runs) == set(short.tolist())
    assert str(bent["fewest tokens"]).startswith("warning: without the 5 runs of the fewest tokens: ")
