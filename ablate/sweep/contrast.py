"""That an arm differs from the base in the declared factor, and in nothing else that is asked of it."""

import dataclasses
from collections.abc import Collection
from operator import attrgetter
from typing import Any

from ablate.run.fields import below, is_key
from ablate.run.identity import difference, key_in_words
from ablate.run.parse import unknown_key
from ablate.run.settings import Settings, SettingsError, Study

# What neither the id of a run nor its text shows, and so no verdict could be about; the seeds are those of the study
ALIKE = ("study", "where", "evaluate", "prepare", "data.focus", "data.verify")


def check_factor(factors: Collection[str]) -> None:
    """Raises SettingsError for a factor that is no setting, or in which no arm can differ."""
    for key in factors:
        if not is_key(Settings, key):
            raise SettingsError(f"study.factor={unknown_key(key)}")
        if is_alike(key):
            raise SettingsError(f"study.factor={key}: must be what a run is: all arms have the same {key}")


def is_alike(key: str) -> bool:
    """Whether no arm can differ in a key."""
    return key == "seed" or any(below(key, group) for group in ALIKE)


def changed(study: Study, name: str, base: Settings, arm: Settings) -> dict[str, tuple[Any, Any]]:
    """How the arm differs from the base. Raises SettingsError naming all keys outside the factor."""
    found = difference(base, arm)
    outside = [key for key in found if not any(within(key, factor) for factor in study.factor)]
    outside += [key for key in ALIKE if key != "where" and attrgetter(key)(base) != attrgetter(key)(arm)]
    where_a, where_b = dataclasses.asdict(base.where), dataclasses.asdict(arm.where)
    outside += [f"where.{key}" for key in where_a if where_a[key] != where_b[key]]
    if outside:
        keys = "; ".join(f"{key_in_words(key)}{_change(found, key)}" for key in outside)
        raise SettingsError(f"study.arms.{name}: differs outside the factor {study.factor}: {keys}")
    return found


def within(key: str, factor: str) -> bool:
    """Whether a factor explains a difference in a key."""
    return key == factor or key.startswith((factor + ".", factor + "@"))


def _change(found: dict[str, tuple[Any, Any]], key: str) -> str:
    return " ({} -> {})".format(*found[key]) if key in found else ""
