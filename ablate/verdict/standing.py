"""What a race reads from the records of a study: final values, and curves by the part of the run done.

    finals, curves = standing(read(record), {arm.name: arm.settings.steps for arm in plan.arms})
    decisions = decide(finals, plan.study, curves)

A run that failed counts as failed for good. Leave those that will be tried again out of `finals` first: to
the race they are missing.
"""

import math
from collections.abc import Mapping

from ablate.verdict.evidence import Evidence

# The final value of a run by its outcome, where it has none of its own; nan for any other
ENDS = {"finished": None, "running": None, "not started": None, "diverged": math.inf}


def standing(
    evidence: Evidence, steps: Mapping[str, int]
) -> tuple[dict[str, dict[int, float]], dict[str, dict[int, dict[float, float]]]]:
    """Final values and curves of the declared metric, of the base and every arm but null arms, by seed.

    They are times the metric's sign, so that lower is better, as a race takes it.
    steps: of the whole run, by arm. A diverged run is inf, a failed one nan, any other unfinished one is absent.
    """
    metric, runs_of = evidence.metric, evidence.by_arm
    finals = {arm: {s: metric.sign * v for s, v in evidence.finals(arm, metric.name).items()} for arm in runs_of}
    curves: dict[str, dict[int, dict[float, float]]] = {arm: {} for arm in runs_of}
    for arm, runs in runs_of.items():
        for seed, run in runs.items():
            end = ENDS.get(run.outcome, math.nan)
            if end is not None:
                finals[arm][seed] = end
            if run.outcome != "not started":
                values = evidence.curve(run, metric.name)
                curves[arm][seed] = {row["step"] / steps[arm]: metric.sign * value for row, value in values}
    return finals, curves
