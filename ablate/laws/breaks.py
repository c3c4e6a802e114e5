"""Whether the end of a curve follows from its beginning: what no law of falling losses covers is refused by name.

    found = named(tokens, losses)      "the curve rises at its end", "the curve breaks along the way", or None

Three questions, whose limits were chosen on planted curves and on one laboratory (MultiPowerLaw):

    rise    do the last third of the points, three at least, rise with the logarithm of tokens?
    ahead   do laws of the first 1/2, 2/3 or 5/6 miss what follows, by more than their interval and the noise?
    place   does a jump or another slope from one place on explain the curve far better than every law?

Nothing can be seen of a break that comes after the last point. From five or six points only a rise is seen.
"""

import math

import numpy as np

from ablate.laws.curve_laws import MIN_POINTS, estimate_laws, least_squares
from ablate.laws.extrapolation import factor

RISES = "the curve rises at its end"
BREAKS = "the curve breaks along the way: its end does not follow from its beginning"
STEEP, MISSED, BETTER = 2.0, 3.0, 20.0  # standard errors of the slope; deviations; F of two more parameters
SHARES = (1 / 2, 2 / 3, 5 / 6)
EXPONENTS = np.geomspace(0.05, 2, 16)


def named(tokens: np.ndarray, losses: np.ndarray) -> str | None:
    """What is wrong with the points of a curve, in increasing tokens; None where nothing is."""
    if rise(tokens, losses) > STEEP:
        return RISES
    if max(ahead(tokens, losses, share) for share in SHARES) > MISSED or place(tokens, losses) > BETTER:
        return BREAKS
    return None


def rise(tokens: np.ndarray, losses: np.ndarray) -> float:
    """Slope of the last third on the logarithm of tokens, in standard errors."""
    last = max(len(tokens) // 3, 3)
    x, y = np.log(tokens[-last:]), losses[-last:] - losses[-last:].mean()
    x = x - x.mean()
    slope = x @ y / (x @ x)
    return float(slope / max(math.sqrt(((y - slope * x) ** 2).sum() / (last - 2) / (x @ x)), 1e-12))


def ahead(tokens: np.ndarray, losses: np.ndarray, share: float) -> float:
    """The median miss of the laws of the first share, in their deviation (of 90 %) and the noise; 0 for few points."""
    seen = max(round(share * len(tokens)), MIN_POINTS)
    if len(tokens) - seen < 2:
        return 0.0
    laws = estimate_laws(tokens[:seen], losses[:seen])
    noise = (losses[:seen] - laws.loss(tokens[:seen])[0]).std(ddof=3)
    mean, spread = laws.loss(tokens[seen:])
    deviation = np.maximum(np.hypot(factor("loss", 0.9) * spread, noise), 1e-12)
    return abs(float(np.median((losses[seen:] - mean) / deviation)))


def place(tokens: np.ndarray, losses: np.ndarray) -> float:
    """F of a jump or another slope from the best place on, over the best law; 0 for fewer than eight points."""
    number = len(tokens)
    if number < 8:
        return 0.0
    x_KN = (tokens / tokens[-1]) ** -EXPONENTS[:, None]
    best = math.inf
    for i in range(3, number - 2):
        for column in (np.arange(number) >= i, np.log(np.maximum(tokens / tokens[i - 1], 1))):
            q_N2 = np.linalg.qr(np.stack([np.ones(number), column], 1))[0]
            x, y = x_KN - (x_KN @ q_N2) @ q_N2.T, losses - q_N2 @ (q_N2.T @ losses)
            A = np.maximum(0, x @ y / np.maximum((x**2).sum(1), 1e-300))
            best = min(best, float(((y - A[:, None] * x) ** 2).sum(1).min()))
    best = max(best, 1e-16 * float((losses**2).sum()))  # rounding is not a fit
    return (least_squares(tokens, losses) - best) / 2 / (best / (number - MIN_POINTS))
