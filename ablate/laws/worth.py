"""What a difference is worth in tokens: how much longer the base would have to train to come as far.

    r  such that  L(r D) - L(D) = d        D: tokens of the base's run, L: its own laws (`curves`), d: arm - base

`better by 0.02 bits per byte` then reads `worth 1.13 x tokens [1.05, 1.21]`: the base would need 1.13 times its tokens.
The interval holds every r at which the base's own fall is as large as the effect, as far as both are known (Fieller
1954, with a curve in the place of a slope):

    |L(r D) - L(D) - d|  <=  sqrt(half of the fall's interval^2 + half of the effect's interval^2)

Half of the fall's interval is the spread of the laws, with Student's t over seeds: twice what an extrapolated gain
needs, because the slope of a curve near its end is told by few points (`bench compute`, other seeds than it grades).
At r = 1 the fall is 0 without error, so the interval leaves out 1 exactly when the effect's leaves out 0.

What this rests on: the laws are of the plateau of the learning rate, as `curves` estimates them. After a cooldown the
loss is lower, by about as much wherever the cooldown begins (Hägele et al. 2024, arXiv 2405.18392), so both ends of the
fall move alike. Nothing is said beyond REACH, which is as far as the laws' intervals were calibrated, and nothing
where `curves` identifies no law. A curve that does not flatten yet is believed within half of that, on the logarithm.
"""

import math
from dataclasses import dataclass

import numpy as np

from ablate.laws.curves import STRAIGHT, Curve, estimate
from ablate.laws.extrapolation import factor, over_seeds
from ablate.verdict.evidence import Evidence
from ablate.verdict.statistics.paired import Interval

REACH = 4.0  # times the tokens of the base, and one over it
CALIBRATED = 0.95  # confidence at which the spread of the laws, as it is, made intervals of planted curves hold
PLACES = 801  # of r that are looked at: steps of 0.35 %


@dataclass(frozen=True)
class Worth:
    """A multiple of the base's tokens. A ratio, or an end, of 0 or infinity lies outside `least` and `most`."""

    ratio: float
    interval: Interval
    least: float
    most: float

    def times(self, factor: float) -> "Worth":
        """The same in another unit, of FLOPs say."""
        low, high = self.interval
        return Worth(self.ratio * factor, (low * factor, high * factor), self.least * factor, self.most * factor)


def of_base(evidence: Evidence) -> Curve | None:
    """What the worth of arms is read from; None of a metric that is no loss, and of a base that took no steps."""
    trained = any(run.result["step"] for run in evidence.finished(evidence.base).values())
    return estimate(evidence, evidence.base, evidence.metric.name) if trained and evidence.metric.groups else None


def problem(curve: Curve) -> str | None:
    """Why a curve tells nothing of what a difference is worth; None if it does."""
    if curve.problem not in (None, STRAIGHT):
        return curve.problem
    return None if len(curve.by_seed) > 1 else "one seed alone says nothing of the next"


def worth(curve: Curve, effect: float, half: float) -> Worth:
    """Of an effect (arm - base, in the curve's unit) known to -+half; `problem` must say None of the base's curve."""
    assert curve.laws is not None
    assert len(curve.by_seed) > 1
    reach = math.sqrt(REACH) if curve.problem == STRAIGHT else REACH
    ratios = np.geomspace(1 / reach, reach, PLACES)
    ends, start = curve.trained * ratios, np.full(PLACES, float(curve.trained))
    change, spread = curve.laws.change(start, ends)
    each = np.array([laws.change(start, ends)[0] for laws in curve.by_seed.values()])
    scaled = factor("gain", curve.confidence) / factor("gain", CALIBRATED) * spread
    room = np.hypot(np.hypot(scaled, over_seeds(each, curve.confidence)), half)
    middle = int(np.abs(change - effect).argmin())
    possible = np.abs(change - effect) <= room
    return Worth(_inside(ratios, middle), _around(ratios, possible, middle), 1 / reach, reach)


def _inside(ratios: np.ndarray, place: int) -> float:
    """The ratio at a place; 0 or infinite at an end, beyond which it may lie."""
    return {0: 0.0, len(ratios) - 1: math.inf}.get(place, float(ratios[place]))


def _around(ratios: np.ndarray, possible: np.ndarray, middle: int) -> Interval:
    """The run of possible ratios about the middle one, which itself is possible; 0 or infinite at an end."""
    possible[middle] = True
    below, above = np.flatnonzero(~possible[:middle]), np.flatnonzero(~possible[middle:])
    first = below[-1] + 1 if len(below) else 0
    last = middle + above[0] - 1 if len(above) else len(ratios) - 1
    return _inside(ratios, int(first)), _inside(ratios, int(last))
