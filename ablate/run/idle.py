"""Settings that someone typed, and that do nothing beside the others: in one line, with what they need.

    averaging.decay=0.9                         averaging.kind=ema
    averaging.decay=0.9 averaging.kind=ema      has it

Only typed ones are asked: a group of conf/ may say what another choice needs. Of a study, one arm that needs a setting
is enough. What `run.checks` refuses whoever said it does not stand here.
"""

from collections.abc import Callable, Sequence

from ablate.run.fields import below
from ablate.run.overrides import key_of
from ablate.run.settings import Settings, SettingsError

Acts = Callable[[Settings], bool]


def _levels(least: int) -> Acts:
    return lambda s: max(s.data.level.values(), default=0) >= least


def _mixers_beside(letters: str) -> Acts:
    """Whether another mixer is there than these, which do not read the key; one of the user's own may."""
    return lambda s: bool(set(s.model.pattern) - set(letters))


def _on_slurm(s: Settings) -> bool:
    return s.where.executor == "slurm"


def _elsewhere(s: Settings) -> bool:
    return s.where.executor != "local"


def _clips(s: Settings) -> bool:
    of = {"zclip": s.optimizer.zclip, "adagc": s.optimizer.adagc}.get(s.optimizer.clipping)
    return of is None or of.warmup < s.steps


OF_MIRROR = [f"where.wandb_{name}" for name in ("alerts", "entity", "notes", "system", "tags")]
# Keys, or groups, that others must want: what is missing, and whether it is there
NEEDS: dict[str, tuple[str, Acts]] = {
    "averaging.decay": ("averaging.kind=ema", lambda s: s.averaging.kind == "ema"),
    "averaging.start": ("averaging.kind=uniform or ema", lambda s: s.averaging.kind != "none"),
    "corpus.allow": ("data.level of 2 or more", _levels(2)),
    "corpus.bounds": ("data.level of 2 or more", _levels(2)),
    "corpus.rules": ("data.level of 2 or more", _levels(2)),
    "corpus.score": ("data.level of 3 or more", _levels(3)),
    "corpus.teacher": ("data.level of 4 or more", _levels(4)),
    "data.columns": ("data.source=folder or hub", lambda s: s.data.source not in ("installed", "shards")),
    "data.root": ("data.source=folder or shards", lambda s: s.data.source not in ("installed", "hub")),
    "data.verify": ("data.source=shards", lambda s: s.data.source == "shards"),
    "evaluate.sample_tokens": ("evaluate.samples", lambda s: bool(s.evaluate.samples)),
    "length.constant": ("several length.lengths", lambda s: len(s.length.lengths) > 1),
    "mixture.adapted": ("mixture.adapt", lambda s: s.mixture.adapt != "none"),
    "model.latent": ("an L in model.pattern", _mixers_beside("AM")),
    "model.mamba": ("an M in model.pattern", _mixers_beside("AL")),
    "model.qk_norm": ("an A in model.pattern", _mixers_beside("LM")),
    "model.rope_theta": ("an A or L in model.pattern", _mixers_beside("M")),
    "optimizer": ("tokens above 0", lambda s: s.tokens > 0),
    "optimizer.clipping": ("more steps than its warmup", _clips),
    "optimizer.lerac.until": ("optimizer.lerac.lowest below 1", lambda s: s.optimizer.lerac.lowest < 1),
    "optimizer.momentum": ("optimizer=muon", lambda s: not s.optimizer.name.startswith("adamw")),
    "schedule": ("tokens above 0", lambda s: s.tokens > 0),
    "schedule.final": ("schedule.decay above 0", lambda s: s.schedule.decay > 0),
    "schedule.shape": ("schedule.decay above 0", lambda s: s.schedule.decay > 0),
    "study.budget.futility": ("study.budget.race", lambda s: s.study.budget.race != "none"),
    "study.budget.keep": ("study.budget.race", lambda s: s.study.budget.race != "none"),
    "study.controls.expected": ("study.controls.positive", lambda s: bool(s.study.controls.positive)),
    "study.judge": ("study.phases", lambda s: bool(s.study.phases)),
    **dict.fromkeys(OF_MIRROR, ("where.wandb=online or offline", lambda s: s.where.wandb != "off")),
    "where.command": ("where.executor=command", lambda s: s.where.executor == "command"),
    "where.wait_minutes": ("where.strategy of several processes", lambda s: s.where.strategy != "single"),
    "where.slurm": ("where.executor=slurm", _on_slurm),
}
# Likewise of a run that no study asks for
NEEDS_ALONE: dict[str, tuple[str, Acts]] = {
    "where.retries": ("-m or where.executor=slurm or command", _elsewhere),
    "where.runs_per_device": ("-m or where.micro_tokens=0", lambda s: s.where.micro_tokens == 0),
    "where.slurm.at_once": ("-m", lambda _: False),
    "where.stall_minutes": ("-m or where.executor=slurm or command", _elsewhere),
    "where.workers": ("-m", lambda _: False),
}


def check_acts(words: Sequence[str], *settings: Settings, of: str = "", alone: bool = False) -> None:
    """Raises SettingsError for the first of the overrides that does nothing in any of the settings; `of`: whose.

    alone: the settings are of one run that no study asks for.
    """
    table = NEEDS | (NEEDS_ALONE if alone else {})
    for word in words:
        for needed, acts in (table[key] for key in table if below(key_of(word), key)):
            if not any(acts(one) for one in settings):
                raise SettingsError(f"{of}{word}: does nothing without {needed}")
