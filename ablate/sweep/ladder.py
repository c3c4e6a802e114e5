"""A ladder as the studies that it consists of, from small to large: each is planned, trained and judged as any other.

study.ladder: {sizes: [pico, nano, micro], tokens_per_parameter: 20, rates: [0.5, 1, 2]}

mix_sweep_pico_lr0.5  mix_sweep_pico  mix_sweep_pico_lr2  mix_sweep_nano_lr0.5 ...
"""

import importlib
from collections.abc import Callable

from ablate.run.overrides import key_of
from ablate.run.rungs import Rung, rungs
from ablate.run.settings import Settings, SettingsError
from ablate.sweep.contrast import within

Jobs = list[list[str]]
Compose = Callable[[list[str]], Settings]


def studies_of(jobs: Jobs, compose: Compose) -> list[Jobs]:
    """The combinations of each study; those given, alone, without a ladder. Raises SettingsError."""
    common = [one for one in jobs[0] if all(one in job for job in jobs)]
    base = compose(common)
    found = rungs(base.study.ladder)
    if not found:
        return [jobs]
    _check(base, {key_of(word) for job in jobs for word in job if word not in common}, set(map(key_of, common)))
    return [_jobs_of(jobs, _overrides(base, rung, common, compose)) for rung in found]


def _jobs_of(jobs: Jobs, overrides: list[str]) -> Jobs:
    """The combinations of one rung: its overrides in the place of others of the same keys."""
    keys = set(map(key_of, overrides))
    return [[*(word for word in job if key_of(word) not in keys), *overrides] for job in jobs]


def _overrides(base: Settings, rung: Rung, common: list[str], compose: Compose) -> list[str]:
    """What makes the study a rung."""
    of_size = [f"size={rung.size}"] if rung.size else []
    found, there = [*of_size, f"study.name={base.study.name}{rung.suffix}"], compose([*common, *of_size])
    if each := base.study.ladder.tokens_per_parameter:
        budget = importlib.import_module("ablate.model.budget")  # loads torch
        steps = round(each * budget.of(there).parameters / base.step_tokens)
        found.append(f"tokens={max(steps, 1) * base.step_tokens}")
    if rung.rate != 1:
        found.append(f"optimizer.lr={there.optimizer.lr * rung.rate!r}")
    return found


def _check(base: Settings, swept: set[str], given: set[str]) -> None:
    """A ladder sets the size and the tokens, and multiplies the rate: no arm, phase or word of the command line may.
    swept, given: keys that differ between the combinations, and keys that do not. Raises SettingsError."""
    ladder, study = base.study.ladder, base.study
    if not study.name:
        raise SettingsError("study.ladder: needs study.name, which its studies are named after")
    sets = {
        "size": bool(ladder.sizes),
        "tokens": ladder.tokens_per_parameter > 0,
        "optimizer.lr": len(ladder.rates) > 1,
    }
    for key in (key for key, does in sets.items() if does):
        if any(within(key, factor) or within(factor, key) for factor in study.factor):
            raise SettingsError(f"study.ladder: sets {key}, which arms may change (study.factor)")
        if key in swept or (key in given and key != "optimizer.lr"):  # a given rate is the one that is multiplied
            raise SettingsError(f"{key}: is set by study.ladder")
    if like := [one.suffix for one in rungs(ladder) if one.suffix and study.name.endswith(one.suffix)]:
        raise SettingsError(f"study.name={study.name}: must not end like one of its studies, in {like[0]}")
    if study.phases and (ladder.tokens_per_parameter or len(ladder.rates) > 1):
        raise SettingsError("study.ladder: must be of sizes alone with study.phases, which have tokens and rates")
