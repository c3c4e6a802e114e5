"""Steps that a step is compared with, once training is over: they are like it, and no state has seen more of them.

    0 ... 150 |          169 ─────────────── 200 |          ... 300
     neighbours    healthy weights   the step       neighbours

Weights just before the step have learnt from the rows between, and healthy weights have not: a loss of theirs would be
lower on one side alone.
"""

import numpy as np

from ablate.plan.timeline import Timeline

ALIKE = ("stage", "length", "rows")


def neighbours(plan: Timeline, step: int, healthy: int, wanted: int) -> list[int]:
    """At most so many steps before `healthy` or after `step`, the nearest of each side, half of each where it can be.

    They have the stage, row length and number of rows of the step, and are not left out.
    """
    alike = plan.table["learns"].copy()
    for name in ALIKE:
        alike &= plan.table[name] == plan.table[name][step]
    there = np.flatnonzero(alike)
    before, after = there[there < healthy], there[there > step]
    num_after = min(len(after), max(wanted // 2, wanted - len(before)))
    num_before = min(len(before), wanted - num_after)
    return [*before[len(before) - num_before :].tolist(), *after[:num_after].tolist()]


def rate_factor(plan: Timeline, step: int, healthy: int, others: list[int]) -> tuple[int, float]:
    """The step from `healthy` up to `step` whose rate is the highest, and how many times the usual one of the others
    it is."""
    rates = plan.table["lr"]
    highest = healthy + int(rates[healthy : step + 1].argmax())
    usual = float(np.median(rates[others]))
    return highest, float(rates[highest]) / usual if usual else 1.0
