"""What a race reads from the records of a study: final values.

    decisions = decide(standing(read(record)), plan.study)

A run that failed counts as failed for good. Leave those that will be tried again out of `finals` first: to
the race they are missing.
"""

import math

from ablate.verdict.evidence import Evidence

# The final value of a run by its outcome, where it has none of its own; nan for any other
ENDS = {"finished": None, "running": None, "not started": None, "diverged": math.inf}


def standing(evidence: Evidence) -> dict[str, dict[int, float]]:
    """Final values of the declared metric, of the base and every arm but null arms, by seed.

    They are times the metric's sign, so that lower is better, as a race takes it.
    A diverged run is inf, a failed one nan, any other unfinished one is absent.
    """
    metric, runs_of = evidence.metric, evidence.by_arm
    finals = {arm: {s: metric.sign * v for s, v in evidence.finals(arm, metric.name).items()} for arm in runs_of}
    for arm, runs in runs_of.items():
        for seed, run in runs.items():
            end = ENDS.get(run.outcome, math.nan)
            if end is not None:
                finals[arm][seed] = end
    return finals
