"""The probes of questions that are answered inside one run (`run.questions`): all of a table, those of controls too.

The source of a control is the question whose form it has."""

from ablate.run.evaluate import Task
from ablate.run.fields import NotNegative, strict
from ablate.run.questions import questions
from ablate.run.settings import SettingsError
from ablate.scores.items import Item
from ablate.scores.tasks.making import Text


@strict
class Options:
    """What there is in place of a file."""

    made: NotNegative = 0  # made-up facts, as `insert.made` has them


def check(key: str, task: Task, options: Options) -> None:
    """Raises SettingsError for no questions, or two tables of them."""
    if bool(task.sha256) == bool(options.made):
        raise SettingsError(f"{key}.path={task.path}: must be a file of questions, or empty with options.made")
    if task.shots:
        raise SettingsError(f"{key}.shots={task.shots}: must be 0, for a solved question would tell of others")


def make(task: Task, options: Options, text: Text, wanted: int) -> list[Item]:
    """Raises UserError for a table that will not do."""
    asked, controls = questions(task.path, task.sha256, options.made)
    return [Item(one.name, one.like or one.name, one.prompt, (one.answer,), 0) for one in (*asked, *controls)]
