"""A task of lm-eval, by its name or its YAML: its own items, asked in its own way by `scores.harness`."""

from pathlib import Path

from ablate.run.evaluate import Task
from ablate.run.fields import strict
from ablate.run.settings import SettingsError


@strict
class Options:
    """Which task. `path` names the YAML of one of your own."""

    task: str = ""  # as lm-eval calls it; empty: as it is called here
    data: str = ""  # a folder of your own that is laid out like the hub: <dataset>[/<configuration>]/<split>.jsonl


def check(key: str, task: Task, options: Options) -> None:
    """Raises SettingsError for a YAML or a folder that is not there."""
    if task.path and not Path(task.path).is_file():
        raise SettingsError(f"{key}.path={task.path}: must be the YAML file of a task of lm-eval, or empty")
    if options.data and not Path(options.data).is_dir():
        raise SettingsError(f"{key}.options.data={options.data}: must be a folder of data, or empty")
