"""Loss against tokens: the laws of every domain in every arm, read from the runs of a study.

    found = estimate(evidence, "share_15", "science")
    found.loss(n), found.band(n)          bits per byte at n tokens, and its interval
    found.gain(n)                         what doubling n brings: (mean, low, high)
    found.law.alpha, found.interval("alpha")
    found.carrier                 the one point that carries the gain, if one does

The x-axis is the tokens of the run, of all domains, not those of the domain: a domain also learns from the others,
and this is the axis along which compute is spent.

Points   The first 30 % of the evaluations are left out: early training follows another law, and keeping
         it more than doubles the error of an extrapolation (counted in tests/laws/test_curves.py).
         So are evaluations with a learning rate below its peak, where the schedule has a plateau: a
         falling rate lowers the loss by itself. Without a plateau nothing is identified, and `problem` says so.
Laws     `laws`: estimated from the mean over seeds and from each seed, without a start to choose.
Interval `extrapolation`: how far the laws lie apart, calibrated on public curves, and Student's t over seeds.
         E and alpha drift with the length of the run: predictions are stable, parameters are not.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ablate.laws import breaks
from ablate.laws.curve_laws import ALPHAS, BENT, MIN_POINTS, Law, Laws, bend, estimate_laws, estimate_power_law
from ablate.laws.extrapolation import half_width, over_seeds
from ablate.verdict.evidence import Evidence, Run
from ablate.verdict.statistics.paired import Interval

DISCARDED = 0.3  # first part of the curve, as a share of its evaluations
PLATEAU = 0.99  # of the peak rate

FALLING = "the learning rate falls along these points, and no law here covers that"
STRAIGHT = "the curve does not flatten yet"


@dataclass(frozen=True)
class Points:
    """One domain's losses along the runs of one arm: `losses[seed][i]` at `tokens[seed][i]`."""

    tokens: dict[int, np.ndarray]
    losses: dict[int, np.ndarray]
    cooled: bool = False  # the rate was not constant over these points

    def where(self, masks: Mapping[int, np.ndarray]) -> "Points":
        tokens = {seed: n[masks[seed]] for seed, n in self.tokens.items()}
        return dataclasses.replace(
            self, tokens=tokens, losses={seed: y[masks[seed]] for seed, y in self.losses.items()}
        )

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        return np.concatenate([*self.tokens.values(), []]), np.concatenate([*self.losses.values(), []])

    def mean(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean over seeds: (tokens, bits per byte)."""
        tokens, losses = self.pooled()
        different, index = np.unique(tokens, return_inverse=True)
        return different, np.bincount(index, weights=losses) / np.bincount(index)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The laws of one domain in one arm. `by_seed` is empty where a seed alone has too few points."""

    arm: str
    domain: str
    points: Points  # those that the laws were estimated from
    law: Law | None  # the best power law, for its parameters
    laws: Laws | None  # all of them, for predictions
    by_seed: dict[int, Laws]
    problem: str | None  # why the law is not identified
    trained: int  # tokens of the longest run
    confidence: float

    def loss(self, tokens: np.ndarray) -> np.ndarray:
        """Bits per byte at each number of tokens: the mean of the laws."""
        assert self.laws is not None
        return self.laws.loss(tokens)[0]

    def band(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Interval of `loss`; infinite without two seeds."""
        assert self.laws is not None
        mean, spread = self.laws.loss(tokens)
        each = np.array([laws.loss(tokens)[0] for laws in self.by_seed.values()])
        half = half_width(spread, each, "loss", self.confidence)
        return mean - half, mean + half

    def gain(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bits per byte that doubling each number of tokens brings: (mean, low, high)."""
        assert self.laws is not None
        mean, spread = self.laws.gain(tokens)
        each = np.array([laws.gain(tokens)[0] for laws in self.by_seed.values()])
        half = half_width(spread, each, "gain", self.confidence)
        return mean, mean - half, mean + half

    @cached_property
    def carrier(self) -> tuple[float, float] | None:
        """(tokens of a point, the gain of doubling the run without it), where that lies outside the gain's interval.

        Asked of the points that can carry most: the first, the last, and the one farthest from the laws.
        """
        tokens, losses = self.points.mean()
        if len(tokens) <= MIN_POINTS or len(self.by_seed) < 2:
            return None
        end, farthest = np.array([self.trained]), int(np.abs(losses - self.loss(tokens)).argmax())
        without = {
            i: float(estimate_laws(np.delete(tokens, i), np.delete(losses, i)).gain(end)[0][0])
            for i in (0, len(tokens) - 1, farthest)
        }
        mean, low, high = (float(part[0]) for part in self.gain(end))
        moved = max(without, key=lambda i: abs(without[i] - mean))
        return None if low <= without[moved] <= high else (float(tokens[moved]), without[moved])

    def interval(self, name: Literal["E", "A", "alpha"]) -> Interval:
        """Interval of one parameter of the power law over seeds; infinite without two."""
        half = over_seeds(np.array([getattr(law, name) for law in self._laws_of_seeds]), self.confidence)
        middle = getattr(self.law, name)
        return (float(middle - half), float(middle + half))

    @cached_property
    def _laws_of_seeds(self) -> list[Law]:
        return [estimate_power_law(self.points.tokens[seed], self.points.losses[seed]) for seed in self.by_seed]


def all_points(evidence: Evidence, arm: str, metric: str) -> Points:
    """Every evaluation of the finished runs of an arm that holds the metric, or the bits per byte of a domain."""
    rows = {seed: evidence.curve(run, metric) for seed, run in evidence.finished(arm).items()}
    return Points(
        {seed: np.array([row["tokens"] for row, _ in found], dtype=float) for seed, found in rows.items()},
        {seed: np.array([value for _, value in found]) for seed, found in rows.items()},
    )


def used_points(evidence: Evidence, arm: str, domain: str) -> Points:
    """The points that a law is estimated from: without the first part, and on the plateau where there is one."""
    points, runs = all_points(evidence, arm, domain), evidence.finished(arm)
    late = {seed: is_late(len(n)) for seed, n in points.tokens.items()}
    flat = {seed: late[seed] & _on_plateau(runs[seed], n) for seed, n in points.tokens.items()}
    if all(mask.sum() >= MIN_POINTS for mask in flat.values()):
        return points.where(flat)
    cooled = any((late[seed] != flat[seed]).any() for seed in late)
    return dataclasses.replace(points.where(late), cooled=cooled)


def is_late(num_points: int) -> np.ndarray:
    """Which of the points along a curve a law is estimated from."""
    return np.arange(num_points) >= round(DISCARDED * num_points)


def _on_plateau(run: Run, tokens: np.ndarray) -> np.ndarray:
    """Whether the learning rate is at its peak at each number of tokens, by the nearest step logged."""
    rates, at = np.array([row["lr"] for row in run.steps]), np.array([row["tokens"] for row in run.steps])
    if not len(rates):  # a run that took no steps
        return np.zeros(len(tokens), dtype=bool)
    nearest = np.abs(at - tokens[:, None]).argmin(1)
    return rates[nearest] >= PLATEAU * rates.max()


def estimate(evidence: Evidence, arm: str, domain: str) -> Curve:
    """Estimate the laws of the mean over the seeds of an arm, and of each seed alone."""
    points = used_points(evidence, arm, domain)
    trained = max((run.result["tokens"] for run in evidence.finished(arm).values()), default=0)
    return estimate_points(points, arm, domain, trained, evidence.declaration["confidence"])


def estimate_points(points: Points, arm: str, domain: str, trained: int, confidence: float) -> Curve:
    """`estimate` from points that may come from elsewhere, of runs of `trained` tokens."""
    tokens, losses = points.mean()  # seeds lie at different heights; that is no noise along the curve
    enough = len(tokens) >= MIN_POINTS
    each = enough and all(len(n) >= MIN_POINTS for n in points.tokens.values())
    law = estimate_power_law(tokens, losses) if enough else None
    return Curve(
        arm=arm,
        domain=domain,
        points=points,
        law=law,
        laws=estimate_laws(tokens, losses) if enough else None,
        by_seed={seed: estimate_laws(n, points.losses[seed]) for seed, n in points.tokens.items()} if each else {},
        problem=_problem(points, law),
        trained=trained,
        confidence=confidence,
    )


def _problem(points: Points, law: Law | None) -> str | None:
    tokens, losses = points.mean()
    if law is None:
        return f"{len(tokens)} points, at least {MIN_POINTS} needed"
    if points.cooled:
        return FALLING
    if law.A == 0 or float(law(tokens.min()) - law(tokens.max())) <= 2 * law.rms:
        return "the curve is flat: its fall is not above its noise"
    if broken := breaks.named(tokens, losses):
        return broken
    if bend(tokens, losses) < BENT:
        return STRAIGHT
    if law.alpha > 0.99 * ALPHAS[1]:
        return f"alpha is at its bound, {law.alpha:.3g}"
    return None
