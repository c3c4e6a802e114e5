"""Rows of a forest plot as the page shows them: what was measured, placed in percent of the width.

A strip is stretched by the page to any width, from a telephone's to a desk's, while its text and its dots keep
their size. The strips of one list share a scale.

    scale = Scale.over(strips, margin=0.01)
    scale.at(-0.0216)                 17.3, percent from the left
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from ablate.verdict.compare import Verdict
from ablate.verdict.statistics.paired import Interval, Word

ROOM = 1.12  # beyond what reaches farthest
LESSER = 0.2  # at least so much of the longer side is seen of the other
RANKS: dict[Word, int] = {"better": 0, "worse": 1, "equivalent": 2, "inconclusive": 3}


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One row, in the metric's unit; what is not known is None."""

    name: str
    word: Word
    notes: tuple[str, ...]
    by_seed: dict[int, float]
    mean: float | None
    interval: Interval | None
    stripe: Interval | None  # has to lie inside the margin to be equivalent
    p: float | None
    detectable: float | None

    @property
    def reach(self) -> Interval:
        """How far left and right of zero anything of it lies."""
        ends = [0.0, *self.by_seed.values(), *(self.interval or ()), *(self.stripe or ())]
        return min(ends), max(ends)


@dataclass(frozen=True)
class Scale:
    """Of all strips of a list. Zero and the margin are always on it."""

    low: float
    high: float

    @classmethod
    def over(cls, strips: Iterable[Strip], margin: float) -> "Scale":
        lows, highs = zip((-1.6 * margin, 1.6 * margin), *(strip.reach for strip in strips), strict=True)
        low, high = ROOM * min(lows), ROOM * max(highs)
        return cls(min(low, -LESSER * high), max(high, -LESSER * low))

    def at(self, value: float) -> float:
        """Percent from the left edge."""
        return round(100 * (min(self.high, max(self.low, value)) - self.low) / (self.high - self.low), 2)

    @property
    def ticks(self) -> list[float]:
        found = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(self.low, self.high)
        return [float(tick) for tick in found if 3 < self.at(tick) < 97]


def of_verdicts(verdicts: Iterable[Verdict]) -> list[Strip]:
    return [_of_verdict(verdict) for verdict in verdicts]


def _of_verdict(v: Verdict) -> Strip:
    return Strip(
        name=v.arm,
        word=v.word,
        notes=(*v.remarks, *(("provisional",) if v.provisional else ())),
        by_seed=v.differences,
        mean=_finite(v.effect.mean),
        interval=_known(v.effect.interval),
        stripe=_known(v.effect.equivalence_interval) if len(v.differences) > 1 else None,
        p=_finite(v.effect.p_adjusted) if len(v.differences) > 1 else None,
        detectable=_finite(v.detectable),
    )


def foremost(verdicts: Sequence[Verdict], count: int) -> list[Verdict]:
    """The verdicts that matter most, in the order declared: those with a word first, then the largest."""
    ranked = sorted(verdicts, key=lambda v: (RANKS[v.word], -abs(v.effect.mean) if v.differences else 0.0))
    kept = {verdict.arm for verdict in ranked[:count]}
    return [verdict for verdict in verdicts if verdict.arm in kept]


def headline(verdicts: Sequence[Verdict]) -> str | None:
    """The arm that the sentence is about."""
    return next((verdict.arm for verdict in foremost(verdicts, 1)), None)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _known(ends: Interval) -> Interval | None:
    return ends if all(math.isfinite(end) for end in ends) else None
