"""Paired differences: interval, p value, equivalence, family, and the smallest effect one could have seen.

Arm and base share every source of randomness of a seed, so a seed gives one difference d, and the
seeds are the only replicates there are: checkpoints, domains and tokens are not. With n seeds,
mean m and standard error s = sd(d) / sqrt(n):

    interval     m -+ t(1 - level/2, n-1) s                                        (Student's paired t)
    different    two-sided p = 2 P(T > |m| / s)
    equivalent   both one-sided tests reject |effect| >= margin: p = P(T > (margin - |m|) / s)
                 (TOST, Schuirmann 1987), that is: the (1 - 2 level) interval lies inside -+margin
    family       Holm (1979), for `different` and for `equivalent`, each over all arms of the study
    MDE          smallest effect found with probability .8, were s the true error: s times the noncentrality at
                 which a noncentral t exceeds t(1 - level/2), level = alpha / arms (Holm's first step). s is not:
                 effects of the size printed were found with a mean probability of .63 to .68 at three seeds, and
                 of .71 to .73 at eight (1 to 20 arms, 3,000 studies a row)

What is known of the noise from before (`moderated`) replaces s and n-1 by s~ and d0 + n-1 throughout.

Holm, and not Dunnett's joint distribution of arms that share a base: that one needs the correlation of the
arms, which is 1/2 only while base and arms are equally noisy (among 200 arms, its bound for 1/2 makes false claims
in 11 % of studies when it is 0), and a common denominator, which moderated variances are not. Holm holds
whatever the correlation, and asks for 3 to 6 % more effect (5 to 200 arms, known noise).

An interval is drawn at the level of the Holm step that judged its arm, so that it leaves out zero
exactly when the adjusted p is below alpha. No level exceeds alpha: each interval covers its own
effect with at least the study's confidence, and some false claim of a difference (likewise, of an
equivalence) is made in at most a share alpha of all studies. Differences must be roughly normal
across seeds. Without two seeds there is no interval: it is infinite, and p is 1.

    >>> judge({"a": [-0.021, -0.019, -0.023]}, margin=0.01, confidence=0.95)["a"].word
    'better'
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, ndtr, stdtr, stdtrit

from ablate.verdict.statistics.looks import Noise
from ablate.verdict.statistics.moderated import SEEDS, moderated

Word = Literal["better", "worse", "equivalent", "inconclusive"]
Interval = tuple[float, float]

POWER = 0.8
UNKNOWN = Noise()


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the differences of one arm show, in their unit."""

    mean: float
    interval: Interval  # of the effect; leaves out 0 exactly when p_adjusted <= alpha
    p: float
    p_adjusted: float
    equivalence_interval: Interval  # inside -+margin exactly when p_equivalent <= alpha
    p_equivalent: float  # Holm-adjusted
    mde: float
    error: float  # standard error of the mean, and the degrees of freedom it is known with
    df: float
    level: float  # of the interval: 1 - its confidence
    word: Word


def judge(
    differences: Mapping[str, Sequence[float]],
    margin: float,
    confidence: float,
    priors: Mapping[str, Noise] | None = None,
    sign: int = 1,
    shares: Mapping[str, float] | None = None,
) -> dict[str, Judgement]:
    """Judge each arm from its differences by seed; the family is all arms given, also those without any.

    priors: what is known of the noise of an arm's differences from before; nothing of arms left out.
    sign: 1 where a difference below 0 is better, -1 where one above 0 is.
    shares: of the level, what this look at an arm may spend (`verdict.history`); all of it for arms left out.
    """
    alpha, arms = 1 - confidence, list(differences)
    share = np.array([(shares or {}).get(arm, 1.0) for arm in arms])
    known = {arm: (priors or {}).get(arm, UNKNOWN) for arm in arms}
    p = np.array([p_different(differences[arm], known[arm]) for arm in arms])
    q = np.array([p_equivalent(differences[arm], margin, known[arm]) for arm in arms])
    # a p value over a share is one again, of a test at that share of any level
    p_adjusted, q_adjusted = holm(p / share), holm(q / share)
    levels, equivalence_levels = share * holm_levels(p / share, alpha), share * holm_levels(q / share, alpha)
    return {
        arm: Judgement(
            mean=_mean(differences[arm]),
            interval=interval(differences[arm], levels[i], known[arm]),
            p=float(p[i]),
            p_adjusted=float(p_adjusted[i]),
            equivalence_interval=interval(differences[arm], 2 * equivalence_levels[i], known[arm]),
            p_equivalent=float(q_adjusted[i]),
            mde=detectable(differences[arm], share[i] * alpha / len(arms), known[arm]),
            error=standard_error(differences[arm], known[arm]),
            df=moderated(differences[arm], known[arm]).df,
            level=float(levels[i]),
            word=word_of(sign * _mean(differences[arm]), p_adjusted[i] <= alpha, q_adjusted[i] <= alpha),
        )
        for i, arm in enumerate(arms)
    }


def word_of(loss: float, different: bool, equivalent: bool) -> Word:
    """The word for what was shown of a mean; `loss`: times the metric's sign."""
    # a difference that is real but inside the margin is one that the study declared not to matter
    if equivalent:
        return "equivalent"
    if different:
        return better_or_worse(loss)
    return "inconclusive"


def better_or_worse(loss: float) -> Word:
    """The word for a difference that is real: arm minus base, times the metric's sign."""
    return "better" if loss < 0 else "worse"


def p_different(d: Sequence[float], prior: Noise = UNKNOWN) -> float:
    """Two-sided p of a zero mean; 1 without two seeds."""
    return min(1.0, 2 * _tail(abs(_mean(d)), d, prior))


def p_equivalent(d: Sequence[float], margin: float, prior: Noise = UNKNOWN) -> float:
    """p of |mean| >= margin, the larger of two one-sided tests; 1 without two seeds."""
    return _tail(margin - abs(_mean(d)), d, prior)


def interval(d: Sequence[float], level: float, prior: Noise = UNKNOWN) -> Interval:
    """The central 1 - level interval of the mean; infinite without two seeds."""
    if len(d) < 2:
        return (-math.inf, math.inf)
    half = float(stdtrit(moderated(d, prior).df, 1 - level / 2)) * standard_error(d, prior)
    return (_mean(d) - half, _mean(d) + half)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p values."""
    order = np.argsort(p, kind="stable")
    scaled = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted


def holm_levels(p: np.ndarray, alpha: float) -> np.ndarray:
    """The level at which Holm's procedure judges each p: alpha / (arms not yet rejected)."""
    rejected = int((holm(p) <= alpha).sum())
    levels = np.empty(len(p))
    levels[np.argsort(p, kind="stable")] = alpha / (len(p) - np.minimum(np.arange(len(p)), rejected))
    return levels


def detectable(d: Sequence[float], level: float, prior: Noise = UNKNOWN) -> float:
    """Smallest mean that n such differences show at `level` with probability POWER; infinite without two."""
    return detectable_with(math.sqrt(moderated(d, prior).variance), len(d), level, prior.df)


def detectable_with(sd: float, seeds: int, level: float, prior_df: float = 0.0) -> float:
    """What `detectable` says of differences with this standard deviation, before there are any."""
    df = seeds - 1 + (prior_df if seeds >= SEEDS else 0.0)
    return math.inf if seeds < 2 else sd / math.sqrt(seeds) * _noncentrality(df, level)


def power(noncentrality: float, df: float, level: float) -> float:
    """P(|T| > t(1 - level/2, df)) for a noncentral T, integrated over the chi-distributed sd.

    scipy's own noncentral t returns nan at common values (df 1, level .05, noncentrality 12.7).
    """
    critical = stdtrit(df, 1 - level / 2) / math.sqrt(df)
    scale = (1 - df / 2) * math.log(2) - gammaln(df / 2)

    def integrand(u: float) -> float:
        density = math.exp(scale + (df - 1) * math.log(u) - u * u / 2)
        return density * (ndtr(noncentrality - critical * u) + ndtr(-noncentrality - critical * u))

    end = math.sqrt(df) + 10
    # the integrand falls within some 1 / critical of noncentrality / critical: sharply for a small level
    cuts = np.clip([1e-300, *(noncentrality + np.array([-8, 0, 8])) / critical, end], 1e-300, end)
    from scipy.integrate import quad  # slow to import, and few verdicts need it

    return sum(quad(integrand, a, b, limit=200)[0] for a, b in pairwise(cuts) if b > a)


@cache
def _noncentrality(df: float, level: float) -> float:
    critical = float(stdtrit(df, 1 - level / 2))
    return float(brentq(lambda x: power(x, df, level) - POWER, 0, 4 * critical + 4))  # pyrefly: ignore


def standard_error(d: Sequence[float], prior: Noise = UNKNOWN) -> float:
    """Of the mean; infinite without two seeds."""
    return math.sqrt(moderated(d, prior).variance / len(d)) if len(d) else math.inf


def _mean(d: Sequence[float]) -> float:
    return math.fsum(d) / len(d) if len(d) else math.nan


def _tail(distance: float, d: Sequence[float], prior: Noise) -> float:
    """P(T > distance / standard error)."""
    if len(d) < 2:
        return 1.0
    return float(stdtr(moderated(d, prior).df, -distance / standard_error(d, prior)))
