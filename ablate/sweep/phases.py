"""Arms as chains: the configuration of every phase, and the plan that goes through them.

    study:
      phases: {pretrain: [], tune: ["mixture.weights={qa: 1}", tokens=50_000]}
      arms: {share_40: {pretrain: [mixture.share=0.40]}}

    none        pretrain ──> tune
    share_40    pretrain with mixture.share=0.40 ──> tune, as in the base

A study without phases has one, which has no name.
"""

import dataclasses
import importlib
import itertools
from collections.abc import Callable
from pathlib import Path

from ablate.data.tokens import cut_by
from ablate.plan import adapt
from ablate.run.idle import check_acts
from ablate.run.overrides import check_own
from ablate.run.settings import Settings, SettingsError, Study
from ablate.run.start import NONE, PHASE, teacher_of
from ablate.scores import metrics
from ablate.sweep import study as studies
from ablate.sweep.controls import with_controls
from ablate.sweep.study import Plan
from ablate.sweep.worker import looked_up

ONLY = ""  # the phase of a study that has no phases
ByPhase = dict[str, list[str]]


def phased(study: Study, composer: Callable[[list[str]], Settings], fixed: list[str]) -> Plan:
    """The plan of the judged phase, with the plans of those before it. `fixed`: overrides of the whole study.

    Raises SettingsError for an arm that is not what it may be, in any phase.
    """
    phases = _until_judged(study)
    before = dict(zip(list(phases)[1:], phases, strict=False))

    def compose(phase: str, more: list[str]) -> Settings:
        if phase not in before:
            return looked_up(composer([*fixed, *phases[phase], *more]))
        start = f"run:{before[phase]}"  # in the place of a run of that phase, for objectives that ask for a start
        settings = composer([*fixed, f"start={start}", *phases[phase], *more])
        if settings.start != start:
            raise SettingsError(f"study.phases.{phase}: start={settings.start}: begins where the phase before it ends")
        return looked_up(dataclasses.replace(settings, start=NONE))

    named, plan = _arms(study), None
    for phase in phases:
        earlier = list(phases)[: list(phases).index(phase)]
        arms = {name: compose(phase, more.get(phase, [])) for name, more in named.items()}
        for name, more in named.items():
            check_acts(more.get(phase, []), arms[name], of=f"study.arms.{name}: ")
        plan = studies.plan(study, compose(phase, []), arms, phase, plan)
        _check_models(plan)
        _check_teachers(plan, earlier)
    assert plan
    _check_adapted(plan)
    for arm in plan.arms:
        metrics.check_judged(arm.settings)
    return with_controls(plan, compose)


def cut_alike(plan: Plan) -> Plan:
    """The plan with the text of every arm cut by the tokenizer of the phase before, whose text is prepared."""
    assert plan.before
    arms = []
    for arm in plan.arms:
        tokenizer = plan.before.named(arm.name).corpus.folder / "tokenizer.json"
        outputs, whose = Path(arm.settings.where.outputs), f"phase {plan.before.phase}"
        if arm.settings.distill.teacher != NONE:
            importlib.import_module("ablate.fit.teachers").check_cut(arm.settings, tokenizer, whose)
        data = cut_by(arm.settings.data, tokenizer, whose, outputs)
        arms.append(dataclasses.replace(arm, settings=dataclasses.replace(arm.settings, data=data)))
    return dataclasses.replace(plan, arms=arms)


def _until_judged(study: Study) -> ByPhase:
    """The phases to train, with their overrides."""
    if not study.phases:
        return {ONLY: []}
    names = list(study.phases)
    judge = study.judge or names[-1]
    if judge not in names:
        raise SettingsError(f"study.judge={judge}: must be one of study.phases: {', '.join(names)}")
    for name, overrides in study.phases.items():
        check_own(f"study.phases.{name}", overrides)
    return {name: study.phases[name] for name in names[: names.index(judge) + 1]}


def _arms(study: Study) -> dict[str, ByPhase]:
    """The overrides of every arm by phase: of those named one by one, and of the combinations of levels."""
    found = {name: _by_phase(study, f"study.arms.{name}", more) for name, more in study.arms.items()}
    for levels in itertools.product(*(factor.items() for factor in study.grid.values())):
        parts = [_by_phase(study, f"study.grid: {level}", more) for level, more in levels]
        whole = {phase: [o for part in parts for o in part.get(phase, [])] for phase in study.phases or [ONLY]}
        if any(whole.values()):
            found[" ".join(level for level, _ in levels)] = whole
    for name, by_phase in found.items():
        for phase, overrides in by_phase.items():
            check_own(f"study.arms.{name}.{phase}".rstrip("."), overrides)
    return found


def _by_phase(study: Study, key: str, overrides: list[str] | ByPhase) -> ByPhase:
    if not study.phases:
        if isinstance(overrides, dict):
            raise SettingsError(f"{key}={overrides}: must be a list of overrides: the study has no phases")
        return {ONLY: overrides}
    names = ", ".join(study.phases)
    if isinstance(overrides, list):
        if not overrides:
            return {}
        example = f"{{{next(iter(study.phases))}: {overrides}}}"
        raise SettingsError(f"{key}={overrides}: must say which phase it changes ({names}), as in {example}")
    if unknown := [name for name in overrides if name not in study.phases]:
        raise SettingsError(f"{key}.{unknown[0]}: must be one of study.phases: {names}")
    return overrides


def _check_teachers(plan: Plan, earlier: list[str]) -> None:
    """A teacher that is named by its phase is of one before."""
    for arm in plan.arms:
        if (teacher := teacher_of(arm.settings)) and teacher.kind == PHASE and teacher.place not in earlier:
            allowed = f"of a phase before {plan.phase}: {', '.join(earlier) or 'there is none'}"
            raise SettingsError(f"{teacher.setting}: must be {allowed}")


def _check_adapted(judged: Plan) -> None:
    """Weights that are computed after the phase before have there what they are computed from, and nothing by which
    the last phase is judged."""
    for plan, before in itertools.pairwise(reversed(judged.chain)):
        whose = f"phase {before.phase}"
        for arm in plan.arms:
            if arm.settings.mixture.to_come:
                theirs, last = before.named(arm.name).settings, judged.named(arm.name).settings
                adapt.check(arm.settings, theirs, whose)
                adapt.check_judged(arm.settings, theirs, last, whose)


def _check_models(plan: Plan) -> None:
    """Every arm keeps the model of its phase before."""
    for arm, before in zip(plan.arms, plan.before.arms if plan.before else [], strict=bool(plan.before)):
        ours, theirs = ((s.model, s.size, s.data.vocabulary, s.data.span) for s in (arm.settings, before.settings))
        if ours != theirs:  # loads torch, which takes seconds
            check_follows = importlib.import_module("ablate.fit.parents").check_follows
            check_follows(arm.settings, before.settings, f"study.phases.{plan.phase}: arm {arm.name}")
