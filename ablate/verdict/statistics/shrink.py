"""What an effect probably is: the largest of many estimates is partly luck, and this takes the luck back.

The effects of a family are taken to be normal about 0 with an unknown standard deviation tau. How large tau is, the
family itself tells. Before it does, all tau^2 are alike up to `scale`, with the tail of a Cauchy beyond (a beta prime,
Perez, Pericchi and Ramirez 2017, Bayesian Analysis 12:615). A flat prior of tau^2 is the one whose intervals hold
whatever tau is (Morris and Tang 2011, Statistical Science 26:271). The scale is the margin of the study, and at least
WIDE times the median error: a margin far below the noise would else make all effects nothing. With an estimate m of
standard error e (known with some degrees of freedom, over which is averaged, like over tau)

    effect | tau, e  ~  normal(B m, B e^2),     B = tau^2 / (tau^2 + e^2)

A share of the arms has no effect at all. The mean and the interval are of an effect, if there is one: were nothing a
part of them, they would be too narrow where all have some. But how large effects are is told by the arms that have
one. Were the others counted among them, the one large effect of 20 arms would lie in 0.13 of its intervals of 0.95. The
family tells the share; before it does, SOME says two of three. With it, the interval of the largest estimate of a study
held in 0.94 to 0.98 of studies of 3 to 20 arms with none, few, small or large effects (1,500 to 12,000 a row). One
effect alone among many arms is held less: of 3 times the noise of a pair, 0.91 among 20 arms and 0.88 among 40; of 6
times, 0.92 among 40 and 0.87 among 71.

The chance of a wrong sign asks whether there is an effect at all: an arm without one has not the sign of its estimate
either (the local false sign rate: Stephens 2017, Biostatistics 18:275). For it, NONE says nine of ten, which is
cautious where more arms have an effect. Chances that leave this out are far too small where few have: of those stated
as 0.04, 0.32 came true; with two of three, of those stated as 0.07, 0.28.

The word of a verdict never comes from here: it comes from the estimate and its error alone.

    >>> one, *others = shrink([-0.02, 0.001, -0.001, 0.002], [0.002] * 4, [20] * 4, margin=0.01, confidence=0.95)
    >>> -0.02 < one.mean < -0.019 and one.wrong_sign < 0.001
    True
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv, ndtr

from ablate.verdict.statistics.paired import Interval

TAUS = np.geomspace(1e-2, 1e2, 49)  # in units of the scale
PRIOR = TAUS**2 / (1 + TAUS**2) ** 1.5  # of them, on a grid of logarithms
WIDE = 3.0  # median errors
SHARES = (np.arange(12) + 0.5) / 12  # of the arms, without effect
NONE, SOME = SHARES**8, SHARES  # how likely they are: beta(9, 1), mean 0.9, and beta(2, 1), mean 0.67
POINTS, WEIGHTS = ((x + shift) / 2 for x, shift in zip(np.polynomial.legendre.leggauss(12), (1, 0), strict=True))
STEPS = 60  # of the bisection for a quantile


@dataclass(frozen=True)
class Shrunken:
    """The posterior of one effect."""

    mean: float
    interval: Interval
    wrong_sign: float  # probability that the effect has not the sign of its estimate


def shrink(
    means: Sequence[float], errors: Sequence[float], dfs: Sequence[float], margin: float, confidence: float
) -> list[Shrunken]:
    """The effects behind finite estimates of one family, in a study with this margin."""
    scale = max(margin, WIDE * float(np.median(errors)))
    m, taus = np.asarray(means, float)[:, None, None], scale * TAUS[None, :, None]
    # ratios of the true to the estimated error, at the points of Gauss and Legendre in their probability
    ratios = np.sqrt([df / (2 * gammaincinv(df / 2, POINTS)) for df in dfs])
    e = np.maximum(np.asarray(errors, float)[:, None, None] * ratios[:, None, :], 1e-12 * scale)
    density = _density(m, taus**2 + e**2)  # (arms, taus, points)
    kept = taus**2 / (taus**2 + e**2)
    centres, sds = kept * m, np.sqrt(kept) * e
    right = (density * ndtr(np.abs(centres) / sds)).sum(2)
    none, some = _density(m, e**2).sum((1, 2)), density.sum(2)
    wrong = 1 - (_effect(none, some, NONE) * right / some).sum(1)
    told = _effect(none, some, SOME)
    told /= told.sum(1, keepdims=True)  # given that the arm has an effect
    weights = told[:, :, None] * density / some[:, :, None]
    centres, sds, weights = (x.reshape(len(m), -1) for x in (centres, sds, weights))
    tail = (1 - confidence) / 2
    low, high = (_quantile(centres, sds, weights, level) for level in (tail, 1 - tail))
    return [
        Shrunken(float(mean), (float(a), float(b)), float(p))
        for mean, a, b, p in zip((weights * centres).sum(1), low, high, wrong, strict=True)
    ]


def _density(m: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Of an estimate, at every point of its error."""
    return WEIGHTS * (np.exp(-0.5 * m**2 / variance) / np.sqrt(variance) + 1e-300)


def _effect(none: np.ndarray, some: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Probability that an arm has an effect, and of tau, [arm, tau], from the densities of its estimate without, with.

    prior: of SHARES.
    """
    shares = SHARES[:, None, None]
    either = shares * none[:, None] + (1 - shares) * some  # (shares, arms, taus)
    logs = np.log(prior[:, None] * PRIOR) + np.log(either).sum(1)
    likely = np.exp(logs - logs.max())
    return (likely[:, None] / likely.sum() * (1 - shares) * some / either).sum(0)


def _quantile(centres: np.ndarray, sds: np.ndarray, weights: np.ndarray, level: float) -> np.ndarray:
    """Of mixtures of normals, one a row, by bisection."""
    low, high = (centres - 12 * sds).min(1), (centres + 12 * sds).max(1)
    for _ in range(STEPS):
        middle = (low + high) / 2
        below = (weights * ndtr((middle[:, None] - centres) / sds)).sum(1) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
