"""Many questions inside one run: each is judged by those that the run left alone.

In a seed, the difference of an answer's loss is that between the run with texts and the run without. An answer keeps
much of its difference in every seed, for all runs read the same other texts: seeds of one answer are no independent
draws of it. So an answer is one number: x is the mean over the seeds in which a question's text was read so many times,
and u that of a control of its form over the same seeds; no run reads its text. Questions with fewer than OWN controls
share those that are left over. The seed deals out whose text is read. Where fewer than LEAST answers were left alone in
all seeds of a question, the last of these are not used. With n controls of a question, and N questions:

    effect    e = x - mean(u);   c^2 = 1 + 1 / n
    together  all questions whose texts were read so many times, e the mean of theirs and c^2 = 1/N + sum of
              (1/N)^2 / n over controls: e / (c s) is a t, s the larger of the spread of x and of that of u about its
              means
    alone     one question: the same with the spread of u, of its own controls if that is larger, but p is never less
              than the tail says. A single answer is no mean, and a t test believes that none strays further than a
              normal one: where noise is skewed or scattered, it makes a false claim in a third of studies. So of all n
              answers u about their means, over as many seeds,
              p >= (1 + number of |u| >= |e| / c) / (n + 1), and beyond the furthest (furthest / (|e| / c))^3 / (n + 1):
              tails are taken to fall as the third power
    word      as of an arm (`paired`): the family is corrected by Holm, `equivalent` is two one-sided tests

With twenty controls for each question nothing need be taken of tails: p is that of a rank, and controls cost no
training. Error rates: `python -m bench interventions`. What a run does to all answers of a form alike drops out; what
one text does to the answer of another question alone does not.
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit

from ablate.verdict.statistics.paired import Interval, Word, holm, holm_levels, word_of

Key = TypeVar("Key", bound=Hashable)
LEAST = 3  # answers that were left alone, in all seeds of a question: in one at least, or nothing is judged
OWN = 5  # controls of a question, below which it has none of its own
TAIL = 3.0  # power at which tails fall beyond what was seen of them; normal ones fall faster


class Answer(NamedTuple):
    """Differences: of an answer whose text was read, and of those that it is held against, each a mean over seeds."""

    read: float
    untouched: Sequence[float]
    noise: "Noise"  # of single answers, over as many seeds


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
    noise: Noise  # of answers that were left alone, over as few seeds as any question has


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
    cells: dict[tuple[str, int], list[int]] = {}
    for seed, one in sorted(values.items()):
        for name in sorted(one):
            if number := times[seed].get(name, 0):
                cells.setdefault((name, number), []).append(seed)
    seeds_of = {key: _shared(seeds, values, times) for key, seeds in sorted(cells.items())}
    beside = {seeds: Beside.of(values, times, forms, seeds) for seeds in sorted(set(seeds_of.values()))}
    sizes = {len(seeds) for seeds in beside}
    noise = {n: Noise.of([u for seeds, one in beside.items() if len(seeds) == n for u in one.groups]) for n in sizes}
    answers, doses = dict[tuple[str, int], Answer](), dict[int, list[Answer]]()
    for (name, number), seeds in seeds_of.items():
        those, read = beside[seeds], float(np.mean([values[seed][name] for seed in seeds]))
        answers[name, number] = Answer(read, those.against(forms.get(name, "")), noise[len(seeds)])
        doses.setdefault(number, []).append(answers[name, number])
    one_by_one = {key: of_one(answer) for key, answer in answers.items()}
    together = {number: of_many(some) for number, some in sorted(doses.items())}
    found = judged(one_by_one, margin, confidence), judged(together, margin, confidence)
    return Judged(*found, noise[min(sizes)])


def _shared(
    seeds: Sequence[int], values: Mapping[int, Mapping[str, float]], times: Mapping[int, Mapping[str, int]]
) -> tuple[int, ...]:
    """As many of the seeds, from the first on, as have answers that all of them left alone."""
    alone = [{name for name in values[seed] if not times[seed].get(name)} for seed in seeds]
    enough = [place for place in range(1, len(seeds) + 1) if len(set.intersection(*alone[:place])) >= LEAST]
    return tuple(seeds[: max(enough, default=1)])


@dataclass(frozen=True)
class Beside:
    """Answers whose text no run of some seeds read, each its mean over these seeds."""

    own: Mapping[str, Sequence[float]]  # by form
    rest: Sequence[float]  # of forms that have too few of their own

    @classmethod
    def of(
        cls,
        values: Mapping[int, Mapping[str, float]],
        times: Mapping[int, Mapping[str, int]],
        forms: Mapping[str, str],
        seeds: Sequence[int],
    ) -> "Beside":
        found: dict[str, list[float]] = {}
        for name in sorted(values[seeds[0]]):
            if not any(times[seed].get(name) for seed in seeds):
                found.setdefault(forms.get(name, ""), []).append(float(np.mean([values[s][name] for s in seeds])))
        own = {form: one for form, one in found.items() if form and len(one) >= OWN}
        return cls(own, [x for form, one in found.items() if form not in own for x in one])

    @property
    def groups(self) -> list[Sequence[float]]:
        return [*self.own.values(), self.rest]

    def against(self, form: str) -> Sequence[float]:
        """Those of the form, or those that are left over, or all."""
        return self.own.get(form) or self.rest or [x for one in self.own.values() for x in one]


def of_one(answer: Answer) -> Estimate:
    """Of one question: it has the noise of those that were left alone, or of its own controls where that is larger."""
    known, own = answer.noise, float(np.var(answer.untouched, ddof=1)) if len(answer.untouched) > 1 else 0.0
    scale = _scale([answer]) * math.sqrt(max(1.0, own / known.variance))
    return Estimate(_effect(answer), math.sqrt(known.variance) * scale, known.df, known, scale)


def of_many(answers: Sequence[Answer]) -> Estimate:
    """Of several questions together: they may differ in what their texts do. Infinite error of fewer than two."""
    known = max((one.noise for one in answers), key=lambda noise: noise.variance)
    effects = [_effect(one) for one in answers]
    own = float(np.var(effects, ddof=1)) if len(effects) > 1 else math.inf
    variance, df = max((known.variance, known.df), (own, max(1.0, len(effects) - 1.0)))
    return Estimate(float(np.mean(effects)), math.sqrt(variance) * _scale(answers), df)


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


def _effect(one: Answer) -> float:
    return one.read - float(np.mean(one.untouched))


def _scale(answers: Sequence[Answer]) -> float:
    """Standard error of an effect, in that of a single answer. Controls that several share count as one set."""
    shared = Counter(tuple(one.untouched) for one in answers)
    total = len(answers)
    return math.sqrt(1 / total + sum((number / total) ** 2 / len(one) for one, number in shared.items()))
