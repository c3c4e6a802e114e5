"""Runs whose outcome is known before the study, so that it can fail: declared with it, trained beside its arms.

    study.controls         runs                                        what must come out (`verdict.validity.controls`)
    null_seeds: 1          the base of the first seed, a second time   the same bits
    aa_seeds: 0            the base under so many further seeds        nothing: they show how far equal runs lie apart
    positive:              overrides that make the base worse          worse
      ["tokens*=0.75"]     (or better: `expected`), on every seed

Why these, and no more, by default. For the runs of A arms and S seeds (the base among the arms) they are:

- One null control: 1 / (A S). What is not reproducible is so in every seed, and one differing bit shows it. It is
  trained alone, without trunks, while the base of its seed grows from what the arms leave, so it proves these too.
- No further seed: the base has S of them already, and in a paired study a seed of every arm is worth more than a seed
  of the base. They are for whoever collects the noise of many studies.
- The positive control, at most .75 / A, and nothing where every arm is found to differ: then the study has shown that
  it finds effects. Where one is `equivalent` or `inconclusive`, it says what such a word is worth here.
- A quarter fewer tokens, because that is worse at any rate, size and architecture, and by an amount that matters: by
  the law of Hoffmann et al. (arXiv 2203.15556, equation 10; 410.7 / tokens^0.28 nats a token) 0.02 bits per byte at
  10^10 tokens, and more below. Half the learning rate is worse only where the rate is not too high already: in
  mix_sweep, by seed, it came to +0.028, +0.047 and -0.001, three quarters of the tokens to +0.195, +0.143 and +0.137.

With phases, the null control and the further seeds repeat the whole chain of the base. The positive control differs in
the first phase in which any arm does, so that its effect comes the same way as theirs: through all later phases.

Studies with one seed have no interval, and so no positive control; those without an arm that differs have no control.
`controls=none` refuses all.
"""

import dataclasses
from collections.abc import Callable
from functools import reduce
from typing import Any

from ablate.run.fields import find
from ablate.run.identity import difference
from ablate.run.overrides import check_own
from ablate.run.parse import unknown_key
from ablate.run.settings import Settings, SettingsError
from ablate.sweep.study import Arm, Control, Plan, inherited
from ablate.sweep.texts import settings_of_text
from ablate.verdict.evidence import AA, NULL, POSITIVE

TIMES = "*="


def with_controls(plan: Plan, compose: Callable[[str, list[str]], Settings]) -> Plan:
    """The plan with the controls that its study declares; `compose`: of the base in a phase, with further overrides.

    Raises SettingsError for a positive control that cannot be composed, that is the base, or that changes what is
    measured.
    """
    differing = [one.phase for one in plan.chain if any(_differs(arm, one.arms[0]) for arm in one.arms)]
    return _with_controls(plan, differing[0], compose) if differing else plan


def _differs(arm: Arm, base: Arm) -> bool:
    """Whether an arm may be another run than the base: by a key, or by text, which no key is yet."""
    return bool(arm.difference) or settings_of_text(arm.settings) != settings_of_text(base.settings)


def _with_controls(plan: Plan, changed: str, compose: Callable[[str, list[str]], Settings]) -> Plan:
    """`changed`: the phase in which the positive control differs from the base."""
    if plan.before:
        plan = dataclasses.replace(plan, before=_with_controls(plan.before, changed, compose))
    return dataclasses.replace(plan, controls=[*_null(plan), *_further(plan), *_positive(plan, changed, compose)])


def _null(plan: Plan) -> list[Control]:
    base, seeds = plan.arms[0].settings, tuple(plan.study.seeds[: plan.study.controls.null_seeds])
    again = dataclasses.replace(base, where=dataclasses.replace(base.where, replicate=1))
    return [Control(NULL, again, {}, seeds=seeds)] if seeds else []


def _further(plan: Plan) -> list[Control]:
    first = max(plan.study.seeds) + 1
    seeds = tuple(range(first, first + plan.study.controls.aa_seeds))
    return [Control(AA, plan.arms[0].settings, {}, seeds=seeds)] if seeds else []


def _positive(plan: Plan, changed: str, compose: Callable[[str, list[str]], Settings]) -> list[Control]:
    study, base = plan.study, plan.arms[0].settings
    if not study.controls.positive or len(study.seeds) < 2:
        return []
    if plan.phase != changed:
        return [Control(POSITIVE, base, inherited(plan.before, POSITIVE), seeds=tuple(study.seeds))]
    check_own("study.controls.positive", study.controls.positive)
    try:
        settings = compose(changed, [multiplied(override, base) for override in study.controls.positive])
    except SettingsError as error:
        raise SettingsError(f"study.controls.positive={study.controls.positive}: {error}") from None
    found = difference(base, settings)
    _check(found, study.controls.positive, base)
    return [Control(POSITIVE, dataclasses.replace(settings, where=base.where), found, seeds=tuple(study.seeds))]


def multiplied(override: str, base: Settings) -> str:
    """`tokens*=0.75` as the override that it is on top of a base; any other override as it stands."""
    key, times, factor = override.partition(TIMES)
    if not times:
        return override
    try:
        value: Any = reduce(getattr, key.split("."), base)
    except AttributeError:
        raise SettingsError(unknown_key(key)) from None
    try:
        product = value * float(factor)
        return f"{key}={round(product) if isinstance(value, int) else product!r}"
    except (TypeError, ValueError, OverflowError):
        raise SettingsError(f"{override}: must be a number's key, *= and a number; {key} is {value}") from None


def _check(changed: dict[str, Any], overrides: list[str], base: Settings) -> None:
    if not changed:
        instead = "" if base.tokens else ", as nothing is trained: [compress.to=int2] is surely worse"
        raise SettingsError(f"study.controls.positive={overrides}: must change something; this is the base{instead}")
    measured = [key for key in changed if key == "seed" or "evaluation" in find(Settings, key).moves]
    if measured:
        raise SettingsError(f"study.controls.positive={overrides}: must leave {', '.join(measured)} as in the base")
