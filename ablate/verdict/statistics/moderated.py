"""The noise of a paired difference, from a few seeds of its own and from all that was measured before.

Three seeds tell little about their own noise: their t quantile is 4.30, where that of known noise is 1.96. But a lab
has measured similar arms before. If the true variances of such arms scatter like s0^2 d0 / chi2(d0), then n seeds with
variance s^2 are judged by limma's moderated t (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3):

    s~^2 = (d0 s0^2 + (n - 1) s^2) / (d0 + n - 1)        mean / (s~ / sqrt(n)) has d0 + n - 1 degrees of freedom

`estimate` takes s0^2 and d0 from the moments of log s^2, as limma does. It is more careful than limma in four ways:

- The arms of one study share their base, so their log variances are correlated (by rho^2, rho = 1/2). They scatter
  less than independent arms would, and all of them together say less about the level s0^2. Both are corrected.
- d0 is computed from a scatter that is CAUTION standard errors larger than the one found, plus the variance of the
  level. Few arms hence give a small d0. Fewer than LEAST arms give d0 = 0, which is the plain paired t.
- If the study's own arms, at least LEAST of them, scatter more than all arms together, their scatter decides d0.
- If an arm's own noise is larger than the moderated noise, the arm is judged by its own noise.

Why so careful: if noise is taken as known exactly, and one arm in five has three times that noise, then 17 % of null
studies of 8 arms find a false difference. A part of this price remains: with three seeds, no test holds 5 % for an arm
of three times the expected noise and is also much narrower than the plain t for all others. `python -m bench verdicts`
measures what this rule costs.

    >>> rng = np.random.default_rng(0)
    >>> before = [(rng.standard_normal((20, 3)) - rng.standard_normal(3)).tolist() for _ in range(5)]
    >>> prior = estimate(before)
    >>> 8 < prior.df < 16 and 1 < prior.variance < 3
    True
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import digamma, polygamma

from ablate.verdict.statistics.looks import SHARED, Noise

LEAST = 5  # arms, below which nothing is said of their common noise
CAUTION = 0.5  # standard errors; at 0, one arm in five of known threefold noise costs 5.7 % of null studies, not 4
ROUNDING = 1e-12  # a variance so much smaller than the others is no noise: the two runs are one
MOST = 1e6  # degrees of freedom that are as good as infinite

Block = Sequence[Sequence[float]]  # differences by seed, of the arms of one study


def estimate(earlier: Sequence[Block], own: Block = ()) -> Noise:
    """s0^2 and d0 of arms of one kind, from earlier studies and from the arms of the study itself."""
    evidence = [found for block in (*earlier, own) if len(found := _logs(block))]
    arms = np.concatenate(evidence) if evidence else np.empty((0, 2))
    if len(arms) < LEAST:
        return Noise()
    spread, error = _spread(evidence)
    level = arms[:, 0].mean()
    df = _df(spread + CAUTION * error + _level_variance(evidence))
    df = min(df, scatter(own))
    prior_df = _df(spread)
    centre = digamma(prior_df / 2) - math.log(prior_df / 2)
    return Noise(float(math.exp(level + centre)), df)


def scatter(own: Block) -> float:
    """Degrees of freedom that the noise of an arm is known with from others like it, however many these are.

    As found among the arms of one study, without caution: infinite with fewer than LEAST of them.
    """
    known = [d for d in own if len(d) > 1]
    if len(known) < LEAST:
        return MOST
    variances, dfs = np.array([variance(d) for d in known]), np.array([len(d) - 1.0 for d in known])
    return float(scatters(variances[None], dfs[None])[0])


def scatters(variances: np.ndarray, df: np.ndarray) -> np.ndarray:
    """`scatter` of many studies, [study], from variances and their degrees of freedom, [study, arm]; 0: not known."""
    real = (df > 0) & (variances > ROUNDING * np.median(variances, axis=1, keepdims=True))
    half, count = np.where(real, df, 1) / 2, np.maximum(real.sum(1), 2)
    logs = np.where(real, np.log(np.where(real, variances, 1.0)) - digamma(half) + np.log(half), 0.0)
    sampling = np.where(real, polygamma(1, half), 0.0).sum(1)
    squares = (real * (logs - (logs.sum(1) / count)[:, None]) ** 2).sum(1)
    equal = sampling * (1 - (1 + (count - 1) * SHARED**2) / count)  # as in `_spread`, of one study
    spread = np.maximum((squares - equal) / (count - 1), 2 / MOST)
    return np.where(real.sum(1) < LEAST, MOST, np.minimum(MOST, 2 * _inverse_trigamma(spread)))


def moderated(differences: Sequence[float], prior: Noise) -> Noise:
    """Variance to judge one arm by, and its degrees of freedom; infinite without two seeds."""
    n = len(differences)
    if n < 2:
        return Noise(math.inf, 1.0)
    own = variance(differences)
    df = prior.df + n - 1
    return Noise(max(own, (prior.df * prior.variance + (n - 1) * own) / df), df)


def variance(d: Sequence[float]) -> float:
    """Unbiased, of two numbers or more; for a handful of them ten times as fast as numpy."""
    mean = math.fsum(d) / len(d)
    return math.fsum((x - mean) ** 2 for x in d) / (len(d) - 1)


def _logs(block: Block) -> np.ndarray:
    """(arms, 2): unbiased log variance, and the variance that it has in equal noise."""
    known = [d for d in block if len(d) > 1]
    variances = np.array([variance(d) for d in known])
    half = np.array([(len(d) - 1) / 2 for d in known])
    real = variances > ROUNDING * np.median(variances) if len(known) else np.zeros(0, bool)
    half = half[real]
    return np.stack([np.log(variances[real]) - digamma(half) + np.log(half), polygamma(1, half)], axis=1)


def _spread(evidence: Sequence[np.ndarray]) -> tuple[float, float]:
    """Variance of the true log variances over arms, and the standard error of that."""
    logs = np.concatenate(evidence)
    count, sampling = len(logs), logs[:, 1].sum()
    if count < 2:
        return 0.0, math.inf
    equal = sampling - count * _level_variance(evidence)  # the sum of squares expected of equal noise
    spread = max(0.0, (((logs[:, 0] - logs[:, 0].mean()) ** 2).sum() - equal) / (count - 1))
    half = _inverse_trigamma(np.unique(logs[:, 1]))
    tails = float(np.mean(2 + polygamma(3, half) / polygamma(1, half) ** 2))  # kurtosis - 1 of a log chi2
    error = math.sqrt(tails / count) * (spread + (1 - SHARED**2) * sampling / count)
    return float(spread), error


def _level_variance(evidence: Sequence[np.ndarray]) -> float:
    """Of the mean log variance, when noise is equal: sampling, part of it common to the arms of a study."""
    total = sum(len(part) for part in evidence)
    return sum(part[:, 1].sum() * (1 + (len(part) - 1) * SHARED**2) for part in evidence) / total**2


def _df(spread: float) -> float:
    """Degrees of freedom at which chi2 / df has log values with this variance."""
    return min(MOST, 2 * float(_inverse_trigamma(max(spread, 2 / MOST))))


def _inverse_trigamma(value: float | np.ndarray) -> np.ndarray:
    """Newton's iteration on 1 / trigamma, which is convex and nearly linear (Smyth 2004, appendix)."""
    x = 0.5 + 1 / np.asarray(value, float)
    for _ in range(50):
        trigamma = polygamma(1, x)
        step = trigamma * (1 - trigamma / value) / polygamma(2, x)
        x = x + step
        if np.all(-step < 1e-10 * x):
            break
    return x
