"""The noise of a paired difference, from a few seeds of its own and from all that was measured before.

Three seeds tell little about their own noise: their t quantile is 4.30, where that of known noise is 1.96. But a lab
has measured similar arms before. If the true variances of such arms scatter like s0^2 d0 / chi2(d0), then n seeds with
variance s^2 are judged by limma's moderated t (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3):

    s~^2 = (d0 s0^2 + (n - 1) s^2) / (d0 + n - 1)        mean / (s~ / sqrt(n)) has d0 + n - 1 degrees of freedom

`estimate` takes s0^2 and d0 from earlier studies, by the moments of log s^2, as limma does. `lent` says how much of it
a new study may use, beside what its own arms say of one another. A new study may be noisier than all before it, as a
whole or in one arm, and nobody knows that beforehand. So little is lent:

| k arms of the study | from one another | from the past, if like it | together at most |
|---------------------|------------------|---------------------------|------------------|
| with two seeds      | 0                | 0                         | 0                |
| 1 or 2              | 0                | d0                        | 1.6              |
| 3                   | 1.6              | d0                        | 3.2              |
| 4 to 6              | 2                | d0                        | 5                |
| 7 to 11             | 3                | d0                        | 5                |
| 12 and more         | 4                | d0                        | 5                |

The entries are degrees of freedom. Two seeds borrow nothing: one degree of freedom cannot show that an arm is noisier
than those before. The past is let go when the pooled variance of the study's own arms is too large for it (F test,
p < RELEASE). From LEAST arms on, degrees of freedom are never more than the scatter of the study's own arms allows.
If an arm's own noise is larger than the moderated noise, the arm is judged by its own noise.

Many arms lend one another little more than few, as all of them may hang on one noisy base.

The limits were chosen by simulation, so that false claims stay at about 0.065 or below: for a whole study of 1.5 to 3
times the noise, one arm of 3 to 10 times, one arm in five, a base of 2 to 20 times, variances that scatter
log-normally, t3 noise, one to 20 arms, 3 to 8 seeds, after none, 30 and 200 earlier arms. The dearest, of 100,000
studies a row: three or four arms on a base of 5 times after 30 arms, 0.065 to 0.066, and a lone arm of 3 times, 0.063.
`python -m bench verdicts` repeats it.

There is more in two cases. An arm of three seeds that alone is three times as noisy, beside others of 20: at most 0.075
(40,000 studies a row). Skewed noise: for a lone arm of 3 times whose runs are exponential 0.094, as with the plain t;
after 30 skewed arms 0.127, where the plain t has 0.096 (100,000 studies each).

Arms of one study share their base, so their log variances are correlated (by rho^2, rho = 1/2). They scatter less than
independent arms would, and all of them together say less about the level. `estimate` corrects both, takes a scatter
that is CAUTION standard errors larger than the one found, and says nothing of fewer than LEAST arms.

    >>> rng = np.random.default_rng(0)
    >>> before = [(rng.standard_normal((20, 3)) - rng.standard_normal(3)).tolist() for _ in range(5)]
    >>> prior = estimate(before)
    >>> 8 < prior.df < 16 and 1 < prior.variance < 3
    True
    >>> lent(prior, [[0.1, -1.2, 1.3]]).df
    1.6
    >>> lent(prior, [[0.1, -9.2, 9.3]]).df  # far noisier than before
    0.0
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import digamma, fdtrc, polygamma

from ablate.verdict.statistics.looks import SHARED, Noise

LEAST = 5  # arms, below which nothing is said of their common noise
CAUTION = 0.5  # standard errors by which the scatter of earlier arms is taken to be larger than it was found
RELEASE = 0.3  # level of the F test that lets go of the past. At 0.2 one arm of 3 x noise is claimed in 7 % of studies
SEEDS = 3  # fewer of an arm tell too little of its noise to see that it is none of the past's
# fewest arms; degrees of freedom that they lend one another, and at most together with the past
LIMITS = ((0, 0.0, 1.6), (3, 1.6, 3.2), (4, 2.0, 5.0), (7, 3.0, 5.0), (12, 4.0, 5.0))
ROUNDING = 1e-12  # a variance so much smaller than the others, or than the mean squared, is no noise
MOST = 1e6  # degrees of freedom that are as good as infinite

Block = Sequence[Sequence[float]]  # differences by seed, of the arms of one study


def estimate(earlier: Sequence[Block]) -> Noise:
    """s0^2 and d0 of arms of one kind, from earlier studies; nothing of fewer than LEAST arms."""
    evidence = [found for block in earlier if len(found := _logs(block))]
    arms = np.concatenate(evidence) if evidence else np.empty((0, 2))
    if len(arms) < LEAST:
        return Noise()
    spread, error = _spread(evidence)
    prior_df = _df(spread)
    centre = digamma(prior_df / 2) - math.log(prior_df / 2)
    df = _df(spread + CAUTION * error + _level_variance(evidence))
    return Noise(float(math.exp(arms[:, 0].mean() + centre)), df)


def lent(prior: Noise, own: Block) -> Noise:
    """What the arms of a study may use beside their own seeds: of the past and of one another, or nothing.

    own: differences by seed of the arms of the study.
    """
    arms, _, variance = _together(own)
    usable, (mutual, _) = past(prior, own), _limits(arms)
    if not usable.df + mutual:
        return Noise()
    together = (mutual * variance + usable.df * usable.variance) / (mutual + usable.df)
    return Noise(together, min(mutual + usable.df, scatter(own)))


def past(prior: Noise, own: Block) -> Noise:
    """The part of the prior that a study with these arms may use: none where the arms are noisier than it says."""
    arms, df, variance = _together(own)
    if not (arms and prior.df) or fdtrc(df, prior.df, variance / prior.variance) < RELEASE:
        return Noise()
    return Noise(prior.variance, from_past(prior.df, arms))


def promised(arms: int) -> float:
    """Degrees of freedom that so many arms of a first study lend one another, to plan with: fewer than `lent` counts.

    They share a base, and scatter. In even noise, power planned so was at most 0.06 below the simulated and 0.01 above
    it, of 1 to 20 arms and 3 to 8 seeds (20,000 studies a row). Beside an arm of 3 x noise it is up to 0.3 too high.
    """
    return 0.75 * _limits(arms)[0]


def from_past(prior_df: float, arms: int) -> float:
    """Degrees of freedom that a past lends so many arms which are like it."""
    mutual, together = _limits(arms)
    return min(prior_df, together - mutual)


def _limits(arms: int) -> tuple[float, float]:
    """Of so many arms: what they lend one another, and the most that is lent together with the past."""
    return next((mutual, together) for fewest, mutual, together in reversed(LIMITS) if fewest <= arms)


def _together(own: Block) -> tuple[int, float, float]:
    """How many arms have three seeds or more, and the degrees of freedom and the variance of all of them.

    Every arm counts alike, so that one of few seeds is not told by others of many.
    """
    found = [(variance(d), len(d) - 1) for d in own if len(d) >= SEEDS]
    usual = float(np.median([v for v, _ in found])) if found else 0.0
    known = [(v, df) for v, df in found if v > ROUNDING * usual]  # an arm that is its base to the bit has no noise
    if not known:
        return 0, 0.0, 0.0
    arms, pooled = len(known), sum(v for v, _ in known) / len(known)
    df = arms**2 / sum(1 / df for _, df in known)  # of a mean of variances (Satterthwaite 1946)
    return arms, df / (1 + (arms - 1) * SHARED**2), pooled  # arms that share a base know less together


def scatter(own: Block) -> float:
    """Degrees of freedom that the noise of an arm is known with from others like it, however many these are.

    As found among the arms of one study, without caution: infinite with fewer than LEAST of them.
    """
    logs = _logs(own)
    return _df(_spread([logs])[0]) if len(logs) >= LEAST else MOST


def moderated(differences: Sequence[float], prior: Noise) -> Noise:
    """Variance to judge one arm by, and its degrees of freedom; infinite without two seeds.

    Differences that are all equal show no more than that their noise is too small to be measured. Their variance is the
    least that can be; where nobody tells what that is, it is infinite.
    """
    n = len(differences)
    if n < 2:
        return Noise(math.inf, 1.0)
    own = variance(differences)
    if own <= ROUNDING * (math.fsum(differences) / n) ** 2:
        own = prior.least
    df = prior.df + n - 1
    return Noise(max(own, (prior.df * prior.variance + (n - 1) * own) / df) or math.inf, df)


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
