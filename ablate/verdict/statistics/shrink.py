"""What an effect probably is: the largest of many estimates is partly luck, and this takes the luck back.

The effects of a family are taken to be normal about 0 with an unknown standard deviation tau. How large tau is, the
family itself tells; before it does, tau is of the order of the study's margin (half-Cauchy, Gelman 2006, Bayesian
Analysis 1:515), so that one arm alone is shrunk too, a large effect hardly, and nothing to exactly 0. With an
estimate m of standard error e (known with some degrees of freedom, over which is averaged, like over tau)

    effect | tau, e  ~  normal(B m, B e^2),     B = tau^2 / (tau^2 + e^2)

The word of a verdict never comes from here: it comes from the estimate and its error alone.

    >>> one, *others = shrink([-0.02, 0.001, -0.001, 0.002], [0.002] * 4, [20] * 4, scale=0.01, confidence=0.95)
    >>> -0.02 < one.mean < -0.019 and one.below > 0.999
    True
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv, ndtr

from ablate.verdict.statistics.paired import Interval

TAUS = np.geomspace(1e-2, 1e2, 49)  # in units of the scale
NODES = 12  # equally likely ratios of the true to the estimated error
STEPS = 60  # of the bisection for a quantile


@dataclass(frozen=True)
class Shrunken:
    """The posterior of one effect."""

    mean: float
    interval: Interval
    below: float  # probability that the effect is below 0

    def wrong_sign(self, mean: float) -> float:
        """Probability that the effect has not the sign of its estimate."""
        return 1 - self.below if mean < 0 else self.below


def shrink(
    means: Sequence[float], errors: Sequence[float], dfs: Sequence[float], scale: float, confidence: float
) -> list[Shrunken]:
    """The effects behind finite estimates of one family; `scale` is the margin of the study."""
    m, taus = np.asarray(means, float)[:, None, None], scale * TAUS[None, :, None]
    ratios = np.sqrt([df / (2 * gammaincinv(df / 2, (np.arange(NODES) + 0.5) / NODES)) for df in dfs])
    e = np.maximum(np.asarray(errors, float)[:, None, None] * ratios[:, None, :], 1e-12 * scale)
    variance = taus**2 + e**2  # (arms, taus, nodes)
    density = np.exp(-0.5 * m**2 / variance) / np.sqrt(variance) + 1e-300
    of_tau = np.log(density.sum(2))
    prior = np.log(TAUS / (1 + TAUS**2))  # half-Cauchy, on a grid of logarithms
    tau_weights = prior + of_tau.sum(0)
    weights = np.exp(tau_weights - tau_weights.max())[None, :, None] * density / density.sum(2, keepdims=True)
    weights = (weights / weights.sum((1, 2), keepdims=True)).reshape(len(m), -1)
    kept = taus**2 / variance
    centres, sds = (kept * m).reshape(len(m), -1), (np.sqrt(kept) * e).reshape(len(m), -1)
    tail = (1 - confidence) / 2
    low, high = (_quantile(centres, sds, weights, level) for level in (tail, 1 - tail))
    means_, below = (weights * centres).sum(1), (weights * ndtr(-centres / sds)).sum(1)
    return [
        Shrunken(float(mean), (float(a), float(b)), float(p))
        for mean, a, b, p in zip(means_, low, high, below, strict=True)
    ]


def _quantile(centres: np.ndarray, sds: np.ndarray, weights: np.ndarray, level: float) -> np.ndarray:
    """Of mixtures of normals, one a row, by bisection."""
    low, high = (centres - 12 * sds).min(1), (centres + 12 * sds).max(1)
    for _ in range(STEPS):
        middle = (low + high) / 2
        below = (weights * ndtr((middle[:, None] - centres) / sds)).sum(1) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
