"""Which runs are trained next: all that are missing, or those that a race still has use for.

    wave 1   seeds 0, 1 of every arm   ->  a look  ->  wave 2   seed 2 of the arms still in the race  ->  ...

Nothing is remembered between waves but what was tried in vain: decisions follow from the records, so the
same command goes on wherever it was stopped.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from ablate.analysis.evidence import read
from ablate.plan.timeline import timeline
from ablate.record import StudyRecord, run_record
from ablate.sweep.prior import informed
from ablate.sweep.race import Decision, decide
from ablate.sweep.standing import standing
from ablate.sweep.study import Plan, Run


@dataclass(frozen=True)
class Wave:
    """Runs to train together; `until`: steps after which some of them pause, by id."""

    runs: list[Run]
    until: dict[str, int]


def waves(plan: Plan, record: StudyRecord) -> Iterator[Wave]:
    """Wave after wave, each after the one before was trained; a run that is not done then is given up."""
    tried: dict[str, float] = {}  # how far it was asked to come
    while True:
        wave = _next(plan, record, tried)
        if not wave.runs:
            return
        tried |= {run.id: wave.until.get(run.id, math.inf) for run in wave.runs}
        yield wave


def _next(plan: Plan, record: StudyRecord, tried: dict[str, float]) -> Wave:
    allowed, until = _allowed(plan, record, tried)
    outputs = plan.arms[0].settings.where.outputs
    missing = {run.id: run for run in allowed if not run_record(outputs, run.id).done}
    again = [run for id, run in missing.items() if until.get(id, math.inf) > tried.get(id, -1)]
    return Wave(again, until)


def _allowed(plan: Plan, record: StudyRecord, tried: dict[str, float]) -> tuple[list[Run], dict[str, int]]:
    """The runs that may be trained, seed block by seed block, and where they pause."""
    if plan.study.budget.race == "none":
        return plan.distinct(), {}
    decisions = _decisions(plan, record, tried)
    active = {arm: decision for arm, decision in decisions.items() if decision.active}
    if not active:
        return [], {}
    blocks, part = next((decision.blocks, decision.part) for decision in active.values())
    seeds = plan.study.seeds[:blocks]
    wanted = [run for run in plan.runs if run.seed in seeds and run.arm in (plan.study.base, *active)]
    runs = list({run.id: run for run in reversed(wanted)}.values())[::-1]  # arms may share one
    return runs, {run.id: _steps(run, part) for run in runs} if part < 1 else {}


def _steps(run: Run, part: float) -> int:
    """Of the first evaluation at or after a part of the run."""
    line = timeline(run.settings)
    return next(step for step in line.evaluations if step >= part * len(line))


def _decisions(plan: Plan, record: StudyRecord, tried: dict[str, float]) -> dict[str, Decision]:
    finals, curves = standing(read(record), {arm.name: arm.settings.steps for arm in plan.arms})
    for arm in plan.arms:
        for seed, value in list(finals.get(arm.name, {}).items()):
            if math.isnan(value) and plan.run(arm, seed).id not in tried:
                del finals[arm.name][seed]  # it failed in an earlier start, and gets its try in this one
    decisions = decide(finals, informed(plan, record), curves)
    record.decide({arm: _plain(decision) for arm, decision in decisions.items()})
    return decisions


def _plain(decision: Decision) -> dict[str, object]:
    """As JSON: what is not finite is null."""
    values = dataclasses.asdict(decision) | {"interval": list(decision.interval)}
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: object) -> object:
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
