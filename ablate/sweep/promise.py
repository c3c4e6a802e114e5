"""What every run of a study will do, worked out by the launcher before the first run, as digests by step.

A run is trained by another process, later, perhaps on another machine or after the sources have changed. Its
trace must show the layout, the interleaving, the rates and the shares that were meant (`verdict.validity.confounds`),
also where the declared factor explains that they differ from the base's.
"""

from ablate.plan.digests import planned
from ablate.plan.timeline import timeline
from ablate.run.record import StudyRecord
from ablate.sweep.study import Plan, declare

TIMES = 16  # digests of a run
STEPS = 20_000  # of a longer run only the beginning is worked out


def announce(plan: Plan, record: StudyRecord) -> None:
    """Note what is to be trained, and what each run will do, before the first run whose id is known now."""
    declare(plan, record)
    record.promise(promises(plan))


def promises(plan: Plan) -> dict[str, dict[str, dict[str, str]]]:
    """Digests by run id, steps taken and stream, where the trace of the run has rows (`fit.watch.LOG_ROWS`)."""
    found = {}
    for run in (run for run in plan.distinct() if run.known):
        table = timeline(run.settings)
        at = {step for step in table.evaluations if step <= STEPS}
        at |= {max(1, min(len(table), STEPS) * (i + 1) // TIMES) for i in range(TIMES)}
        found[run.id] = {str(step): digests for step, digests in planned(table, at).items()}
    return found
