"""Hydra's launcher for studies: the whole multirun at once, audited before anything is trained.

    compose arms -> audit -> prepare data -> `sweep.conduct`

Arms come from `study.arms` (names with lists of overrides), or from the multirun's own parameters, each
combination an arm. Values swept for `seed` are the study's seeds. Nothing here remembers: the records
on disk say what is done, so the same command again finishes what is missing.
"""

import dataclasses
import importlib
import re
import signal
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from ablate.console.compose import loaded, user_errors
from ablate.data.tokens import within_reach
from ablate.run.fields import SEEDS
from ablate.run.identity import canonical, difference, digest
from ablate.run.idle import check_acts
from ablate.run.settings import Settings, SettingsError, Study
from ablate.sweep import study as studies
from ablate.sweep.audit import audit, is_of_text, with_text
from ablate.sweep.composition import Composer
from ablate.sweep.contrast import is_alike
from ablate.sweep.controls import with_controls
from ablate.sweep.ladder import studies_of
from ablate.sweep.phases import cut_alike, phased
from ablate.sweep.texts import with_corpora
from ablate.sweep.worker import looked_up

# Sweepers that give the launcher all combinations at once, and need nothing back
SWEEPERS = ("StudySweeper", "BasicSweeper")


class StudyLauncher(Launcher):
    """Runs a multirun as one study."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        sweeper = config.hydra.sweeper["_target_"].rpartition(".")[2]
        if sweeper not in SWEEPERS:
            allowed = f"basic with {sweeper}, which tries one run after another; the launcher `study` wants all at once"
            raise SettingsError(f"hydra/launcher=study: must be {allowed}")
        self.compose = Composer(hydra_context.config_loader, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        signal.signal(signal.SIGTERM, _terminated)
        jobs = [list(overrides) for overrides in job_overrides]
        # of a ladder all are planned before the first is trained: a mistake in the last is told at once
        for plan in [plan_of(one, self.compose) for one in studies_of(jobs, self.compose)]:
            ready = prepared(plan) if _looks_at_text(plan) else plan
            # loads torch and much else, which takes seconds that --help and mistakes should not wait for
            importlib.import_module("ablate.sweep.conduct").run(ready)
        return []


def planned(line: Namespace) -> studies.Plan:
    """The study that a command line means, for commands that look at it before it is trained."""
    loader, master, jobs = loaded(line)
    with user_errors():
        return plan_of(jobs, Composer(loader, master))


def plan_of(jobs: list[list[str]], composer: Callable[[list[str]], Settings]) -> studies.Plan:
    """The study that a multirun means; `jobs` are the overrides of each combination, all of the same keys."""

    def compose(overrides: list[str]) -> Settings:
        return looked_up(composer(overrides))

    values = {key: list(dict.fromkeys(_values(jobs, key))) for key in (o.split("=", 1)[0] for o in jobs[0])}
    fixed = [f"{key}={found[0]}" for key, found in values.items() if len(found) == 1 and key != "seed"]
    swept = [key for key, found in values.items() if len(found) > 1 and key != "seed"]
    base = compose(fixed)
    study = dataclasses.replace(base.study, name=base.study.name or f"sweep-{digest([values, canonical(base)])}")
    for key in swept:
        if is_alike(key):
            raise SettingsError(f"{key}: is swept, but all arms have the same {key}")
    if "seed" in values:
        study = dataclasses.replace(study, seeds=[_seed(text) for text in values["seed"]])
    if not swept:
        return _heard(phased(study, composer, fixed), fixed)
    if study.arms or study.grid or study.phases:
        raise SettingsError(f"{swept[0]}: a study with arms or phases of its own takes no further parameter but seed")
    points = dict.fromkeys(tuple(o for o in job if o.split("=", 1)[0] in swept) for job in jobs)
    named = {re.sub(r"\\(.)", r"\1", ", ".join(point)): list(point) for point in points}  # without Hydra's escapes
    plan = _plan_of_points(study, base, {name: compose([*fixed, *point]) for name, point in named.items()}, swept)
    plan = _heard(plan, [*fixed, *(f"{key}={','.join(values[key])}" for key in swept)])
    return with_controls(plan, lambda _, more: compose([*fixed, *named[plan.study.base], *more]))


def _heard(plan: studies.Plan, words: list[str]) -> studies.Plan:
    """The plan, once each word of its command line does something in one arm at least. Raises SettingsError."""
    check_acts(words, *(arm.settings for one in plan.chain for arm in one.arms))
    return plan


def prepared(plan: studies.Plan) -> studies.Plan:
    """The plan with the data of each arm, prepared once for all arms that share it, and audited (`sweep.audit`).

    Raises UserError for bad data, and for an arm that is refused.
    """
    if plan.before:
        plan = cut_alike(dataclasses.replace(plan, before=prepared(plan.before)))
    plan = with_text(with_corpora(plan))
    audit(plan)
    return plan


def _looks_at_text(plan: studies.Plan) -> bool:
    """Not a dry run of text that a hub would have to send: a published system can be planned anywhere."""
    settings = [arm.settings for one in plan.chain for arm in one.arms]
    return not settings[0].where.dry_run or all(map(within_reach, settings))


def _plan_of_points(study: Study, base: Settings, points: dict[str, Settings], swept: list[str]) -> studies.Plan:
    """Combinations as arms: the one equal to the unswept configuration is the base, or else the first."""
    equal = [name for name, settings in points.items() if not difference(base, settings)]
    first = (equal or list(points))[0]
    # a group or key may change any key below it, so what differs is the factor
    changed = {key for settings in points.values() for key in difference(points[first], settings)}
    of_text = set(filter(is_of_text, swept))  # what is at a path differs, and not the key of it
    factor = sorted(changed | of_text) or swept
    study = dataclasses.replace(study, base=first, factor=factor)
    others = {name: settings for name, settings in points.items() if name != first}
    return studies.plan(study, points[first], others)


def _values(jobs: list[list[str]], key: str) -> list[str]:
    return [o.split("=", 1)[1] for job in jobs for o in job if o.split("=", 1)[0] == key]


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= SEEDS:
        raise SettingsError(f"seed={text}: must be a whole number, at least 0 and below 2^63")
    return int(text)


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
