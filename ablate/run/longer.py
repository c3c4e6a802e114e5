"""A run that goes on where another ended: the same steps first, then more.

    longer(settings, ["tokens=2e6"])     settings whose first steps are those of `settings`, to the bit

Fractions of a run move when the run gets longer, so what began within the old steps is pinned to the step that it
was. The rate goes on in a stage of its own, `schedule.stages.extended`, at the rate that the run ended with; words
such as schedule.stages.extended.decay=0.3 change that stage.
"""

import dataclasses
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from ablate.run.fields import declared
from ablate.run.parse import from_config, unknown_key
from ablate.run.settings import Moment, Settings, UserError
from ablate.run.steps import ramp_steps, steps_of

STAGE = "extended"


def longer(settings: Settings, words: list[str]) -> Settings:
    """Settings of the longer run; `words` are key=value, the new `tokens` among them. Raises UserError."""
    asked = _asked(words)
    tokens = asked.get("tokens", "...")
    if unknown := [key for key in asked if key not in declared(Settings)]:
        raise UserError(unknown_key(unknown[0]))
    if not isinstance(tokens, int | float) or not settings.tokens < tokens < 2**63:
        wanted = "given, above" if tokens == "..." else "a number above"
        raise UserError(f"tokens={tokens}: must be {wanted} the {settings.tokens:,} that the run has read")
    plain: dict[str, Any] = dataclasses.asdict(settings)
    plain |= {"where": plain["where"] | {"arm": "", "replicate": 0}, "study": {"metric": settings.study.metric}}
    plain["ramp"]["starts"] = _ramp_starts(settings, tokens)
    total = sum(ramp_steps(settings.ramp.multiples, plain["ramp"]["starts"], int(tokens), settings.step_tokens))

    def pinned(moment: Moment) -> Moment:
        step = steps_of(moment, settings.steps)
        return step if step != 1 else 1 / total  # a moment of 1 would be the whole run

    for stage in (*plain["mixture"]["stages"].values(), *plain["schedule"]["stages"].values()):
        stage["start"] = pinned(stage["start"])
    plain["length"]["starts"] = [pinned(start) for start in settings.length.starts]
    plain["averaging"]["start"] = pinned(settings.averaging.start)
    if settings.trouble.kind != "none":
        plain["trouble"]["start"] = pinned(settings.trouble.start)
    if settings.insert.asks:
        plain["insert"] |= {name: pinned(getattr(settings.insert, name)) for name in ("start", "stop")}
    plain["optimizer"]["lerac"]["until"] = pinned(settings.optimizer.lerac.until)
    name = STAGE
    while name in plain["schedule"]["stages"]:  # the run was extended before
        name = f"{name}_more"
    plain["schedule"]["stages"][name] = {"start": pinned(settings.steps), **_as_it_ended(settings)}
    found = from_config(cast(DictConfig, OmegaConf.merge(plain, asked)))
    if not found.schedule.stages[name].peak:
        raise UserError(f"the rate of the run ended at 0: give schedule.stages.{name}.peak=..., times optimizer.lr")
    return found


def _asked(words: list[str]) -> dict[str, Any]:
    """key=value as nested plain data."""
    for word in words:
        if "=" not in word.lstrip("="):
            raise UserError(f"{word}: must be a setting and its value, key=value")
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist([word.lstrip("+") for word in words]))  # pyrefly: ignore
    except YAMLError as error:
        raise UserError(" ".join(str(error).split())) from None


def _ramp_starts(settings: Settings, tokens: float) -> list[float]:
    """When the stages of the batch began, in steps; after a single step, as the part of the tokens that it read."""
    steps = ramp_steps(settings.ramp.multiples, settings.ramp.starts, settings.tokens, settings.step_tokens)
    starts = [sum(steps[:stage]) for stage in range(len(steps))]
    return [settings.ramp.multiples[0] * settings.step_tokens / tokens if start == 1 else start for start in starts]


def _as_it_ended(settings: Settings) -> dict[str, float]:
    """The rate and the weight decay of the last step, as multiples of the optimizer's."""
    later = sorted(settings.schedule.stages.values(), key=lambda stage: steps_of(stage.start, settings.steps))
    last = later[-1] if later else settings.schedule
    peak, decay = (later[-1].peak, later[-1].weight_decay) if later else (1.0, 1.0)
    return {"peak": peak * (last.final if last.decay else 1.0), "weight_decay": decay}
