"""A study carried out, from a plan that has passed its audit to the verdict: the door to this room.

How a sweep flows, with the files in the order in which an arm comes by:

    train -> console/compose -> launcher     the command line, and Hydra's launcher of ours
    composition, phases, study               every arm is composed and audited against the base: a plan
    conduct                                  shows the plan (preview, cost, trunk), then goes wave by wave
    wave                                     which runs are trained next
    executors/local or executors/slurm       where a run finds a place; local: executors/attempt, slurm: executors/job
    worker                                   in the process of the run: claims it (claims), chooses where it grows from
    fit/run                                  trains it, to its first step and its last

and back: the records on disk -> conduct -> verdict and report. `run` may be called again at any time, for the records
say what is done.
"""

import dataclasses
import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ablate.data.tokens import opened
from ablate.fit import asking
from ablate.run import store as stores
from ablate.run.record import Record, run_record
from ablate.run.settings import UserError
from ablate.run.study_record import StudyRecord, study_record
from ablate.run.trunks import Growth
from ablate.sweep import claims, trunk
from ablate.sweep import study as studies
from ablate.sweep.audit import ask, rescore
from ablate.sweep.executors.command import Command
from ablate.sweep.executors.executor import Executor, Outcome
from ablate.sweep.executors.local import Local
from ablate.sweep.executors.slurm import Slurm
from ablate.sweep.worker import Task, set_aside_damaged

if TYPE_CHECKING:
    from ablate.sweep.cost import Prospect
    from ablate.sweep.wave import Wave
    from ablate.verdict.validity.trust import Conclusion

EXECUTORS: dict[str, type[Executor]] = {"local": Local, "slurm": Slurm, "command": Command}
ENDS = ("done", "paused")  # states of runs that came as far as they were to come


def run(plan: studies.Plan, console: Console | None = None) -> None:
    """Declare and train a plan whose data is prepared, and conclude. Raises UserError: a run failed, or it is void."""
    console = console or Console(highlight=False, soft_wrap=True)
    where = plan.arms[0].settings.where
    record = study_record(where.outputs, plan.study.name)
    if not where.dry_run:
        mend(plan, record)
    begin(plan)
    # imported while the executor begins: torch, pictures and tables take seconds
    from ablate.sweep.preview import preview
    from ablate.sweep.wave import waves

    found = preview(plan, console)
    if where.dry_run:
        return
    studies.announce(plan, record)
    outcomes = trained(plan, found, waves(plan, record), console)
    plan = plan.refreshed()  # runs of a later phase have their ids now
    _share(plan, set(outcomes))
    conclusion = _conclude(record, console)
    if where.wandb != "off" and where.wandb_alerts:
        announce = importlib.import_module("ablate.fit.mirror").announce  # loads wandb
        announce(plan.arms[0].settings, Record(record.folder), conclusion.sentence)
    if where.store:  # those that were done before, or could not be put there by themselves
        stores.put([run_record(where.outputs, run.id) for run in plan.distinct()], where.store)
    refuse_unfinished(plan, outcomes, console)
    if conclusion.void:  # a script that goes on with the verdict must not go on
        raise UserError(
            f"{record.name} is void: {', '.join(dict.fromkeys(finding.check for finding in conclusion.broken))}"
        )


def trained(
    plan: studies.Plan, found: "Prospect", waves: Iterable["Wave"], console: Console
) -> dict[str, tuple[Executor, Outcome]]:
    """Train wave after wave of a plan that was announced; what became of each run, and who carried it out, by id."""
    from ablate.sweep.cost import prospect  # as above
    from ablate.sweep.screen import Screen

    where, outcomes = plan.arms[0].settings.where, dict[str, tuple[Executor, Outcome]]()
    ways = trunk.branches(list(found.beginnings.values()), found.stored) if where.trunks else {}
    for wave in waves:
        if wave.plan is not plan:  # runs of a later phase have their ids now
            plan, found = wave.plan, prospect(wave.plan)
            ways = trunk.branches(list(found.beginnings.values()), found.stored) if where.trunks else {}
        executor = EXECUTORS[where.executor](wave.runs, where, ways, wave.until)
        with Screen(executor, console, found.now()) as screen:
            executor.train(screen.show)
        outcomes |= {outcome.run.id: (executor, outcome) for outcome in executor.outcomes}
    return outcomes


def refuse_unfinished(plan: studies.Plan, outcomes: dict[str, tuple[Executor, Outcome]], console: Console) -> None:
    """Raises UserError, once the user was told why, where a run is not done."""
    if failed := [_said(by, outcome, console) for by, outcome in outcomes.values() if outcome.state not in ENDS]:
        raise UserError(f"{len(failed)} of {len(plan.distinct())} runs are not done; the same command tries them again")


def mend(plan: studies.Plan, record: StudyRecord) -> None:
    """Set aside what is damaged, so that it is trained or written again as what is missing is."""
    record.mend()
    with claims.planning(plan.arms[0].settings.where.outputs):
        for run in plan.distinct():
            one = run_record(run.settings.where.outputs, run.id)
            set_aside_damaged(one)
            asking.set_aside_damaged(one)


def submit(task: Task, console: Console | None = None) -> dict[str, Any]:
    """Have the executor train one run that no study asks for, watch it, and return its result.

    Raises UserError when the run is not done then.
    """
    from ablate.sweep.cost import prospect  # as above
    from ablate.sweep.screen import Screen

    settings = task.settings
    study = dataclasses.replace(settings.study, base="run", seeds=[settings.seed])
    plan = studies.Plan(study, [studies.Arm("run", settings, {}, opened(task.corpus))])
    ways = {} if isinstance(task.ways, Growth) else {task.record.id: list(task.ways)}
    executor = EXECUTORS[settings.where.executor](plan.runs, settings.where, ways)
    with Screen(executor, console or Console(highlight=False, soft_wrap=True), prospect(plan)) as screen:
        executor.train(screen.show)
    (outcome,) = executor.outcomes
    if outcome.state != "done":
        raise UserError(f"{outcome.state}: {outcome.reason} (log: {task.record.folder / 'log.txt'})")
    return task.record.result() or {}


def begin(plan: studies.Plan) -> None:
    """Have the executor begin, unless nothing will be trained: called while others still import and plan.

    Raises UserError for a store that cannot take what will be trained.
    """
    where = plan.arms[0].settings.where
    # the runs of arms: a control may never be wanted, and a study that is done should start nothing
    if not where.dry_run and not all(run_record(where.outputs, run.id).done for run in plan.runs):
        stores.check(where.store)
        EXECUTORS[where.executor].prepare(where)


def _share(plan: studies.Plan, trained: set[str]) -> None:
    """Have the mirror show runs that another study trained in the group of this one too."""
    where = plan.arms[0].settings.where
    if where.wandb == "off":
        return
    others = [(run.settings, run_record(where.outputs, run.id)) for run in plan.distinct() if run.id not in trained]
    shared = [(ours, one) for ours, one in others if one.configured and one.settings().study.name != plan.study.name]
    if shared:
        importlib.import_module("ablate.fit.mirror").share(shared)  # loads wandb


def _said(executor: Executor, outcome: Outcome, console: Console) -> Outcome:
    """The outcome of a run that is not done, once the user was told why."""
    name, log = f"{outcome.run.name} s{outcome.run.seed}", executor.record(outcome).folder / "log.txt"
    console.print(f"{outcome.state}: {name}: {outcome.reason} (log: {log})", style="red")
    return outcome


def _conclude(record: StudyRecord, console: Console) -> "Conclusion":
    """The verdict table, what was found about the study, and the report to read."""
    from ablate.page import page, terminal  # as above
    from ablate.verdict.evidence import read
    from ablate.verdict.ladder import read_ladder
    from ablate.verdict.validity import trust

    evidence = read(record)
    rescore(evidence)
    ask(evidence)
    conclusion = trust.conclude(evidence)
    trust.look(evidence, conclusion)
    console.print()
    rungs = read_ladder(evidence)
    terminal.show(evidence, conclusion, console, rungs)
    console.print(f"\npage     {page.of(evidence, conclusion, rungs)}")
    return conclusion
