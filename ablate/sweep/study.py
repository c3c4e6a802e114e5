"""A study as a value: arms that differ from one base in the declared factor and in nothing else.

    none ──┬── share_05   mixture.weights: ...     x seeds 0, 1, 2  ->  runs
           ├── share_15   mixture.weights: ...
           └── share_00   (no difference)          a null arm: the base's own runs
    controls: the base again, the base under further seeds, an arm whose effect is known (`sweep.controls`)

Arms are compared with the base key by key before the first run. One that differs outside the factor
is refused by name: its verdict would not be about the factor.
"""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ablate.data.tokens import NO_TEXT, Corpus
from ablate.run.identity import difference, digest, record_name
from ablate.run.record import StudyRecord
from ablate.run.settings import Settings, SettingsError, Study
from ablate.scores import metrics


@dataclass(frozen=True)
class Arm:
    """`difference`: {key: (value in the base, value here)}; empty for the base and for null arms."""

    name: str
    settings: Settings
    difference: dict[str, tuple[Any, Any]]
    corpus: Corpus = NO_TEXT


@dataclass(frozen=True)
class Control(Arm):
    """Beside the arms: never audited against the factor, in a family or in a race."""

    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Run:
    """One run of a study."""

    arm: str
    seed: int
    settings: Settings
    id: str
    corpus: Corpus


@dataclass(frozen=True)
class Plan:
    """What a study will train. The first arm is the base."""

    study: Study
    arms: list[Arm]
    controls: list[Control] = field(default_factory=list)

    @cached_property
    def runs(self) -> list[Run]:
        """All runs of arms, seed block by seed block, so that an unfinished study has whole blocks."""
        return [self.run(arm, seed) for seed in self.study.seeds for arm in self.arms]

    @cached_property
    def control_runs(self) -> list[Run]:
        return [self.run(control, seed) for control in self.controls for seed in control.seeds]

    def run(self, arm: Arm, seed: int) -> Run:
        """One run: the arm's settings with the seed, and with what the logger needs to know."""
        where = dataclasses.replace(arm.settings.where, arm=arm.name)
        settings = dataclasses.replace(arm.settings, seed=seed, where=where, study=self.study)
        return Run(arm.name, seed, settings, record_name(settings, arm.corpus.fingerprint), arm.corpus)

    def distinct(self) -> list[Run]:
        """Each run once, however many arms it belongs to, controls among them, in the order to train them.

        A base that is trained twice comes after the arms of its block: it grows from what they leave, if they
        share anything, and its replicate, which does not, then proves that growing is exact.
        """
        runs = [*self.runs, *self.control_runs]
        ids = {run.id: run for run in reversed(runs)}
        repeated = {run.seed for run in self.control_runs if run.settings.where.replicate}
        seeds = list(dict.fromkeys(run.seed for run in runs))

        def place(run: Run) -> tuple[int, bool, bool]:
            base_of_two = run.arm == self.study.base and run.seed in repeated
            return seeds.index(run.seed), run.arm in {control.name for control in self.controls}, base_of_two

        return sorted(reversed(ids.values()), key=place)


def plan(study: Study, base: Settings, arms: dict[str, Settings]) -> Plan:
    """Audit the arms against the base. Raises SettingsError naming the first arm and all keys outside the factor,
    or a metric that cannot be read."""
    if study.base in arms:
        raise SettingsError(f"study.arms.{study.base}: is the name of the base; call the arm something else")
    for settings in (base, *arms.values()):
        metrics.check(settings)
    audited = [Arm(study.base, base, {})]
    for name, settings in arms.items():
        audited.append(Arm(name, settings, _audit(study, name, base, settings)))
    return Plan(study, audited)


def with_corpora(plan: Plan, corpora: list[Corpus]) -> Plan:
    """The plan once the text of every arm is prepared: ids depend on it. Controls have the text of the base."""
    arms = [dataclasses.replace(arm, corpus=corpus) for arm, corpus in zip(plan.arms, corpora, strict=True)]
    return Plan(plan.study, arms, [dataclasses.replace(control, corpus=corpora[0]) for control in plan.controls])


def declare(plan: Plan, record: StudyRecord) -> None:
    """Write the declaration before the first run; keep the digests of earlier ones, so that no change is silent."""
    base = plan.arms[0]
    declaration = {
        **dataclasses.asdict(plan.study),
        "arms": {arm.name: _plain(arm.difference) for arm in plan.arms},
        "fingerprint": base.corpus.fingerprint,
        "domains": base.settings.data.domains,
        "focus": base.settings.data.focus,
        "runs": {arm.name: {str(seed): plan.run(arm, seed).id for seed in plan.study.seeds} for arm in plan.arms},
        "control_arms": {one.name: _plain(one.difference) for one in plan.controls},
        "control_runs": {one.name: {str(seed): plan.run(one, seed).id for seed in one.seeds} for one in plan.controls},
    }
    declaration["digest"] = digest(declaration)
    before = record.read() if record.exists else {"digest": declaration["digest"], "earlier": []}
    changed = before["digest"] != declaration["digest"]
    declaration["earlier"] = before["earlier"] + ([before["digest"]] if changed else [])
    record.write(declaration)


def _plain(difference: dict[str, tuple[Any, Any]]) -> dict[str, list[Any]]:
    return {key: list(values) for key, values in difference.items()}


def _audit(study: Study, name: str, base: Settings, arm: Settings) -> dict[str, tuple[Any, Any]]:
    changed = difference(base, arm)
    where_a, where_b = dataclasses.asdict(base.where), dataclasses.asdict(arm.where)
    outside = [key for key in changed if not any(within(key, factor) for factor in study.factor)]
    outside += [f"where.{key}" for key in where_a if where_a[key] != where_b[key]]
    if outside:
        keys = "; ".join(f"{key}{_change(changed, key)}" for key in outside)
        raise SettingsError(f"study.arms.{name}: differs outside the factor {study.factor}: {keys}")
    return changed


def within(key: str, factor: str) -> bool:
    return key == factor or key.startswith((factor + ".", factor + "@"))


def _change(changed: dict[str, tuple[Any, Any]], key: str) -> str:
    return " ({} -> {})".format(*changed[key]) if key in changed else ""
