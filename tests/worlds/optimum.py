"""The best mixture of a world, found on its exact loss: many starts, then each followed down to its valley.

best, valleys = minima(world)      K; valleys x (K + 1), the loss last, the lowest first
"""

import numpy as np
from scipy.optimize import minimize

from tests.worlds.ngram import World

STARTS, DRAWN = 8, 3000
SAME = 0.15  # two ends nearer than this (largest difference of a weight) are one valley


def minima(world: World, starts: int = STARTS) -> tuple[np.ndarray, list[tuple[float, np.ndarray]]]:
    """The best mixture and all valleys that were found: (loss, mixture), the lowest first."""
    rng = np.random.default_rng(world.seed)
    found = sorted(((_down(world, start)) for start in _starts(world, rng, starts)), key=lambda end: end[0])
    valleys: list[tuple[float, np.ndarray]] = []
    for loss, mixture in found:
        if all(np.abs(mixture - other).max() > SAME for _, other in valleys):
            valleys.append((loss, mixture))
    return valleys[0][1], valleys


def _starts(world: World, rng: np.random.Generator, starts: int) -> np.ndarray:
    """The lowest of many drawn mixtures that are not close to each other, and the priors."""
    K = world.num_domains
    drawn = np.concatenate([rng.dirichlet(np.full(K, a), DRAWN // 3) for a in (0.2, 0.5, 1.5)])
    drawn = np.concatenate([drawn, np.eye(K) * 0.9 + 0.1 / K])
    order, chosen = np.argsort(world.macro(drawn)), []
    for i in order:
        if all(np.abs(drawn[i] - drawn[j]).max() > 2 * SAME for j in chosen):
            chosen.append(i)
        if len(chosen) == starts:
            break
    return np.concatenate([drawn[chosen], list(world.priors.values())])


def _down(world: World, start: np.ndarray) -> tuple[float, np.ndarray]:
    """Descent in logits, exact to far below any noise; a weight may vanish."""

    def loss(logits: np.ndarray) -> tuple[float, np.ndarray]:
        step = 1e-5
        around = logits + step * np.concatenate([np.zeros((1, len(logits))), np.eye(len(logits)), -np.eye(len(logits))])
        values = world.macro(_softmax(around)) / world.sd if world.sd else world.macro(_softmax(around))
        half = len(logits) + 1
        return values[0], (values[1:half] - values[half:]) / (2 * step)

    end = minimize(loss, np.log(start + 1e-3), jac=True, method="L-BFGS-B", bounds=[(-9, 9)] * len(start))
    mixture = _softmax(end.x)
    return float(world.macro(mixture)[0]), mixture


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
