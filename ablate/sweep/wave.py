"""Which runs are trained next: all that are missing, or those that a race still has use for.

    wave 1   seeds 0, 1 of every arm   ->  a look  ->  wave 2   seed 2 of the arms still in the race  ->  ...
    search   seed 0 of some arms, to their next evaluation  ->  others in place of those that are stopped  ->  ...
    last     the positive control, if an arm was not found to differ from the base

Nothing is remembered between waves but what was tried in vain: decisions follow from the records, so the
same command goes on wherever it was stopped.

What a race knows of its noise before its first run is looked up in earlier studies once, and kept, because the same
runs must give the same decisions whatever other studies have finished meanwhile. A race at two seeds has little power
without it. Arms of several kinds race with the noise of the noisiest and the least that is known of any.

    outputs/studies/<name>/noise.json     {"sd": 0.0031, "df": 9.4, "from": ["24 like arms ..."]}

`study.budget.noise` goes before all of this.
"""

import dataclasses
import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.model import budget
from ablate.run.record import run_record
from ablate.run.settings import Study
from ablate.run.study_record import StudyRecord
from ablate.sweep.audit import ask
from ablate.sweep.study import Arm, Plan, Run, announce
from ablate.verdict import registry
from ablate.verdict.evidence import POSITIVE, Evidence, read
from ablate.verdict.race import Decision, decide
from ablate.verdict.registry import Past
from ablate.verdict.standing import standing
from ablate.verdict.validity import trust

if TYPE_CHECKING:
    from ablate.sweep.search import Searcher

FOUND = ("better", "worse")


@dataclass(frozen=True)
class Wave:
    """Runs of a plan to train together; `until`: steps after which some of them pause, by id."""

    plan: Plan
    runs: list[Run]
    until: dict[str, int]


def waves(plan: Plan, record: StudyRecord) -> Iterator[Wave]:
    """Wave after wave, each after the one before was trained; a run that is not done then is given up.

    A run that waits for the weights of its parent has the parent trained in its place, and its own turn in a later
    wave, under the id that it has then. A parent that is given up is the end of the run too.
    """
    tried: dict[str, float] = {}  # how far it was asked to come
    searcher = None
    if plan.study.budget.race == "search":
        searcher = importlib.import_module("ablate.sweep.search").Searcher(plan)  # loads scikit-learn
    while True:
        wave = _next(plan, record, tried, searcher)
        if not wave.runs:
            return
        tried |= {run.id: wave.until.get(run.id, math.inf) for run in wave.runs}
        if runs := _able(plan, wave.runs):
            yield dataclasses.replace(wave, runs=runs)
        if (latest := plan.refreshed()) is not plan:
            plan = latest
            announce(plan, record)


def _next(plan: Plan, record: StudyRecord, tried: dict[str, float], searcher: "Searcher | None") -> Wave:
    wanted, until = _wanted(plan, record, tried, searcher)
    runs = _missing(plan, wanted, until, tried) or _missing(plan, _positive(plan, record), {}, tried)
    return Wave(plan, runs, until)


def _able(plan: Plan, runs: list[Run]) -> list[Run]:
    """The runs that can begin, of these and of those that they wait for."""
    wanted = set()
    for run in runs:
        while not run.known:
            assert run.parent
            run = run.parent
        wanted.add(run.id)
    able = [run for run in plan.distinct() if run.id in wanted]
    return [run for run in able if not run_record(run.settings.where.outputs, run.id).done]


def _missing(plan: Plan, wanted: set[str], until: dict[str, int], tried: dict[str, float]) -> list[Run]:
    """The runs wanted, by id, that are not done and were not tried as far; seed block by seed block."""
    runs = [run for run in plan.distinct() if run.id in wanted and until.get(run.id, math.inf) > tried.get(run.id, -1)]
    return [run for run in runs if not run_record(run.settings.where.outputs, run.id).done]


def _wanted(
    plan: Plan, record: StudyRecord, tried: dict[str, float], searcher: "Searcher | None"
) -> tuple[set[str], dict[str, int]]:
    """Ids of the runs of arms that may be trained, and of all controls but the positive one; where some pause."""
    controls = {run.id for run in plan.control_runs if run.arm != POSITIVE}
    if plan.study.budget.race == "none":
        return controls | {run.id for run in plan.runs}, {}
    decisions, steps = _decisions(plan, record, tried, searcher)
    if steps:
        until = {plan.run(plan.named(arm), plan.study.seeds[0]).id: count for arm, count in steps.items()}
        whole = plan.arms[0].settings.steps
        return controls | set(until), {id: count for id, count in until.items() if count < whole}
    active = {arm: decision for arm, decision in decisions.items() if decision.active}
    if not active:
        return controls, {}
    seeds = plan.study.seeds[: next(decision.blocks for decision in active.values())]
    return controls | {run.id for run in plan.runs if run.seed in seeds and run.arm in (plan.study.base, *active)}, {}


def _positive(plan: Plan, record: StudyRecord) -> set[str]:
    """Ids of the positive control's runs, on the seeds of the base, where some arm was not found to differ from it."""
    runs = [run for run in plan.control_runs if run.arm == POSITIVE]
    if not runs:
        return set()
    evidence = _asked(record)
    found = trust.conclude(evidence)
    if found.void or all(word in FOUND for word in found.words):
        return set()
    return {run.id for run in runs if run.seed in evidence.finished(evidence.base)}


def _asked(record: StudyRecord) -> Evidence:
    """What there is to see now. Runs that another study has trained have not been asked the tasks of this one."""
    evidence = read(record)
    ask(evidence)
    return evidence


def _decisions(
    plan: Plan, record: StudyRecord, tried: dict[str, float], searcher: "Searcher | None"
) -> tuple[dict[str, Decision], dict[str, int]]:
    """The decision for every arm, and while the first block is searched the steps that some are trained to."""
    evidence = _asked(record)
    finals = standing(evidence)
    for arm in plan.arms:
        for seed, value in list(finals.get(arm.name, {}).items()):
            if math.isnan(value) and plan.run(arm, seed).id not in tried:
                del finals[arm.name][seed]  # it failed in an earlier start, and gets its try in this one
    study, steps = informed(plan, record), dict[str, int]()
    if searcher:
        decisions, steps = searcher.decisions(evidence, finals, study)
    else:
        decisions = decide(finals, study)
    record.decide({arm: _plain(decision, evidence.metric.sign) for arm, decision in decisions.items()})
    return decisions, steps


def _plain(decision: Decision, sign: int) -> dict[str, object]:
    """As JSON, differences in the metric's unit again: what is not finite is null."""
    turned = {"mean": sign * decision.mean, "t": sign * decision.t}
    values = dataclasses.asdict(decision) | turned | {"interval": sorted(sign * end for end in decision.interval)}
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: object) -> object:
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def informed(plan: Plan, record: StudyRecord) -> Study:
    """The study with `budget.noise` and `budget.noise_df` as they are known from earlier ones."""
    study = plan.study
    if study.budget.noise_df or study.budget.race == "none":
        return study
    kept = record.noise()
    if kept is None:
        kept = look_up(plan)
        record.keep_noise(kept)
    return dataclasses.replace(study, budget=dataclasses.replace(study.budget, noise=kept["sd"], noise_df=kept["df"]))


def look_up(plan: Plan) -> dict:
    """Standard deviation and degrees of freedom from all other studies, and which; 0 when some arm's are unknown."""
    base = plan.arms[0].settings
    past = registry.read(base.where.outputs, base.data.focus, plan.study.name)
    found = [registry.before(as_past(plan, arm), past, plan.study.metric) for arm in plan.arms if arm.difference]
    df = min((known.noise.df for known in found), default=0.0)
    variance = max((known.noise.variance for known in found), default=0.0)
    return {"sd": variance**0.5 if df else 0.0, "df": df, "from": list(dict.fromkeys(known.text for known in found))}


def as_past(plan: Plan, arm: Arm) -> Past:
    """An arm that has no runs yet."""
    return Past(
        study=plan.study.name,
        arm=arm.name,
        keys=registry.keys_of(arm.difference),
        parameters=budget.of(arm.settings).parameters,
        tokens=arm.settings.tokens,
        domains=tuple(arm.settings.data.domains),
        ids=frozenset(plan.run(arm, seed).id for seed in plan.study.seeds),
        base=frozenset(plan.run(plan.arms[0], seed).id for seed in plan.study.seeds),
        pairs={},
    )
