"""A study carried out, from a plan that has passed its audit to the verdict.

    show the plan -> declare -> train what is missing, wave by wave -> verdict and report

What takes long to import begins here. `run` may be called again at any time: the records on disk say what is done.
"""

import dataclasses
from typing import Any

from rich.console import Console
from rich.markup import escape

from ablate.data.tokens import opened
from ablate.page import page, terminal
from ablate.run.record import Growth, StudyRecord, study_record
from ablate.run.settings import UserError
from ablate.sweep import study as studies
from ablate.sweep import trunk
from ablate.sweep.cost import prospect
from ablate.sweep.executors.executor import Executor, Outcome
from ablate.sweep.executors.table import EXECUTORS
from ablate.sweep.preview import preview
from ablate.sweep.promise import announce
from ablate.sweep.screen import Screen
from ablate.sweep.wave import waves
from ablate.sweep.worker import Task
from ablate.verdict.evidence import read
from ablate.verdict.validity import trust


def run(plan: studies.Plan, console: Console | None = None) -> None:
    """Declare and train a plan whose data is prepared, and conclude. Raises UserError: a run failed, or it is void."""
    console = console or Console(highlight=False, soft_wrap=True)
    where = plan.arms[0].settings.where
    record = study_record(where.outputs, plan.study.name)
    found = preview(plan, console)
    if where.dry_run:
        return
    announce(plan, record)
    ways = trunk.branches(list(found.beginnings.values()), found.stored) if where.trunks else {}
    outcomes: dict[str, tuple[Executor, Outcome]] = {}
    for wave in waves(plan, record):
        if wave.plan is not plan:  # runs of a later phase have their ids now
            plan, found = wave.plan, prospect(wave.plan)
            ways = trunk.branches(list(found.beginnings.values()), found.stored) if where.trunks else {}
        executor = EXECUTORS[where.executor](wave.runs, where, ways, wave.until)
        with Screen(executor, console, found.now()) as screen:
            executor.train(screen.show)
        outcomes |= {outcome.run.id: (executor, outcome) for outcome in executor.outcomes}
    conclusion = _conclude(record, console)
    failed = [(by, outcome) for by, outcome in outcomes.values() if outcome.state not in ("done", "paused")]
    for executor, outcome in failed:
        name, log = f"{outcome.run.name} s{outcome.run.seed}", executor.record(outcome).folder / "log.txt"
        console.print(f"{outcome.state}: {name}: {outcome.reason} (log: {log})", style="red")
    if failed:
        raise UserError(f"{len(failed)} of {len(plan.distinct())} runs are not done; the same command tries them again")
    if conclusion.void:  # a script that goes on with the verdict must not go on
        raise UserError(f"{record.name} is void: {', '.join({finding.check for finding in conclusion.broken})}")


def submit(task: Task, console: Console | None = None) -> dict[str, Any]:
    """Have the executor train one run that no study asks for, watch it, and return its result.

    Raises UserError when the run is not done then.
    """
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


def _conclude(record: StudyRecord, console: Console) -> trust.Conclusion:
    """The verdict table, what was found about the study, and the report to read."""
    evidence = read(record)
    conclusion = trust.conclude(evidence)
    console.print()
    terminal.show(conclusion, console)
    console.print(f"\n[bold]{escape(conclusion.sentence)}[/]")
    console.print(f"report: {page.of(evidence, conclusion)}")
    return conclusion
