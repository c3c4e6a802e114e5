"""Many questions inside one run: each is judged by those that the run left alone.

In a seed, x is the difference of an answer's loss between the run with texts and the run without, for a question whose
text was read; u the same for the n controls of its form, which no run reads. Questions with fewer than OWN controls
share those that are left over. The seed deals out whose text is read. With N answers x of several seeds:

    effect    e = the mean of x - mean(u);   c^2 = 1/N + sum of (1/N)^2 / n over controls of x
    together  all questions whose texts were read so many times: e / (c s) is a t, s the larger of the spread of x and
              of that of u about its means
    alone     one question: the same with the spread of u, of its own controls if that is larger, but p is never less
              than the tail says. A single answer is no mean, and a t test believes that none strays further than a
              normal one: where noise is skewed or scattered, it makes a false claim in a third of studies. So of all n
              answers u about their means,
              p >= (1 + number of |u| >= |e| / c) / (n + 1), and beyond the furthest (furthest / (|e| / c))^3 / (n + 1):
              tails are taken to fall as the third power
    word      as of an arm (`paired`): the family is corrected by Holm, `equivalent` is two one-sided tests

With twenty controls for each question nothing need be taken of tails: p is that of a rank, and controls cost no
training. Error rates: `python -m bench interventions`. What a run does to all answers of a form alike drops out; what
one text does to the answer of another question alone does not.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit

from ablate.verdict.statistics.paired import Interval, Word, holm, holm_levels, word_of

Key = TypeVar("Key", bound=Hashable)
OWN = 5  # controls of a question, below which it has none of its own
TAIL = 3.0  # power at which tails fall beyond what was seen of them; normal ones fall faster


class Seed(NamedTuple):
    """Differences of one seed: of an answer whose text was read, and of those that it is held against."""

    read: float
    untouched: Sequence[float]


@dataclass(frozen=True)
class Noise:
    """Of single answers that were left alone, about the means of those they stand beside."""

    sizes: np.ndarray  # of all, the largest first
    variance: float
    df: float

    @classmethod
    def of(cls, untouched: Sequence[Sequence[float]]) -> "Noise":
        groups = [np.array(one) - np.mean(one) for one in untouched if len(one) > 1]
        df = sum(len(one) - 1 for one in groups)
        # about a mean that is theirs too they lie closer
        sizes = np.concatenate([np.abs(one) * math.sqrt(len(one) / (len(one) - 1)) for one in groups])
        return cls(np.sort(sizes)[::-1], float(sum((one**2).sum() for one in groups)) / df, float(df))

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
    forms: Mapping[str, str],
    margin: float,
    confidence: float,
) -> Judged:
    """values: by seed, the difference of every answer; times: likewise, how often its text was read, if it was.

    forms: of every answer, what is alike in a question and its controls.
    """
    alone: dict[tuple[int, str], list[float]] = {}
    for seed, name, x in _all(values):
        if not times[seed].get(name):
            alone.setdefault((seed, forms.get(name, "")), []).append(x)
    few = {form for (_, form), one in alone.items() if len(one) < OWN} | set(forms.values()) - {f for _, f in alone}
    beside = {key: one for key, one in alone.items() if key[1] not in few}
    for (seed, form), one in alone.items():
        if form in few:
            beside.setdefault((seed, ""), []).extend(one)
    everyone = {seed: [x for (s, _), one in alone.items() if s == seed for x in one] for seed in values}
    cells: dict[tuple[str, int], list[Seed]] = {}
    for seed, name, x in _all(values):
        if number := times[seed].get(name, 0):
            form = "" if forms.get(name, "") in few else forms.get(name, "")
            cells.setdefault((name, number), []).append(Seed(x, beside.get((seed, form), everyone[seed])))
    doses: dict[int, list[Seed]] = {}
    for (_, number), seeds in cells.items():
        doses.setdefault(number, []).extend(seeds)
    known = Noise.of([*beside.values()])
    one_by_one = {key: of_one(seeds, known) for key, seeds in sorted(cells.items())}
    together = {key: of_many(seeds, known) for key, seeds in sorted(doses.items())}
    return Judged(judged(one_by_one, margin, confidence), judged(together, margin, confidence), known)


def _all(values: Mapping[int, Mapping[str, float]]) -> Iterator[tuple[int, str, float]]:
    return ((seed, name, x) for seed, one in values.items() for name, x in sorted(one.items()))


def of_one(seeds: Sequence[Seed], known: Noise) -> Estimate:
    """Of one question: it has the noise of those that were left alone, or of its own controls where that is larger."""
    own = max((float(np.var(one.untouched, ddof=1)) for one in seeds if len(one.untouched) > 1), default=0.0)
    scale = _scale(seeds) * math.sqrt(max(1.0, own / known.variance))
    return Estimate(_mean(seeds), math.sqrt(known.variance) * scale, known.df, known, scale)


def of_many(seeds: Sequence[Seed], known: Noise) -> Estimate:
    """Of several questions together: they may differ in what their texts do. Infinite error of fewer than two."""
    own = float(np.var([_effect(one) for one in seeds], ddof=1)) if len(seeds) > 1 else math.inf
    variance, df = max((known.variance, known.df), (own, max(1.0, len(seeds) - 1.0)))
    return Estimate(_mean(seeds), math.sqrt(variance) * _scale(seeds), df)


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


def _effect(one: Seed) -> float:
    return one.read - float(np.mean(one.untouched))


def _mean(seeds: Sequence[Seed]) -> float:
    return float(np.mean([_effect(one) for one in seeds]))


def _scale(seeds: Sequence[Seed]) -> float:
    """Standard error of an effect, in that of a single answer. Controls that several share count as one set."""
    shared = Counter(tuple(one.untouched) for one in seeds)
    total = len(seeds)
    return math.sqrt(1 / total + sum((number / total) ** 2 / len(one) for one, number in shared.items()))
