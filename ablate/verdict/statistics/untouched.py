"""Many questions inside one run: each is judged by those that the run left alone.

In a seed, x is the difference of an answer's loss between the run with texts and the run without, for a question whose
text was read; u the same for the n questions and controls whose text was not, about their mean. The seed deals out who
is which, so all would be alike if texts did nothing. With N answers x of several seeds, N_s and n_s of seed s:

    effect    e = the mean of x - mean(u) of its seed;   c^2 = 1/N + sum (N_s/N)^2 / n_s
    together  all questions whose texts were read so many times: e / (c s) is a t, s the larger of the spread of x and
              of that of u
    alone     one question: the same with the spread of u, but p is never less than its tail says. A single answer is
              no mean, and a t test believes that none strays further than a normal one: where noise is skewed or
              scattered, it makes a false claim in a third of studies. So of all n answers u of all seeds,
              p >= (1 + number of |u| >= |e| / c) / (n + 1), and beyond the furthest (furthest / (|e| / c))^3 / (n + 1):
              tails are taken to fall as the third power
    word      as of an arm (`paired`): the family is corrected by Holm, `equivalent` is two one-sided tests

With twenty controls for each question nothing need be taken of tails: p is that of a rank, and controls cost no
training. Error rates: `python -m bench interventions`. What a run does to all answers alike drops out; what one text
does to the answer of another question does not.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit

from ablate.verdict.statistics.paired import Interval, Word, holm, holm_levels, word_of

Key = TypeVar("Key", bound=Hashable)
TAIL = 3.0  # power at which tails fall beyond what was seen of them; normal ones fall faster


class Seed(NamedTuple):
    """Differences of one seed: of answers whose text was read, and of those that were left alone."""

    read: Sequence[float]
    untouched: Sequence[float]


@dataclass(frozen=True)
class Noise:
    """Of single answers that were left alone, about the means of their seeds."""

    sizes: np.ndarray  # of all, the largest first
    df: float

    @classmethod
    def of(cls, untouched: Sequence[Sequence[float]]) -> "Noise":
        about = np.concatenate([np.array(one) - np.mean(one) for one in untouched])
        return cls(np.sort(np.abs(about))[::-1], float(len(about) - len(untouched)))

    @property
    def variance(self) -> float:
        return float((self.sizes**2).sum() / self.df)

    def tail(self, size: float) -> float:
        """Share of answers that would be further off than `size`."""
        beyond, count = int((self.sizes >= size).sum()), len(self.sizes)
        return (1 + beyond) / (count + 1) if beyond else (self.sizes[0] / size) ** TAIL / (count + 1)

    def reach(self, level: float) -> float:
        """The size beyond which a share `level` of answers would be: `tail` turned round."""
        place = level * (len(self.sizes) + 1)
        return float(
            self.sizes[0] * place ** (-1 / TAIL) if place < 1 else self.sizes[min(int(place), len(self.sizes)) - 1]
        )


@dataclass(frozen=True)
class Estimate:
    mean: float
    error: float
    df: float
    single: Noise | None = None  # of one question: of single answers
    scale: float = 1.0  # what an answer's noise is multiplied with

    def beyond(self, distance: float, sides: int) -> float:
        """P of being further off than this. All of a tail may lie on one side."""
        p = min(1.0, sides * float(stdtr(self.df, -distance / self.error)))
        return p if self.single is None or distance <= 0 else max(p, self.single.tail(distance / self.scale))

    def half(self, level: float) -> float:
        """Of the interval of this level."""
        half = float(stdtrit(self.df, 1 - level / 2)) * self.error
        return half if self.single is None else max(half, self.single.reach(level) * self.scale)


class Told(NamedTuple):
    """What an estimate shows in its family, as `paired.Judgement` has it."""

    mean: float
    interval: Interval
    p_adjusted: float
    word: Word


@dataclass(frozen=True)
class Judged:
    """A study. Each of the two families is corrected for itself."""

    answers: Mapping[tuple[str, int], Told]  # by question, and how often its text was read
    by_times: Mapping[int, Told]  # all questions together
    noise: Noise


def judge(
    values: Mapping[int, Mapping[str, float]],
    times: Mapping[int, Mapping[str, int]],
    margin: float,
    confidence: float,
) -> Judged:
    """values: by seed, the difference of every answer; times: likewise, how often its text was read, if it was."""
    cells: dict[tuple[str, int], dict[int, list[float]]] = {}
    doses: dict[int, dict[int, list[float]]] = {}
    alone = {seed: [x for name, x in one.items() if not times[seed].get(name)] for seed, one in values.items()}
    for seed, one in values.items():
        for name, x in sorted(one.items()):
            if number := times[seed].get(name, 0):
                cells.setdefault((name, number), {})[seed] = [x]
                doses.setdefault(number, {}).setdefault(seed, []).append(x)
    known = Noise.of([*alone.values()])
    one_by_one = {key: of_one(_beside(read, alone), known) for key, read in sorted(cells.items())}
    together = {key: of_many(_beside(read, alone), known) for key, read in sorted(doses.items())}
    return Judged(judged(one_by_one, margin, confidence), judged(together, margin, confidence), known)


def _beside(read: Mapping[int, list[float]], alone: Mapping[int, list[float]]) -> list[Seed]:
    return [Seed(values, alone[seed]) for seed, values in read.items()]


def of_one(seeds: Sequence[Seed], known: Noise) -> Estimate:
    """Of one question: it has the noise of those that were left alone."""
    effects, scale = _effects(seeds), _scale(seeds)
    return Estimate(float(effects.mean()), math.sqrt(known.variance) * scale, known.df, known, scale)


def of_many(seeds: Sequence[Seed], known: Noise) -> Estimate:
    """Of several questions together: they may differ in what their texts do. Infinite error of fewer than two."""
    effects = _effects(seeds)
    mean, own = float(effects.mean()), float(effects.var(ddof=1)) if len(effects) > 1 else math.inf
    variance, df = max((known.variance, known.df), (own, max(1.0, len(effects) - 1.0)))
    return Estimate(mean, math.sqrt(variance) * _scale(seeds), df)


def judged(family: Mapping[Key, Estimate], margin: float, confidence: float) -> dict[Key, Told]:
    """Every estimate of a family; a loss, so that lower is better."""
    found, alpha = [*family.values()], 1 - confidence
    p = np.array([one.beyond(abs(one.mean), 2) for one in found])
    q = np.array([one.beyond(margin - abs(one.mean), 1) for one in found])
    p_adjusted, q_adjusted, levels = holm(p), holm(q), holm_levels(p, alpha)
    return {
        key: Told(
            one.mean,
            (one.mean - (half := one.half(float(levels[i]))), one.mean + half),
            float(p_adjusted[i]),
            word_of(one.mean, bool(p_adjusted[i] <= alpha), bool(q_adjusted[i] <= alpha)),
        )
        for i, (key, one) in enumerate(family.items())
    }


def _effects(seeds: Sequence[Seed]) -> np.ndarray:
    return np.concatenate([np.array(one.read) - np.mean(one.untouched) for one in seeds])


def _scale(seeds: Sequence[Seed]) -> float:
    """Standard error of an effect, in that of a single answer."""
    total = sum(len(one.read) for one in seeds)
    return math.sqrt(1 / total + sum((len(one.read) / total) ** 2 / len(one.untouched) for one in seeds))
