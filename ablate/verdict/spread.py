"""How far equal runs lie apart, and what sharing a seed takes off: the noise that every verdict is held against.

    seed noise   sd over seeds of one arm's loss: what an unpaired comparison meets, twice
    pair noise   sd over seeds of arm - base, where both share every source of randomness that their shapes allow
    gain         (var arm + var base) / var (arm - base): how many times the seeds an unpaired comparison needs

A sum and a difference of two equally noisy losses are independent, so with S = var(arm + base), D = var(arm - base)

    gain = (1 + S/D) / 2        and        S/D over its true value follows F with (df, df) degrees of freedom,

which gives an exact interval (the test of Pitman 1939 and Morgan 1939, of the correlation instead of the variances).
Arms of a study share their base and their seeds, so their estimates are not independent: of several arms the sums
are pooled, but only n - 1 degrees of freedom are counted for a study with n seeds. That can only widen the interval.

    >>> of_pairs([[(2.10, 2.00), (2.15, 2.06), (2.07, 1.96), (2.12, 2.02)]], df=3).correlation > 0.9
    True
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtri, gammaincinv

from ablate.verdict.evidence import Evidence
from ablate.verdict.statistics.paired import Interval

Pairs = Sequence[tuple[float, float]]  # (base, arm) by seed


@dataclass(frozen=True)
class Sd:
    """A standard deviation, and what it is known from."""

    value: float
    df: float

    @property
    def interval(self) -> Interval:
        """95 %, of normal noise that is the same in all arms."""
        low, high = (self.value * math.sqrt(self.df / (2 * gammaincinv(self.df / 2, p))) for p in (0.975, 0.025))
        return (low, high)


@dataclass(frozen=True)
class Gain:
    """What pairing takes off the variance of a difference."""

    value: float  # (var arm + var base) / var (arm - base)
    interval: Interval  # 95 %
    correlation: float  # of arm and base over seeds
    noise: Sd  # of arm - base
    arms: int
    df: int  # that the interval counts


def pooled(samples: Iterable[Sequence[float]]) -> Sd | None:
    """The sd within samples that may have different means; None without two values in any."""
    usable = [(float(np.var(sample, ddof=1)), len(sample) - 1) for sample in samples if len(sample) > 1]
    df = sum(one for _, one in usable)
    return Sd(math.sqrt(sum(variance * one for variance, one in usable) / df), df) if df else None


def of_pairs(arms: Sequence[Pairs], df: int | None = None) -> Gain | None:
    """The gain over arms together, each with two seeds or more; None where pairs do not differ at all.

    df: degrees of freedom that are counted for the interval of the gain; those of all arms if not given.
    """
    degrees = [len(pairs) - 1 for pairs in arms]
    df = sum(degrees) if df is None else df
    matrices = [np.cov(np.array(pairs).T) * n for pairs, n in zip(arms, degrees, strict=True)]
    (base, both), (_, arm) = np.sum(matrices, axis=0) / sum(degrees)
    together = base + arm - 2 * both
    if together <= 0 or base * arm <= 0:
        return None
    ratio = (base + arm + 2 * both) / together
    low, high = ((1 + ratio / fdtri(df, df, p)) / 2 for p in (0.975, 0.025))
    noise = Sd(math.sqrt(together), df)
    return Gain((base + arm) / together, (low, high), both / math.sqrt(base * arm), noise, len(arms), df)


def pairs(evidence: Evidence, arm: str, metric: str) -> Pairs:
    """Of the seeds that finished in both."""
    ours, base = evidence.finals(arm, metric), evidence.finals(evidence.base, metric)
    return [(base[seed], ours[seed]) for seed in ours if seed in base]


def gain(evidence: Evidence, arms: Iterable[str], metric: str) -> Gain | None:
    """Of some arms of one study together; None without two pairs in any."""
    usable = [found for arm in arms if len(found := pairs(evidence, arm, metric)) > 1]
    return of_pairs(usable, max(map(len, usable)) - 1) if usable else None


def metrics(evidence: Evidence) -> list[str]:
    """The study's own metric first, then the means and the domains."""
    names = dict.fromkeys([evidence.metric.name, "macro", *evidence.domains])
    return [name for name in names if _has(evidence, name)]


def _has(evidence: Evidence, metric: str) -> bool:
    finished = (run for run in evidence.runs if run.outcome == "finished")
    return all(evidence.value(run.result, metric) is not None for run in finished)
