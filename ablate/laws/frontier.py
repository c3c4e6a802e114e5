"""Quality against cost: which arms no cheaper arm beats, by their means and as far as the seeds can tell.

        loss │ x a                 a  beaten: `b` costs no more, and is better for certain
             │    x b              b  on the front
             │         x c         c  off the front of the means only: that `b` is better is not shown
             └───────────── cost

The front of the means is what plots of architectures show. Means of three seeds are not truths: an arm is off the
front only when an arm that costs no more is shown to be better, by the paired t of these two over their common seeds,
with Holm's correction over all pairs of arms. Costs are exact; SLACK is how far sizes miss each other when they are
matched (`model.match`), so that arms of equal cost are compared both ways.

    >>> places = front({"a": 1.0, "b": 2.0}, {"a": {0: 2.10, 1: 2.12}, "b": {0: 2.20, 1: 2.22}})
    >>> places["a"].on_front, places["b"].beaten_by
    (True, ('a',))
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ablate.verdict.evidence import Evidence
from ablate.verdict.statistics.paired import judge

SLACK = 0.02  # two sizes that are each within one percent of the same target
COSTS = {"flops": "training FLOPs", "parameters": "parameters", "state_bytes": "bytes of state"}

Finals = Mapping[str, Mapping[int, float]]  # arm -> seed -> bits per byte


@dataclass(frozen=True)
class Place:
    """Where an arm stands at one cost."""

    cost: float
    mean: float  # bits per byte
    on_front: bool  # of the means: no arm that costs no more has a lower one
    beaten_by: tuple[str, ...]  # arms that cost no more and are shown to be better

    @property
    def word(self) -> str:
        if self.beaten_by:
            return "beaten"
        return "front" if self.on_front else "open"


def front(costs: Mapping[str, float], finals: Finals, confidence: float = 0.95) -> dict[str, Place]:
    """Of every arm that has a cost and a finished seed. Costs in any one unit."""
    arms = [arm for arm in costs if finals.get(arm)]
    better = _better({arm: finals[arm] for arm in arms}, confidence)
    means = {arm: float(np.mean(list(finals[arm].values()))) for arm in arms}
    found = {}
    for arm in arms:
        rivals = [one for one in arms if one != arm and costs[one] <= costs[arm] * (1 + SLACK)]
        beaten_by = tuple(one for one in rivals if (one, arm) in better)
        found[arm] = Place(costs[arm], means[arm], all(means[one] >= means[arm] for one in rivals), beaten_by)
    return found


def _better(finals: Finals, confidence: float) -> set[tuple[str, str]]:
    """(winner, loser) of the pairs that are shown to differ, all pairs being one family."""
    differences = {}
    for a, b in combinations(finals, 2):
        differences[a, b] = [finals[a][seed] - finals[b][seed] for seed in finals[a] if seed in finals[b]]
    names = {f"{a} {b}": (a, b) for a, b in differences}
    judged = judge({name: differences[pair] for name, pair in names.items()}, 0.0, confidence)
    differ = {names[name]: one.mean for name, one in judged.items() if one.p_adjusted <= 1 - confidence}
    return {(a, b) if mean < 0 else (b, a) for (a, b), mean in differ.items()}


def costs(evidence: Evidence, cost: str) -> dict[str, float]:
    """One of COSTS by arm, without arms that do not say it; equal for all seeds of an arm."""
    first = {arm: next(iter(runs.values())).result for arm in evidence.by_arm if (runs := evidence.finished(arm))}
    return {arm: float(result[cost]) for arm, result in first.items() if result.get(cost) is not None}
