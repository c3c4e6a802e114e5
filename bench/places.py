"""Whether a planted place of saturation lies in its interval, and whether the status is true.

Three seeds of a planted curve, 20 evaluations of which the last 14 are fitted; eps is what doubling truly gains at a
place between 0.3 and 5 times the run, drawn anew for each. `located` is how often a place is named at all.
"""

import math

import numpy as np

from ablate.laws.curves import Points, estimate_points, is_late
from ablate.laws.saturation import Saturation, saturation
from bench.planted import NOISE, Curve, worlds

EVALUATIONS, SEEDS, LUCK = 20, 3, 0.003  # LUCK: by which seeds lie higher or lower, standard deviation
PLACES = (0.3, 5.0)
RUN = 1_000_000  # tokens


def located(rng: np.random.Generator, kind: str, number: int, confidence: float) -> list[tuple[Saturation, float]]:
    """(what was found, the true place in tokens), of curves of a kind."""
    found = []
    for world in worlds(rng, kind, number):
        place = math.exp(rng.uniform(*np.log(PLACES)))
        eps = float(world(np.array(place)) - world(np.array(2 * place)))
        if eps > 0:
            found.append((saturation(estimate_points(_points(rng, world), "", "", RUN, confidence), eps), place * RUN))
    return found


def _points(rng: np.random.Generator, world: Curve) -> Points:
    n = np.arange(1, EVALUATIONS + 1) / EVALUATIONS
    n, sd = n[is_late(len(n))], math.exp(rng.uniform(*np.log(NOISE)))
    luck = LUCK * rng.standard_normal(SEEDS)
    losses = {seed: world(n) + luck[seed] + sd * rng.standard_normal(len(n)) for seed in range(SEEDS)}
    return Points(dict.fromkeys(losses, n * RUN), losses)


def wrong(found: Saturation, place: float) -> bool:
    """Whether the end of the run lies on the other side of the place than is claimed.

    Nothing is claimed by an interval that holds the end of the run, though its status is `not saturated`.
    """
    if found.status == "saturated":
        return place > RUN
    beyond = found.status != "not identified" and (found.interval is None or found.interval[0] >= RUN)
    return beyond and place < RUN
