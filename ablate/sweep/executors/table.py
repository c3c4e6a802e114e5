"""Which executor carries a study out, and what it can begin before the study is shown."""

from ablate.run.record import run_record
from ablate.sweep.executors.executor import Executor
from ablate.sweep.executors.local import Local
from ablate.sweep.executors.slurm import Slurm
from ablate.sweep.study import Plan

EXECUTORS: dict[str, type[Executor]] = {"local": Local, "slurm": Slurm}


def begin(plan: Plan) -> None:
    """Have the executor begin, unless nothing will be trained: called while others still import and plan."""
    where = plan.arms[0].settings.where
    # the runs of arms: a control may never be wanted, and a study that is done should start nothing
    if not where.dry_run and not all(run_record(where.outputs, run.id).done for run in plan.runs):
        EXECUTORS[where.executor].prepare(where)
