"""Every arm against the base on every task that a study declares: exploratory, and corrected for being many.

For each reading the family is all arms on all tasks and protocols, and Holm's procedure judges them together, as it
does the arms of a verdict. Nothing of it decides: the study's own metric was declared before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ablate.scores.metrics import Metric
from ablate.verdict import compare, registry
from ablate.verdict.evidence import Evidence
from ablate.verdict.items import ItemNoise, Readable, item_noise
from ablate.verdict.registry import Past
from ablate.verdict.statistics.paired import UNKNOWN, Interval, holm, holm_levels, interval, p_different


@dataclass(frozen=True)
class TaskEffect:
    """One arm on one metric of a task, in the metric's unit."""

    arm: str
    metric: Metric
    base_value: float
    mean: float
    interval: Interval  # over seeds, at the level of its step of Holm's procedure
    p_adjusted: float
    seeds: int
    items: ItemNoise | None  # over items

    @property
    def reading(self) -> str:
        assert self.metric.asked is not None
        return self.metric.asked.reading


def task_effects(evidence: Evidence, past: Sequence[Past] | None = None) -> list[TaskEffect]:
    """Of all arms that have a pair, by metric, the readings of a task one after the other."""
    past = registry.earlier(evidence) if past is None else past
    families: dict[str, list[TaskEffect]] = {}
    for metric in Readable(evidence).metrics:
        assert metric.asked is not None
        families.setdefault(metric.asked.reading, []).extend(_of_metric(evidence, metric, past))
    return [effect for family in families.values() for effect in _corrected(evidence, family, past)]


def _of_metric(evidence: Evidence, metric: Metric, past: Sequence[Past]) -> list[TaskEffect]:
    found = []
    for arm in evidence.arms:
        if d := evidence.differences(arm, metric.name):
            base = evidence.finals(evidence.base, metric.name)
            value, mean = (float(np.mean(v)) for v in ([base[seed] for seed in d], list(d.values())))
            noise = item_noise(evidence, arm, metric)
            found.append(TaskEffect(arm, metric, value, mean, (0.0, 0.0), 1.0, len(d), noise))
    return found


def _corrected(evidence: Evidence, family: Sequence[TaskEffect], past: Sequence[Past]) -> list[TaskEffect]:
    differences = [list(evidence.differences(one.arm, one.metric.name).values()) for one in family]
    metrics = {one.metric.name for one in family}
    known = {name: compare.known_noise(_judged_by(evidence, name), past, name) for name in metrics}
    lent = [found.noise if (found := known[one.metric.name].get(one.arm)) else UNKNOWN for one in family]
    p = np.array([p_different(d, noise) for d, noise in zip(differences, lent, strict=True)])
    adjusted, levels = holm(p), holm_levels(p, 1 - evidence.confidence)
    return [
        replace(one, interval=interval(d, float(level), noise), p_adjusted=float(q))
        for one, d, noise, level, q in zip(family, differences, lent, levels, adjusted, strict=True)
    ]


def _judged_by(evidence: Evidence, metric: str) -> Evidence:
    """The study as if that were its metric: what it lends to the noise of its arms is of it."""
    return replace(evidence, declaration=evidence.declaration | {"metric": metric})
