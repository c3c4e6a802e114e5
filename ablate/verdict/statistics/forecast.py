"""Where a curve that is not finished will end, and how far off that may be: good for spending, never for a verdict.

Runs are centred on the median of those that are whole, evaluation by evaluation. From there on each is taken to be a
random walk without drift on the clock 2 sqrt(part of the run): its last centred loss is the forecast, and its error has

    sd = sqrt(v x (clock(1) - clock(now))),    v: mean squared increment per clock of the whole runs from now on

A curve's slope is left out on purpose: following it wholly lost the winner of planted families in 7 to 28 % of races
where the walk lost it in 0 to 7 % (on a logarithmic clock). Nothing here knows of a decay that the whole runs did not
go through, nor of arms that cross late (`fields.Mark.CROSSES_LATE`).
"""

import math

import numpy as np
from scipy.special import ndtr

POWER = 0.5  # of the clock; 0 would be the logarithm, 1 the part of the run itself


def chance_below(parts: np.ndarray, whole: np.ndarray, curve: np.ndarray) -> float:
    """Probability that a run ends below all whole ones, by its first evaluations.

    parts: of the run done at each evaluation, increasing to 1; whole: at least two runs x all evaluations.
    """
    now = len(curve) - 1
    middle = np.median(whole, axis=0)
    clock = np.asarray(parts, float) ** POWER / POWER
    rate = _rate((whole - middle)[:, now:], clock[now:])
    behind = (curve[now] - middle[now]) - (whole[:, -1].min() - middle[-1])
    return float(ndtr(-behind / max(math.sqrt(rate * (clock[-1] - clock[now])), 1e-300)))


def _rate(centred: np.ndarray, clock: np.ndarray) -> float:
    """Mean squared increment per clock; what all runs have in common is no noise between them."""
    increments = np.diff(centred, axis=1)
    increments = increments - increments.mean(axis=0)
    return float((increments**2 / np.diff(clock)).sum() / (increments.shape[1] * (len(centred) - 1)))
