"""Hydra's launcher for studies: the whole multirun at once, audited before anything is trained.

    compose arms -> audit -> prepare data -> declare -> show the plan -> train what is missing -> verdict

Arms come from `study.arms` (names with lists of overrides), or from the multirun's own parameters, each
combination an arm. Values swept for `seed` are the study's seeds. Nothing here remembers: the records
on disk say what is done, so the same command again finishes what is missing.
"""

import dataclasses
import importlib
import itertools
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from rich.console import Console

from ablate.analysis import compare
from ablate.analysis.evidence import read
from ablate.data.tokens import Corpus, check_held_out, prepare
from ablate.identity import canonical, difference, digest
from ablate.record import StudyRecord, study_record
from ablate.settings import Settings, SettingsError, Study, UserError
from ablate.sweep import study as studies
from ablate.sweep import trunk
from ablate.sweep.composition import Composer
from ablate.sweep.executors import EXECUTORS, Executor
from ablate.sweep.local import Outcome
from ablate.sweep.screen import Screen
from ablate.sweep.wave import waves


class StudyLauncher(Launcher):
    """Runs a multirun as one study."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.compose = Composer(hydra_context.config_loader, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        signal.signal(signal.SIGTERM, _terminated)
        plan = plan_of([list(overrides) for overrides in job_overrides], self.compose)
        run(plan, Console(highlight=False, soft_wrap=True))
        return []


def plan_of(jobs: list[list[str]], compose: Callable[[list[str]], Settings]) -> studies.Plan:
    """The study that a multirun means; `jobs` are the overrides of each combination, all of the same keys."""
    values = {key: list(dict.fromkeys(_values(jobs, key))) for key in (o.split("=", 1)[0] for o in jobs[0])}
    fixed = [f"{key}={found[0]}" for key, found in values.items() if len(found) == 1 and key != "seed"]
    swept = [key for key, found in values.items() if len(found) > 1 and key != "seed"]
    base = compose(fixed)
    study = dataclasses.replace(base.study, name=base.study.name or f"sweep-{digest([values, canonical(base)])}")
    if "seed" in values:
        study = dataclasses.replace(study, seeds=[int(seed) for seed in values["seed"]])
    if not swept:
        return studies.plan(study, base, {name: compose([*fixed, *more]) for name, more in _named(study).items()})
    if study.arms or study.grid:
        raise SettingsError(f"{swept[0]}: a study with arms of its own takes no further parameter but seed")
    points = dict.fromkeys(tuple(o for o in job if o.split("=", 1)[0] in swept) for job in jobs)
    return _plan_of_points(study, base, {", ".join(point): compose([*fixed, *point]) for point in points}, swept)


def _named(study: Study) -> dict[str, list[str]]:
    """Overrides of every arm that the study names: one by one, and as combinations of levels."""
    combinations = [list(levels) for levels in itertools.product(*(factor.items() for factor in study.grid.values()))]
    grid = {" ".join(name for name, _ in levels): [o for _, more in levels for o in more] for levels in combinations}
    return study.arms | {name: overrides for name, overrides in grid.items() if overrides}


def run(plan: studies.Plan, console: Console) -> None:
    """Carry a plan out: data, declaration, runs, verdict. Exits with 1 when a run failed."""
    where = plan.arms[0].settings.where
    plan = studies.with_fingerprints(plan, _fingerprints(plan))
    record = study_record(where.outputs, plan.study.name)
    # imports torch, which takes seconds that --help and mistakes should not wait for
    found = importlib.import_module("ablate.sweep.preview").preview(plan, console)
    if where.dry_run:
        return
    studies.declare(plan, record)
    ways = trunk.branches(list(found.beginnings.values()), found.stored) if where.trunks else {}
    outcomes: dict[str, tuple[Executor, Outcome]] = {}
    for wave in waves(plan, record):
        executor = EXECUTORS[where.executor](wave.runs, where, ways, wave.until)
        with Screen(executor, console, found.now()) as screen:
            executor.train(screen.show)
        outcomes |= {outcome.run.id: (executor, outcome) for outcome in executor.outcomes}
    _conclude(record, console)
    failed = [(by, outcome) for by, outcome in outcomes.values() if outcome.state not in ("done", "paused")]
    for executor, outcome in failed:
        name, log = f"{outcome.run.arm} s{outcome.run.seed}", executor.record(outcome).folder / "log.txt"
        console.print(f"{outcome.state}: {name}: {outcome.reason} (log: {log})", style="red")
    if failed:
        raise UserError(f"{len(failed)} of {len(plan.distinct())} runs are not done; the same command tries them again")


def _fingerprints(plan: studies.Plan) -> list[str]:
    """Of each arm's data, prepared once for all arms that share it."""
    corpora: dict[str, Corpus] = {}
    for arm in plan.arms:
        data, where = arm.settings.data, arm.settings.where
        if repr(data) not in corpora:
            corpora[repr(data)] = prepare(data, Path(where.outputs), progress=where.progress)
        check_held_out(corpora[repr(data)], data.span, arm.settings.evaluation.spans)
    return [corpora[repr(arm.settings.data)].fingerprint for arm in plan.arms]


def _conclude(record: StudyRecord, console: Console) -> None:
    """The verdict table, and the report to read."""
    results = compare.verdicts(read(record))
    console.print()
    console.print(compare.table(results))
    console.print(f"\n[bold]{compare.sentence(results)}[/]")
    console.print(f"report: {importlib.import_module('ablate.analysis.page').write(record)}")


def _plan_of_points(study: Study, base: Settings, points: dict[str, Settings], swept: list[str]) -> studies.Plan:
    """Combinations as arms: the one equal to the unswept configuration is the base, or else the first."""
    equal = [name for name, settings in points.items() if not difference(base, settings)]
    first = (equal or list(points))[0]
    # a group or key may change any key below it, so what differs is the factor
    changed = {key for settings in points.values() for key in difference(points[first], settings)}
    factor = sorted(changed) or swept
    study = dataclasses.replace(study, base=first, factor=factor)
    others = {name: settings for name, settings in points.items() if name != first}
    return studies.plan(study, points[first], others)


def _values(jobs: list[list[str]], key: str) -> list[str]:
    return [o.split("=", 1)[1] for job in jobs for o in job if o.split("=", 1)[0] == key]


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
