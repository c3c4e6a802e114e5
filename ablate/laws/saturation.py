"""Where a domain saturates: the tokens from which doubling them gains less than the study could detect.

    gain(n) = L(n) - L(2 n) < eps     for one power law from n = [A (1 - 2^-alpha) / eps]^(1/alpha) on

eps is the smallest effect that the study can detect in that domain. E itself is no target: its estimate keeps
falling as runs get longer (3.02, 2.94, 2.90, 2.87 from 10, 20, 30, 50 % of one public curve).

The interval of n holds every n whose gain is not told from eps: the calibrated interval of the gain, read sideways.

    gain  |\ \ \             high: the last n whose gain may still be eps
          | \ \ \            low: the first n whose gain may be below
     eps  |--x-x-x------
          |   \ \ \         
              low n high     tokens
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ablate.laws.curves import STRAIGHT, Curve
from ablate.verdict.evidence import tokens_text
from ablate.verdict.statistics.paired import Interval

Status = Literal["saturated", "not saturated within the run", "not identified"]

SPOKEN = 10  # times the tokens trained: beyond, an extrapolated number of tokens is not worth naming
WIDE = 10  # times: an interval of tokens wider than that identifies no place
REACH, NUM_TOKENS = 1000, 300  # times the tokens trained, looked at in so many places


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
    carrier: tuple[float, float] | None = None  # tokens of the one point that carries the gain; the gain without it

    @property
    def spoken(self) -> bool:
        """Whether the place is known and near enough to be named."""
        return self.tokens is not None and self.tokens <= SPOKEN * self.trained

    @property
    def found(self) -> bool:
        """Whether the domain has saturated, or it can be said where it will."""
        return self.status == "saturated" or self.spoken

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
        gain = f"one more doubling gains {self.gain:.4f}; the study can detect {self.eps:.4f}"
        said = f"{self.reason}; {gain}" if self.reason else gain
        if self.carrier:
            tokens, without = self.carrier
            said += f"; warning: without the point at {tokens_text(tokens)} tokens it gains {without:.4f}"
        return said


def saturation(found: Curve, eps: float) -> Saturation:
    """When doubling the tokens gains less than eps.

    The end of the run decides the status: the whole interval must lie before it for `saturated`, and
    if all of it lies beyond, the domain is not saturated. Where it lies is not said once the interval is
    a factor of ten wide; if it then holds the end of the run, nothing is identified. A curve that does not
    flatten yet has no place either, but it may be told that it still gains.
    """
    reason, place, interval = found.problem, None, None
    status: Status = "not identified"
    if found.laws and len(found.by_seed) < 2 and not reason:
        reason = "it takes two seeds that each identify the law"
    elif not reason or reason == STRAIGHT:
        place, interval = _place(found, eps)
        status, unclear = _status(interval, found.trained)
        if reason and status == "saturated":  # the laws see it flatten, the curve does not
            status = "not identified"
        reason = reason or unclear
    known = status != "not identified" and not reason
    gains = found.laws is not None and found.problem in (None, STRAIGHT)
    return Saturation(
        arm=found.arm,
        domain=found.domain,
        status=status,
        reason=reason,
        tokens=place if known else None,
        interval=interval if known else None,
        trained=found.trained,
        eps=eps,
        gain=float(found.gain(np.array([found.trained]))[0][0]) if gains else None,
        carrier=found.carrier if gains else None,
    )


def _place(found: Curve, eps: float) -> tuple[float, Interval]:
    """Where the mean gain falls below eps, and between which numbers of tokens it may; 0 and infinity beyond reach."""
    first = float(found.points.pooled()[0].min())
    tokens = np.geomspace(first, REACH * found.trained, NUM_TOKENS)
    mean, low, high = found.gain(tokens)
    above = np.flatnonzero(high >= eps)
    last = _between(tokens, high, eps, int(above[-1])) if len(above) else first
    return _falls_below(tokens, mean, eps), (_falls_below(tokens, low, eps), last)


def _falls_below(tokens: np.ndarray, gain: np.ndarray, eps: float) -> float:
    """The first place where the gain is below eps; 0 where it is from the first point on."""
    below = np.flatnonzero(gain < eps)
    if len(below) and not below[0]:
        return 0.0
    return _between(tokens, gain, eps, int(below[0]) - 1 if len(below) else len(tokens) - 1)


def _between(tokens: np.ndarray, gain: np.ndarray, eps: float, i: int) -> float:
    """Where the gain, at least eps at i, falls to eps before i + 1."""
    if i + 1 == len(tokens):
        return math.inf
    share = (gain[i] - eps) / (gain[i] - gain[i + 1])
    return float(tokens[i] * (tokens[i + 1] / tokens[i]) ** share)


def _status(interval: Interval, trained: int) -> tuple[Status, str | None]:
    low, high = interval
    wide = high > WIDE * low or high == math.inf
    reason = f"place unknown: its interval is more than a factor of {WIDE} wide" if wide else None
    if reason and low <= trained < high:
        return "not identified", reason
    return ("saturated" if high <= trained else "not saturated within the run"), reason
