"""Where curves that are not finished will end, and how far off that may be: good for spending, never for a verdict.

Arms are centred on their median, evaluation by evaluation. From there on each is taken to be a random walk
without drift on the clock 2 sqrt(part of the run): its last centred loss is the forecast, and its error has

    sd = sqrt(v x (clock(1) - clock(now))),    v: mean squared increment per clock, over arms and recent evaluations

v is the largest over a short and a longer recent past, so that a calm moment does not look like the future. A
curve's slope is left out on purpose: following it wholly lost the winner of planted families in 7 to 28 % of races
where the walk lost it in 0 to 7 % (on a logarithmic clock). Nothing here knows of a decay still to come: see
`checks.CROSSING`.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

POWER = 0.5  # of the clock; 0 would be the logarithm, 1 the part of the run itself
PASTS = (0.5, 0.8)  # the recent past begins at so much of what is done
LEAST = 3  # evaluations


def forecast(parts: Sequence[float], values: np.ndarray) -> tuple[np.ndarray, float]:
    """Final values relative to the arms' median, and the standard deviation of each one's error.

    parts: of the run done at each evaluation, increasing; values: arms x evaluations, at least two arms.
    With fewer than LEAST evaluations the error is infinite.
    """
    centred = values - np.median(values, axis=0)
    if len(parts) < LEAST:
        return centred[:, -1], math.inf
    done = np.asarray(parts, float)
    clock = done**POWER / POWER
    rate = max(_rate(centred[:, first:], clock[first:]) for first in (_first(done, past) for past in PASTS))
    return centred[:, -1], math.sqrt(rate * (1 / POWER - clock[-1]))


def chance_below(parts: np.ndarray, whole: np.ndarray, curve: np.ndarray) -> float:
    """Probability that a run ends below all whole ones, at least two, by its first evaluations.

    The walk is as fast as the whole runs were from there on: what they still had to go through is known.
    """
    now = len(curve) - 1
    middle = np.median(whole, axis=0)
    clock = np.asarray(parts, float) ** POWER / POWER
    rate = _rate((whole - middle)[:, now:], clock[now:])
    behind = (curve[now] - middle[now]) - (whole[:, -1].min() - middle[-1])
    return float(ndtr(-behind / max(math.sqrt(rate * (clock[-1] - clock[now])), 1e-300)))


def _first(done: np.ndarray, past: float) -> int:
    """Where the recent past begins; it has at least LEAST evaluations."""
    return min(int(np.searchsorted(done, past * done[-1])), len(done) - LEAST)


def _rate(centred: np.ndarray, clock: np.ndarray) -> float:
    """Mean squared increment per clock; what all arms have in common is no noise between them."""
    increments = np.diff(centred, axis=1)
    increments = increments - increments.mean(axis=0)
    return float((increments**2 / np.diff(clock)).sum() / (increments.shape[1] * (len(centred) - 1)))
