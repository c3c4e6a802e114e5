"""What the models of every arm say of held-out pairs, with what training on preferences hides.

The share of pairs in which the better response rose more since the start is one half for a model that has learnt
nothing. Two intervals tell whether it is more:

    over seeds    Student's, of a value a seed: would other seeds say the same?
    over pairs    Wilson's, of the mean over seeds: would other pairs? Each counts as one of its own

Nothing here decides but what the study declares as its metric.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ablate.scores.metrics import OF_PAIRS, PAIRED
from ablate.scores.readings import of_share
from ablate.verdict.evidence import Evidence
from ablate.verdict.statistics.paired import Interval, interval

HALF = 0.5


@dataclass(frozen=True)
class Preferences:
    """Of an arm, means over its finished seeds."""

    arm: str
    seeds: int
    pairs: int  # held out, the same for every seed
    values: dict[str, float]  # by metric of pairs, without `preference:`
    over_seeds: Interval  # of `acc`
    over_pairs: Interval

    @property
    def learnt(self) -> bool:
        """Whether both intervals lie above one half."""
        return min(self.over_seeds[0], self.over_pairs[0]) > HALF


def preferences(evidence: Evidence) -> list[Preferences]:
    """Of the base and of every arm whose runs were asked about pairs."""
    return list(_preferences(evidence))


def _preferences(evidence: Evidence) -> Iterator[Preferences]:
    for arm in (evidence.base, *evidence.arms):
        results = [run.result for run in evidence.finished(arm).values() if "pairs" in run.result]
        found = {metric.name: [metric.value(result, evidence.scope) for result in results] for metric in PAIRED}
        known = {name.removeprefix(OF_PAIRS): of for name, of in found.items() if of and None not in of}
        if "acc" in known:
            values = {name: float(np.mean([value for value in of if value is not None])) for name, of in known.items()}
            pairs = round(sum(one["pairs"] for one in results[0]["pairs"].values()))
            error = (values["acc"] * (1 - values["acc"]) / pairs) ** 0.5
            over_pairs = of_share(values["acc"], error, pairs - 1, evidence.confidence)
            over_seeds = interval([value for value in known["acc"] if value is not None], 1 - evidence.confidence)
            yield Preferences(arm, len(results), pairs, values, over_seeds, over_pairs)
