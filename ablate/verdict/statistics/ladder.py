"""Will an effect hold at a larger size? From the effects at one to four sizes, the effect at another, and its sign.

Effects are shares of the base's loss at their size, so that they mean the same at all sizes. Along the logarithm of the
size an effect wanders (a local level: Harvey 1989, Forecasting, chapter 2):

    y_k = e_k + error_k                       what a study measured at size N_k, and its standard error
    e_k+1 - e_k ~ normal(0, w^2 log(N_k+1 / N_k))
    w^2 = c (KAPPA^2 S^2 + MU^2 y^2)          S: how large effects are; y: the arm's own at its largest size

How far effects wander was found on public campaigns: a share KAPPA of how large the effects of the study are, and a
share MU of the arm's own. c corrects this by what the arms of the ladder did from size to size; beforehand it is 1,
as certain as DF changes would make it. S^2 is the mean square of the effects, and SCALE^2 before there are many. The
chance that the sign turns is that of Student's t with DF degrees of freedom and one for each change seen.

`python -m bench ladder` grades the chances on public families of runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from ablate.verdict.statistics.paired import Interval

KAPPA, MU, DF = 0.06, 0.1, 4.0  # of an e-fold of the size
SCALE, SCALE_DF = 0.02, 2.0  # a share of the loss, and how many effects it is worth
# Of pairs of mixtures by their effect at 1 M parameters, a share of the loss below so much: what share had the other
# sign at 60 M (RegMix, 256 mixtures, 13 domains and their mean)
TURNED = ((0.0025, 0.44), (0.005, 0.36), (0.01, 0.26), (0.02, 0.13), (0.05, 0.03), (math.inf, 0.001))


@dataclass(frozen=True)
class Held:
    """What is expected at the target, as a share of the base's loss there."""

    effect: float
    interval: Interval
    flip: float  # probability that the sign is not that of `effect`


@dataclass(frozen=True)
class Rungs:
    """The effects of the arms of a ladder, [arm, size]: shares of the base's loss, with their standard errors."""

    sizes_K: np.ndarray  # increasing
    effects_AK: np.ndarray
    errors_AK: np.ndarray

    @property
    def steps_K(self) -> np.ndarray:
        return np.diff(np.log(self.sizes_K))


def held(rungs: Rungs, target: float, level: float) -> list[Held]:
    """Every arm at a size beyond the last. level: 1 - confidence of the intervals."""
    variances_A, df = _wander(rungs)
    half = float(stdtrit(df, 1 - level / 2))
    found = []
    for effects, errors, w2 in zip(rungs.effects_AK, rungs.errors_AK, variances_A, strict=True):
        mean, variance = _level(effects, errors, w2 * rungs.steps_K)
        sd = math.sqrt(variance + w2 * math.log(target / rungs.sizes_K[-1]))
        found.append(Held(mean, (mean - half * sd, mean + half * sd), float(stdtr(df, -abs(mean) / sd))))
    return found


def _wander(rungs: Rungs) -> tuple[np.ndarray, float]:
    """w^2 of each arm, over one e-fold of the size, and the degrees of freedom that they are worth.

    Arms of one base change together, so the changes of A arms over a step count as (A + 1) / 2.
    """
    effects, errors = rungs.effects_AK, rungs.errors_AK
    scale = (SCALE_DF * SCALE**2 + float((effects**2).sum())) / (SCALE_DF + effects.size)
    usual_A = KAPPA**2 * scale + MU**2 * effects[:, -1] ** 2
    changed = np.maximum(np.diff(effects, axis=1) ** 2 - errors[:, 1:] ** 2 - errors[:, :-1] ** 2, 0)
    ratios = changed / rungs.steps_K / usual_A[:, None]
    df = (len(effects) + 1) / 2 * len(rungs.steps_K)
    own = float(ratios.mean()) if ratios.size else 1.0
    return usual_A * (DF + df * own) / (DF + df), DF + df


def _level(effects: Sequence[float], errors: Sequence[float], wandered: Sequence[float]) -> tuple[float, float]:
    """The effect at the last size, and its variance (Kalman). wandered: the variance of each step."""
    mean, variance = effects[0], errors[0] ** 2
    for effect, error, more in zip(effects[1:], errors[1:], wandered, strict=True):
        gain = (variance + more) / (variance + more + error**2)
        mean, variance = mean + gain * (effect - mean), (1 - gain) * (variance + more)
    return float(mean), float(variance)


def turned(effect: float) -> tuple[float, float, float]:
    """(from, below, share that turned) of effects as large as this one, a share of the base's loss."""
    bounds = [0.0, *(bound for bound, _ in TURNED)]
    place = next(i for i, (bound, _) in enumerate(TURNED) if abs(effect) < bound)
    return bounds[place], bounds[place + 1], TURNED[place][1]
