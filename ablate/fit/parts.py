"""The parts of a run, looked up where they are: each name in the settings must be in the dict of its room.

Nothing here loads torch: a mistake is one line before anything is prepared or written.
"""

import importlib

from ablate.corpus import levels
from ablate.data import text
from ablate.fit import callbacks, objectives, optimizer
from ablate.model import mixers
from ablate.plan import schedule
from ablate.run import parts
from ablate.run.compress import NONE
from ablate.run.settings import Settings, SettingsError
from ablate.scores import metrics
from ablate.scores.tasks import table


def check(settings: Settings) -> None:
    """Import the user's own modules. Raises SettingsError for a part that there is not."""
    parts.load(settings.where.imports)
    schedule.check(settings.schedule)
    text.check(settings.data)
    levels.check(settings)
    mixers.check(settings.model, settings.size)
    optimizer.check(settings.optimizer)
    objectives.check(settings)
    metrics.check(settings)
    table.check(settings)
    _check_unread(settings)
    callbacks.own(settings.where)
    if settings.compress.to != NONE:  # loads torch, as the look at the weights that are made smaller will
        importlib.import_module("ablate.fit.smaller").check(settings)


def _check_unread(settings: Settings) -> None:
    """No metric of a task that is made of all held-out text, where weights are computed from losses on some of it."""
    name, tasks = settings.study.metric, settings.evaluate.tasks
    asked = metrics.metric_of(name, settings.data.domains).asked if settings.mixture.adapt != "none" else None
    if asked and table.KINDS[tasks[asked.task].kind].reads == "domains":
        allowed = "another with mixture.adapt: its task is made of all held-out text, and the rule has read some of it"
        raise SettingsError(f"study.metric={name}: must be {allowed}")
