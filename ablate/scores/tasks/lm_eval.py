"""A task of lm-eval, by its name or its YAML: its own items, asked in its own way by `scores.harness`."""

from pathlib import Path

from ablate.run.evaluate import Task
from ablate.run.fields import strict
from ablate.run.settings import SettingsError


@strict
class Options:
    """Which task."""

    task: str = ""  # as lm-eval calls it; empty: as it is called here. `path` names the YAML of one of your own


def check(key: str, task: Task, options: Options) -> None:
    """Raises SettingsError for a YAML that is not there."""
    if task.path and not Path(task.path).is_file():
        raise SettingsError(f"{key}.path={task.path}: must be the YAML file of a task of lm-eval, or empty")
