"""The arms of a study of factors, and proof that each factor is one thing wherever it is on.

    factors: {qk_norm: [model.qk_norm=true], relu2: [model.feed=relu2], ema: [averaging.kind=ema], ...}

    base | qk_norm+relu2+... | ema+... | ...      as many as `study.num_arms`, named by what is on

`study.grid` trains every combination of any number of levels and compares each with the base;
factors have two levels, train a fraction of the combinations and compare on with off.

A factor turned on must change the same keys to the same values in every arm. Two that touch one
key, or a group chosen by one that undoes a value of another, are refused by name: the effect
measured would be neither's.
"""

from typing import Any

from ablate.fraction import Fraction, fraction
from ablate.run.identity import difference
from ablate.run.settings import Settings, SettingsError, Study
from ablate.sweep.study import within

Change = dict[str, tuple[Any, Any]]


def design(study: Study) -> Fraction:
    return fraction(tuple(study.factors), study.num_arms, study.resolution)


def arms(study: Study) -> dict[str, list[str]]:
    """Overrides of every arm but the base, by the factors that are on: `a+c+d`; none without factors."""
    if not study.factors:
        return {}
    return {"+".join(on): [o for name in on for o in study.factors[name]] for on in design(study).arms}


def audit(study: Study, base: Settings, alone: dict[str, Settings], arms: dict[str, Settings]) -> None:
    """Raises SettingsError, naming factors and keys, unless every arm is the base and what its factors change.

    alone: the base with one factor on, by its name.
    """
    changes = {name: difference(base, settings) for name, settings in alone.items()}
    touched: dict[str, str] = {}
    for name, change in changes.items():
        if not change:
            raise SettingsError(f"study.factors.{name}: changes nothing")
        outside = [key for key in change if not any(within(key, factor) for factor in study.factor)]
        if outside:
            raise SettingsError(f"study.factors.{name}: changes what study.factor does not name: {', '.join(outside)}")
        if both := sorted(change.keys() & touched.keys()):
            raise SettingsError(f"study.factors.{name}: changes {both[0]}, which {touched[both[0]]} changes too")
        touched |= dict.fromkeys(change, name)
    for name, settings in arms.items() if alone else ():
        _check_sum(name, difference(base, settings), changes)


def _check_sum(arm: str, found: Change, changes: dict[str, Change]) -> None:
    expected = {key: values for name in arm.split("+") for key, values in changes[name].items()}
    wrong = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
    if wrong:
        values = found.get(wrong[0], (None, "as in the base"))[1], expected.get(wrong[0], (None, "as in the base"))[1]
        raise SettingsError(
            f"study.factors: together, {arm} make {wrong[0]} {values[0]}; one by one they make it {values[1]}"
        )
