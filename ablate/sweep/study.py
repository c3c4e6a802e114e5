"""A study as a value: arms that differ from one base in the declared factor and in nothing else.

    base ──┬── qa_05   mixture.weights: ...        x seeds 0, 1, 2  ->  runs
           ├── qa_15   mixture.weights: ...
           └── null    (no difference)             is the base: the same runs

Arms are compared with the base key by key before the first run. One that differs outside the factor
is refused by name: its verdict would not be about the factor.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from ablate.identity import difference, digest, run_id
from ablate.record import StudyRecord
from ablate.settings import Settings, SettingsError, Study

FACTORIAL = ("factors", "num_arms", "resolution")


@dataclass(frozen=True)
class Arm:
    """`difference`: {key: (value in the base, value here)}; empty for the base and for null arms."""

    name: str
    settings: Settings
    difference: dict[str, tuple[Any, Any]]
    fingerprint: str = ""


@dataclass(frozen=True)
class Run:
    """One run of a study."""

    arm: str
    seed: int
    settings: Settings
    id: str


@dataclass(frozen=True)
class Plan:
    """What a study will train. The first arm is the base."""

    study: Study
    arms: list[Arm]

    @property
    def runs(self) -> list[Run]:
        """All runs, seed block by seed block, so that an unfinished study has whole blocks."""
        return [self.run(arm, seed) for seed in self.study.seeds for arm in self.arms]

    def run(self, arm: Arm, seed: int) -> Run:
        """One run: the arm's settings with the seed, and with what the logger needs to know."""
        where = dataclasses.replace(arm.settings.where, arm=arm.name)
        settings = dataclasses.replace(arm.settings, seed=seed, where=where, study=self.study)
        return Run(arm.name, seed, settings, run_id(settings, arm.fingerprint))

    def distinct(self) -> list[Run]:
        """Each run once, however many arms it belongs to."""
        return list({run.id: run for run in reversed(self.runs)}.values())[::-1]


def plan(study: Study, base: Settings, arms: dict[str, Settings]) -> Plan:
    """Audit the arms against the base. Raises SettingsError naming the first arm and all keys outside the factor."""
    if study.base in arms:
        raise SettingsError(f"study.arms.{study.base}: is the name of the base; call the arm something else")
    audited = [Arm(study.base, base, {})]
    for name, settings in arms.items():
        audited.append(Arm(name, settings, _audit(study, name, base, settings)))
    return Plan(study, audited)


def with_fingerprints(plan: Plan, fingerprints: list[str]) -> Plan:
    """The plan once the data of every arm is prepared: ids depend on it."""
    arms = [dataclasses.replace(arm, fingerprint=f) for arm, f in zip(plan.arms, fingerprints, strict=True)]
    return Plan(plan.study, arms)


def declare(plan: Plan, record: StudyRecord) -> None:
    """Write the declaration before the first run; keep the digests of earlier ones, so that no change is silent."""
    base = plan.arms[0]
    declaration = {
        **_declared(plan.study),
        "arms": {arm.name: {key: list(values) for key, values in arm.difference.items()} for arm in plan.arms},
        "fingerprint": base.fingerprint,
        "domains": base.settings.data.domains,
        "focus": base.settings.data.focus,
        "runs": {arm.name: {str(seed): plan.run(arm, seed).id for seed in plan.study.seeds} for arm in plan.arms},
    }
    declaration["digest"] = digest(declaration)
    before = record.read() if record.exists else {"digest": declaration["digest"], "earlier": []}
    changed = before["digest"] != declaration["digest"]
    declaration["earlier"] = before["earlier"] + ([before["digest"]] if changed else [])
    record.write(declaration)


def _declared(study: Study) -> dict[str, Any]:
    """All that was declared; of factors nothing where there are none, as before there could be."""
    declared = dataclasses.asdict(study)
    return {key: value for key, value in declared.items() if study.factors or key not in FACTORIAL}


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
