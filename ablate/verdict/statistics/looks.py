"""Looking at paired differences before all seeds are in, without finding what is not there.

Differences arm - base come in whole blocks, one a seed. At n of N planned blocks an arm differs when

    |mean| sqrt(n) / s  >  bound(n),     s: the larger of the arm's own and the pooled standard deviation

The bound is the t quantile whose two-sided level is that of z = c (N / n)^(1/4), the family of Wang and
Tsiatis (Biometrics 43, 1987) with Delta = 1/4. c is the number at which, were no arm different, some arm at some look
would cross its bound in a share alpha of studies. It is found by simulating this very rule: arms that share their
base have correlated differences (rho = 1/2), so k arms of n seeds pool far fewer than k (n - 1) degrees
of freedom, at most 4 (n - 1). Noise known from earlier studies counts with the degrees it is worth.

Looks at 2, 3, 5 and 8 cost power, beside one verdict at 8: 0.03 to 0.07 of some 0.8 in even noise (3 to 8 arms, one of
them with an effect of 1.5 sd, 1,200 races a row). Where another arm has 3 times the noise they cost about 0.2: the race
pools the noise of all arms, and an even arm pays for the noisy one.

Pooling lends an arm the noise of the others. Where one arm's own noise was three times theirs, a false
difference was found in 16 to 30 % of simulated null studies; with the larger of the two, in 4 to 7 %. Among
many arms that is not enough, nor where noise is known from before: `verdict.race` lowers the degrees of
freedom to those that the scatter of the arms allows.

    >>> [round(t, 2) for t in Design((2, 3, 5, 8), arms=1, alpha=0.05, prior_df=40).bounds(df=40)]
    [3.01, 2.7, 2.35, 2.07]
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import gammaincinv, log_ndtr, ndtr, ndtri, stdtr, stdtrit

SHAPE = 0.25
SHARED = 0.5  # correlation of the differences of two arms from one base
DRAWS = 2e7  # normal numbers drawn to find a constant; at least MIN_STUDIES and at most MAX_STUDIES studies
MIN_STUDIES, MAX_STUDIES = 4_000, 200_000
CHUNK = 2e6  # of them at a time


@dataclass(frozen=True)
class Noise:
    """Variance of a paired difference, and the degrees of freedom that it is worth."""

    variance: float = 0.0
    df: float = 0.0
    least: float = 0.0  # variance of an arm whose differences are all equal: the square of what can be measured


@dataclass(frozen=True)
class Design:
    """Looks after so many blocks, the last planned; among `arms`, some false difference in a share alpha of studies."""

    looks: tuple[int, ...]
    arms: int
    alpha: float
    prior_df: float = 0.0

    def bound(self, blocks: int, df: float) -> float:
        """Of |t| with df degrees of freedom, at the look after so many blocks."""
        return float(self.each(blocks, np.asarray(df)))

    def each(self, blocks: int, df: np.ndarray) -> np.ndarray:
        """The same of many."""
        z = _constant(self) * (self.looks[-1] / blocks) ** SHAPE
        return -stdtrit(df, ndtr(-z))

    def bounds(self, df: float) -> list[float]:
        """At every look, were the degrees of freedom the same at all."""
        return [self.bound(blocks, df) for blocks in self.looks]


def pool(squares: np.ndarray | float, df: float, arms: int, prior: Noise) -> tuple[np.ndarray | float, float]:
    """Variance and degrees of freedom of arms that share a base, from the sum of squared deviations over arms.

    The variance of a mean of k variances, correlated rho^2 in pairs, is (1 + (k - 1) rho^2) / k of one.
    """
    worth = 1 / (1 + (arms - 1) * SHARED**2)
    total = prior.df + worth * df
    return (prior.df * prior.variance + worth * squares) / total, total


def pooled(differences: Sequence[Sequence[float]], prior: Noise) -> Noise:
    """The noise of one paired difference, from several arms; without two blocks or a prior, infinite."""
    arms = [np.asarray(d) for d in differences if len(d) > 1]
    df = sum(len(d) - 1 for d in arms)
    if df + prior.df == 0:
        return Noise(math.inf, 1.0)
    squares = sum(float(((d - d.mean()) ** 2).sum()) for d in arms)
    variance, total = pool(squares, df, len(arms), prior)
    return Noise(float(variance), total)


def spread(d: Sequence[float], noise: Noise) -> float:
    """Standard deviation to judge one arm by: the larger of its own and the pooled."""
    own = float(np.var(d, ddof=1)) if len(d) > 1 else 0.0
    return math.sqrt(max(own, noise.variance))


def chance_of_better(mean: np.ndarray, sd: np.ndarray, df: np.ndarray, blocks: int, design: Design) -> np.ndarray:
    """Predictive probability that an arm is better at the last look, given its mean now and a flat prior.

    df: of the noise as the last look will know it. The tail has the same: what is asked is how far the mean moves in
    units of the deviation found then, and an arm that moves far because its noise is larger must also show more.
    """
    planned = design.looks[-1]
    needed = -design.each(planned, df) * sd / math.sqrt(planned)
    error = np.maximum(sd * math.sqrt(1 / blocks - 1 / planned), 1e-300)
    return stdtr(df, np.clip((needed - mean) / error, -1e100, 1e100))


def best(
    means: Sequence[float] | np.ndarray,
    sds: Sequence[float] | np.ndarray,
    df: float,
    nodes: int = 12,
    points: int = 400,
) -> np.ndarray:
    """Probability of each mean to be that of the lowest truth, for independent normal errors whose common scale
    has df degrees of freedom.

    P(i) = E integral f_i(x) prod_{j != i} (1 - F_j(x)) dx; the outer mean is over the scale.
    """
    m, s = np.asarray(means, float)[:, None], np.maximum(np.asarray(sds, float), 1e-300)[:, None]
    if not np.isfinite(s).all():
        return np.full(len(m), 1 / len(m))
    total = np.zeros(len(m))
    for wide in (s * scale for scale in _scales(df, nodes)):
        low, high = (m - 7 * wide).min(), (m + 7 * wide).min()  # beyond `high` some other is surely lower
        x = np.linspace(low, high, points)
        z = np.clip((x - m) / wide, -1e100, 1e100)
        beaten = log_ndtr(-z)
        density = np.exp(-0.5 * z * z + beaten.sum(0) - beaten) / wide
        total += density.sum(1) / density.sum()
    return total / total.sum()


def _scales(df: float, nodes: int) -> list[float]:
    """Equally likely ratios of the true to the estimated scale."""
    if math.isinf(df):
        return [1.0]
    return [math.sqrt(df / (2 * gammaincinv(df / 2, (node + 0.5) / nodes))) for node in range(nodes)]


def droppable(chances: Sequence[float] | np.ndarray, allowance: float) -> tuple[list[int], float]:
    """The least likely, as many as have together at most `allowance` of the probability; and what they had."""
    order, spent, dropped = np.argsort(chances, kind="stable"), 0.0, []
    for i in order[:-1]:
        if spent + chances[i] > allowance:
            break
        spent += float(chances[i])
        dropped.append(int(i))
    return dropped, spent


@cache
def _constant(design: Design) -> float:
    """The c of the bounds: the 1 - alpha quantile, over null studies, of the largest z (n / N)^(1/4)."""
    planned = design.looks[-1]
    studies = int(np.clip(DRAWS / (design.arms * planned), MIN_STUDIES, MAX_STUDIES))
    rng, left, largest = np.random.default_rng(studies), studies, []
    while left:
        count = min(left, max(1, int(CHUNK / (design.arms * planned))))
        largest.append(_largest(design, count, rng))
        left -= count
    return float(np.quantile(np.concatenate(largest), 1 - design.alpha))


def _largest(design: Design, studies: int, rng: np.random.Generator) -> np.ndarray:
    """The largest z (n / N)^(1/4) over looks and arms, in so many studies without any effect."""
    arms, planned = design.arms, design.looks[-1]
    base = rng.standard_normal((studies, 1, planned))
    d = math.sqrt(1 - SHARED) * rng.standard_normal((studies, arms, planned)) - math.sqrt(SHARED) * base
    known = rng.chisquare(design.prior_df, studies) / design.prior_df if design.prior_df else np.zeros(studies)
    found = np.zeros(studies)
    for n in (n for n in design.looks if n > 1 or design.prior_df):
        squares = d[:, :, :n].var(axis=2) * n
        variance, df = pool(squares.sum(1), arms * (n - 1), arms, Noise(known, design.prior_df))  # pyrefly: ignore
        widest = np.maximum(squares / max(n - 1, 1), np.asarray(variance)[:, None])
        t = (np.abs(d[:, :, :n].mean(2)) * np.sqrt(n / widest)).max(1)
        z = -ndtri(np.maximum(stdtr(df, -t), 1e-300))
        found = np.maximum(found, z * (n / planned) ** SHAPE)
    return found
