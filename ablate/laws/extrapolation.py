"""How wide an extrapolated loss must be drawn: calibrated on curves that the laws had never seen.

`curve_laws.estimate_laws` says how far apart laws lie that agree about equally well with the curve: a standard
deviation s. It is no error bar, as the truth is no draw from these laws. But |truth - mean| / s was measured on public
curves whose end is known, by laws of their first 30 % and 50 %, and FACTORS holds its quantiles (split conformal
prediction, Vovk et al. 2005; normalised by s as in Papadopoulos et al. 2008). An interval is

    mean -+ sqrt((factor s)^2 + (Student's t over seeds)^2)

The first term covers noise, the choice of the law and of its parameters, for one curve; the second what seeds add.
Each source weighs the same, however many curves it has. `python -m bench extrapolation` computes the factors anew,
and what they cover of each source when it is left out; bench/results/extrapolation.json has both.

What this rests on: constant learning rates, losses that flatten on the logarithm of tokens, 5 to 100 evaluations,
25 M to 900 M parameters, extrapolation by 1.4 to 4 times. Under a falling rate the same intervals cover far less, and
`curves` refuses it. Curves of one source resemble each other, so the factors are known to one or two figures.
"""

import math
from typing import Literal

import numpy as np
from scipy.special import stdtrit

Quantity = Literal["loss", "gain"]

LEVELS = (0.8, 0.9, 0.95)
FACTORS: dict[Quantity, tuple[float, ...]] = {
    "loss": (0.390, 0.429, 0.539),
    "gain": (0.415, 0.471, 0.610),
}


def factor(quantity: Quantity, confidence: float) -> float:
    """By which the spread of the laws is multiplied; linear in log(1 - confidence), also beyond what was measured."""
    at = [-math.log(1 - level) for level in LEVELS]
    wanted, values = -math.log(1 - confidence), FACTORS[quantity]
    i = 0 if wanted < at[1] else 1
    slope = (values[i + 1] - values[i]) / (at[i + 1] - at[i])
    return max(values[i] + slope * (wanted - at[i]), 0.0)


def half_width(spread: np.ndarray, by_seed: np.ndarray, quantity: Quantity, confidence: float) -> np.ndarray:
    """Half an interval. spread: s, at each number of tokens; by_seed: the mean of each seed's own laws (seeds first).

    Infinite for fewer than two seeds: one says nothing of the next.
    """
    return np.hypot(factor(quantity, confidence) * spread, over_seeds(by_seed, confidence))


def over_seeds(values: np.ndarray, confidence: float) -> np.ndarray | float:
    """Half of Student's t interval of a mean over seeds (the first axis); infinite for fewer than two."""
    if len(values) < 2:
        return math.inf
    return stdtrit(len(values) - 1, (1 + confidence) / 2) * np.std(values, axis=0, ddof=1) / math.sqrt(len(values))
