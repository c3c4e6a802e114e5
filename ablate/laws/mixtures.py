"""Arms as mixtures: what their declared differences from the base say of its weights.

{"qa_40": {"mixture.weights@0.qa": [0.1, 0.4], "mixture.weights@0.code": [0.9, 0.6]}}
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ablate.run.settings import SettingsError

PREFIX = "mixture.weights@"
START, LEAST = 0.15, 5  # of the arms, that a search trains whole before it chooses any
FIRST = "0"  # the stage from the first step on, as identities write it
Difference = Mapping[str, Sequence[Any]]  # key: (value in the base, value in the arm)
Changes = dict[str, tuple[float, float]]  # domain: (weight in the base, weight in the arm)


def place(key: str, pair: Sequence[Any], domains: Sequence[str]) -> tuple[str, str] | None:
    """The stage and the domain of a weight that differs; None for any other difference."""
    domain = next((one for one in domains if key.endswith("." + one)), None)
    if not (key.startswith(PREFIX) and domain) or None in pair:
        return None
    return key.removeprefix(PREFIX).removesuffix("." + domain), domain


def weights(changes: Mapping[str, Changes], domains: Sequence[str]) -> dict[str, dict[str, float]]:
    """Weights of each arm in the domains that some arm changes, in their order."""
    varied = [one for one in domains if any(one in changed for changed in changes.values())]
    base = {one: next(changed[one][0] for changed in changes.values() if one in changed) for one in varied}
    return {arm: base | {one: new for one, (_, new) in changed.items()} for arm, changed in changes.items()}


def rows(arms: Mapping[str, Difference], domains: Sequence[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    """Domains that some arm changes, and every arm's weights of them, which sum to 1.

    Raises SettingsError for an arm that differs in anything but its mixture from the first step on.
    """
    changes: dict[str, Changes] = {}
    for arm, difference in arms.items():
        changes[arm] = {}
        for key, pair in difference.items():
            found = place(key, pair, domains)
            if not found or found[0] != FIRST:
                why = "arms may cross late there" if found else "a search is of arms that differ in mixture alone"
                raise SettingsError(f"study.budget.race=search: must be another: the arm {arm} differs in {key}; {why}")
            changes[arm][found[1]] = (pair[0], pair[1])
    found = weights(changes, domains)
    rows = {arm: np.array(list(row.values())) for arm, row in found.items()}
    return list(next(iter(found.values()))), {arm: row / row.sum() for arm, row in rows.items()}


def first_arms(arms: int) -> int:
    """How many a search trains whole before it chooses any."""
    return min(arms, max(LEAST, math.ceil(START * arms)))


def searched(
    arms: Mapping[str, Difference], domains: Sequence[str], spend: float
) -> tuple[list[str], dict[str, np.ndarray]]:
    """`rows`, of a study that searches. Raises SettingsError, too, for too little to spend on the first arms."""
    found, count = rows(arms, domains), 1 + sum(map(bool, arms.values()))
    first = first_arms(count)
    if spend < first / count:
        why = f"a search of {count} arms, the base among them, begins with {first}"
        raise SettingsError(f"study.budget.spend={spend}: must be at least {first / count:.3g}: {why}")
    return found
