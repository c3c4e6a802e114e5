"""Loss against tokens: a power law with offset for every domain, and where a domain saturates.

    L(n) = E + A n^-alpha        n: all tokens trained on, of every domain; L: bits per byte

The x-axis is the tokens of the run, not those of the domain: a domain also learns from the others,
and this is the axis along which compute is spent.

Fit      For a given alpha the law is linear in E and A, both at least 0, and solved in closed form;
         that leaves a search in one dimension, a grid and its refinement. There is no start to
         choose and no local optimum to end in (variable projection, Golub & Pereyra 1973).
Points   The first 30 % of the evaluations are left out: early training follows another law, and keeping
         it more than doubles the error of an extrapolation (counted in tests/analysis/test_curves.py).
         So are evaluations with a learning rate below its peak, where the schedule has a plateau: a
         falling rate lowers the loss by itself. Without a plateau all remaining points are used, and
         `cooled` says so.
Interval The law is fitted again to each seed, and the interval is as wide as Student's t over seeds, on
         the log for tokens, about the fit to their mean. It covers what seeds randomise, also noise that
         is correlated along a run. It does not cover the choice of the law or of the points; E and alpha
         drift with the length of the run: predictions are stable, parameters are not. Past the tokens
         trained it says where the law would go if it held.

A domain is saturated once doubling the tokens gains less than eps, the smallest effect that the
study can detect:  E + A n^-alpha - (E + A (2n)^-alpha) < eps  from  n = [A (1 - 2^-alpha) / eps]^(1/alpha)
on. E itself is no target: its estimate keeps falling as runs get longer.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from ablate.analysis.evidence import Evidence, Run, tokens_text
from ablate.analysis.paired import Interval

Status = Literal["saturated", "not saturated within the run", "not identified"]

DISCARDED = 0.3  # first part of the curve, as a share of its evaluations
ALPHAS = (0.02, 3.0)  # beyond, the law is a logarithm or a step and its parameters mean nothing
MIN_POINTS = 5  # different numbers of tokens, for three parameters
PLATEAU = 0.99  # of the peak rate
SPOKEN = 10  # times the tokens trained: beyond, an extrapolated number of tokens is not worth naming


@dataclass(frozen=True)
class Points:
    """One domain's losses along the runs of one arm: `bpb[seed][i]` at `tokens[seed][i]`."""

    tokens: dict[int, np.ndarray]
    bpb: dict[int, np.ndarray]
    cooled: bool = False  # the rate was not constant over these points

    def where(self, masks: Mapping[int, np.ndarray]) -> "Points":
        tokens = {seed: n[masks[seed]] for seed, n in self.tokens.items()}
        return dataclasses.replace(self, tokens=tokens, bpb={seed: y[masks[seed]] for seed, y in self.bpb.items()})

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        return np.concatenate([*self.tokens.values(), []]), np.concatenate([*self.bpb.values(), []])

    def mean(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean over seeds: (tokens, bits per byte)."""
        tokens, bpb = self.pooled()
        different, index = np.unique(tokens, return_inverse=True)
        return different, np.bincount(index, weights=bpb) / np.bincount(index)


@dataclass(frozen=True)
class Law:
    """L(n) = E + A n^-alpha, in bits per byte at n tokens; `rms` is that of the residuals."""

    E: float
    A: float
    alpha: float
    rms: float

    def __call__(self, tokens: np.ndarray | float) -> np.ndarray:
        return self.E + self.A * np.power(tokens, -self.alpha)

    def saturation(self, eps: float) -> float:
        """Tokens from which doubling gains less than eps bits per byte."""
        if self.A == 0:
            return 0.0
        exponent = math.log(self.A * -math.expm1(-self.alpha * math.log(2)) / eps) / self.alpha
        return math.exp(exponent) if exponent < 700 else math.inf


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The law of one domain in one arm. `by_seed` is empty where a seed alone has too few points."""

    arm: str
    domain: str
    points: Points  # those fitted
    law: Law | None
    by_seed: dict[int, Law]
    problem: str | None  # why the law is not identified
    trained: int  # tokens of the longest run
    confidence: float

    def interval(self, name: Literal["E", "A", "alpha"]) -> Interval:
        """Interval of one parameter of the law; infinite without two seeds."""
        half = half_width(np.array([getattr(law, name) for law in self.by_seed.values()]), self.confidence)
        middle = getattr(self.law, name)
        return (float(middle - half), float(middle + half))

    def band(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Interval of the law at each number of tokens."""
        assert self.law is not None
        half = half_width(np.array([law(tokens) for law in self.by_seed.values()]), self.confidence)
        return self.law(tokens) - half, self.law(tokens) + half


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """Where a domain stops gaining. `tokens` and its interval are None where that is not identified."""

    arm: str
    domain: str
    status: Status
    reason: str | None
    tokens: float | None
    interval: Interval | None
    trained: int  # tokens of the longest run
    eps: float  # bits per byte gained by doubling, below which a domain counts as saturated
    gain: float | None  # bits per byte that doubling the tokens trained would gain, by the law

    @property
    def spoken(self) -> bool:
        """Whether the place is known and near enough to be named."""
        return self.tokens is not None and self.tokens <= SPOKEN * self.trained

    @property
    def where(self) -> str:
        """The place in words, to follow the status; empty where not identified."""
        if self.tokens is None or self.interval is None:
            return ""
        if not self.spoken:
            return f": the law puts it beyond {SPOKEN} times the run"
        low, high = (tokens_text(end) for end in self.interval)
        return f": {tokens_text(self.tokens)} [{low}, {high}]"

    @property
    def reading(self) -> str:
        """What one more doubling brings, against what could be seen; or why that is not known."""
        if self.gain is None:
            return self.reason or ""
        gain = f"one more doubling gains {self.gain:.4f}, detectable are {self.eps:.4f}"
        return f"{self.reason}; {gain}" if self.reason else gain


def fit_power_law(tokens: np.ndarray, bpb: np.ndarray) -> Law:
    """The least-squares law through the points; E and A at least 0, alpha within ALPHAS."""
    scale = float(np.exp(np.log(tokens).mean()))  # n^-alpha near 1, so that the linear part is well conditioned
    low, high = np.log(ALPHAS)
    for _ in range(6):
        grid = np.linspace(low, high, 97)
        squares = _squares(np.exp(grid), tokens / scale, bpb)[0]
        best = int(squares.argmin())
        low, high = grid[max(best - 2, 0)], grid[min(best + 2, 96)]
    alpha = float(np.exp(grid[best]))
    square, E, A = (float(part[0]) for part in _squares(np.array([alpha]), tokens / scale, bpb))
    return Law(E, A * scale**alpha, alpha, math.sqrt(square / len(bpb)))


def _squares(alpha_K: np.ndarray, n_N: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residual sum of squares, E and A of the best law for each alpha."""
    x_KN = n_N ** -alpha_K[:, None]
    centred_KN = x_KN - x_KN.mean(1, keepdims=True)
    A = np.maximum(0, centred_KN @ y_N / np.maximum((centred_KN**2).sum(1), 1e-300))
    E = y_N.mean() - A * x_KN.mean(1)
    through_zero = x_KN @ y_N / (x_KN**2).sum(1)  # the best A where E would be negative
    A, E = np.where(E < 0, through_zero, A), np.maximum(E, 0)
    return ((E[:, None] + A[:, None] * x_KN - y_N) ** 2).sum(1), E, A


def half_width(values: np.ndarray, confidence: float) -> np.ndarray | float:
    """Half of Student's t interval of a mean over seeds (the first axis); infinite for fewer than two."""
    if len(values) < 2:
        return math.inf
    return stdtrit(len(values) - 1, (1 + confidence) / 2) * np.std(values, axis=0, ddof=1) / math.sqrt(len(values))


def all_points(evidence: Evidence, arm: str, domain: str) -> Points:
    """Every evaluation of the finished runs of an arm."""
    rows = {seed: run.evaluations for seed, run in evidence.finished(arm).items()}
    return Points(
        {seed: np.array([row["tokens"] for row in found], dtype=float) for seed, found in rows.items()},
        {seed: np.array([row["bpb"][domain] for row in found]) for seed, found in rows.items()},
    )


def used_points(evidence: Evidence, arm: str, domain: str) -> Points:
    """The points that a law is fitted to: without the first part, and on the plateau where there is one."""
    points, runs = all_points(evidence, arm, domain), evidence.finished(arm)
    late = {seed: is_late(len(n)) for seed, n in points.tokens.items()}
    flat = {seed: late[seed] & _on_plateau(runs[seed], n) for seed, n in points.tokens.items()}
    if all(mask.sum() >= MIN_POINTS for mask in flat.values()):
        return points.where(flat)
    cooled = any((late[seed] != flat[seed]).any() for seed in late)
    return dataclasses.replace(points.where(late), cooled=cooled)


def is_late(num_points: int) -> np.ndarray:
    """Which of the points along a curve are fitted."""
    return np.arange(num_points) >= round(DISCARDED * num_points)


def _on_plateau(run: Run, tokens: np.ndarray) -> np.ndarray:
    """Whether the learning rate is at its peak at each number of tokens, by the nearest step logged."""
    rates, at = np.array([row["lr"] for row in run.steps]), np.array([row["tokens"] for row in run.steps])
    nearest = np.abs(at - tokens[:, None]).argmin(1)
    return rates[nearest] >= PLATEAU * rates.max()


def fit(evidence: Evidence, arm: str, domain: str) -> Fit:
    """Fit the law to the mean over the seeds of an arm, and to each seed alone."""
    points, trained = used_points(evidence, arm, domain), _trained(evidence, arm)
    tokens, bpb = points.mean()  # seeds lie at different heights; that is no noise along the curve
    enough = len(tokens) >= MIN_POINTS
    law = fit_power_law(tokens, bpb) if enough else None
    each = enough and all(len(n) >= MIN_POINTS for n in points.tokens.values())
    return Fit(
        arm=arm,
        domain=domain,
        points=points,
        law=law,
        by_seed={seed: fit_power_law(n, points.bpb[seed]) for seed, n in points.tokens.items()} if each else {},
        problem=_problem(law, tokens) if law else f"{len(tokens)} points, at least {MIN_POINTS} needed",
        trained=trained,
        confidence=evidence.declaration["confidence"],
    )


def _trained(evidence: Evidence, arm: str) -> int:
    return max((run.result["tokens"] for run in evidence.finished(arm).values()), default=0)


def _problem(law: Law, tokens: np.ndarray) -> str | None:
    fall = float(law(tokens.min()) - law(tokens.max()))
    if law.A == 0 or fall <= 2 * law.rms:
        return "the curve is flat: its fall is not above its noise"
    if min(law.alpha / ALPHAS[0], ALPHAS[1] / law.alpha) < 1.01:
        return f"alpha is at its bound, {law.alpha:.3g}"
    return None


def saturation(found: Fit, eps: float) -> Saturation:
    """When doubling the tokens gains less than eps.

    The end of the run decides the status: the whole interval must lie before it for `saturated`, and
    if all of it lies beyond, the domain is not saturated. Where it lies is not said once the interval is
    a factor of ten wide; if it then holds the end of the run, nothing is identified.
    """
    law, trained, interval = found.law, found.trained, _token_interval(found, eps)
    status, reason = _status(interval, trained) if not found.problem else ("not identified", found.problem)
    place = law if not reason else None
    return Saturation(
        arm=found.arm,
        domain=found.domain,
        status=status,
        reason=reason,
        tokens=place.saturation(eps) if place else None,
        interval=interval if place else None,
        trained=trained,
        eps=eps,
        gain=float(law(trained) - law(2 * trained)) if law and not found.problem else None,
    )


def _token_interval(found: Fit, eps: float) -> Interval:
    tokens = [law.saturation(eps) for law in found.by_seed.values()]
    if found.law is None or len(tokens) < 2 or not all(0 < n < math.inf for n in tokens):
        return (0.0, math.inf)
    middle, half = math.log(found.law.saturation(eps)), float(half_width(np.log(tokens), found.confidence))
    return (math.exp(max(middle - half, -700)), math.exp(min(middle + half, 700)))


def _status(interval: Interval, trained: int) -> tuple[Status, str | None]:
    low, high = interval
    if low == 0:
        return "not identified", "it takes two seeds that each identify the law"
    reason = "place unknown: its interval is more than a factor of ten wide" if high > 10 * low else None
    if reason and low <= trained < high:
        return "not identified", reason
    return ("saturated" if high <= trained else "not saturated within the run"), reason
