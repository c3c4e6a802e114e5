"""What a race knows of its noise before its first run: looked up in earlier studies once, and kept.

    outputs/studies/<name>/noise.json     {"sd": 0.0031, "df": 9.4, "from": ["24 like arms ..."]}

A race at two seeds has little power without it. It is kept because the same runs must give the same decisions, however
often the launcher is started and whatever other studies have finished meanwhile. Arms of several kinds race with the
noise of the noisiest and the least that is known of any. `study.budget.noise` goes before all of this.
"""

import dataclasses

from ablate.model import budget
from ablate.run.record import StudyRecord
from ablate.run.settings import Study
from ablate.sweep.study import Arm, Plan
from ablate.verdict import registry
from ablate.verdict.registry import Known, Past


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
    found = [registry.before(_as_past(plan, arm), past, plan.study.metric) for arm in plan.arms if arm.difference]
    df = min((known.noise.df for known in found), default=0.0)
    variance = max((known.noise.variance for known in found), default=0.0)
    return {"sd": variance**0.5 if df else 0.0, "df": df, "from": _texts(found)}


def _texts(found: list[Known]) -> list[str]:
    return list(dict.fromkeys(known.text for known in found))


def _as_past(plan: Plan, arm: Arm) -> Past:
    """An arm that has no runs yet."""
    return Past(
        study=plan.study.name,
        arm=arm.name,
        kind=registry.kind_of(arm.difference),
        parameters=budget.of(arm.settings).parameters,
        tokens=arm.settings.tokens,
        domains=tuple(arm.settings.data.domains),
        ids=frozenset(plan.run(arm, seed).id for seed in plan.study.seeds),
        base=frozenset(plan.run(plan.arms[0], seed).id for seed in plan.study.seeds),
        pairs={},
    )
