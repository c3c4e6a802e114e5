"""What a race reads from the records of a study: final values, and curves by the part of the run done.

    finals, curves = standing(read(record), {arm.name: arm.settings.steps for arm in plan.arms})
    decisions = decide(finals, plan.study, curves)

A run that failed counts as failed for good. Leave those that will be tried again out of `finals` first: to
the race they are missing.
"""

import math
from collections.abc import Mapping

from ablate.verdict.evidence import Evidence, Run

# The final value of a run by its outcome, where it has none of its own; nan for any other
ENDS = {"finished": None, "running": None, "not started": None, "diverged": math.inf}


def standing(
    evidence: Evidence, steps: Mapping[str, int]
) -> tuple[dict[str, dict[int, float]], dict[str, dict[int, dict[float, float]]]]:
    """Final values and curves of the declared metric, of the base and every arm but null arms, by seed.

    They are times the metric's sign, so that lower is better, as a race takes it.
    steps: of the whole run, by arm. A diverged run is inf, a failed one nan, any other unfinished one is absent.
    """
    metric = evidence.metric
    finals = {
        arm: {seed: metric.sign * value for seed, value in evidence.finals(arm, metric.name).items()}
        | {seed: end for seed, run in runs.items() if (end := _end(run)) is not None}
        for arm, runs in evidence.by_arm.items()
    }
    curves = {
        arm: {seed: _curve(evidence, run, steps[arm]) for seed, run in runs.items() if run.outcome != "not started"}
        for arm, runs in evidence.by_arm.items()
    }
    return finals, curves


def _end(run: Run) -> float | None:
    """Of a run without a final value; None while it may still get one, or has it."""
    return ENDS.get(run.outcome, math.nan)


def _curve(evidence: Evidence, run: Run, steps: int) -> dict[float, float]:
    return {
        row["step"] / steps: evidence.metric.sign * value for row, value in evidence.curve(run, evidence.metric.name)
    }
