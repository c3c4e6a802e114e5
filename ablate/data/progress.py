"""What a long preparation says while it works: a bar in a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]


@contextmanager
def steps(total: int, shown: bool) -> Iterator[Say]:
    """Gives `say(what)`, to be called as each of `total` steps begins. Silent unless `shown`."""
    if not shown:
        yield lambda what: None
        return
    from rich.console import Console

    if Console().is_terminal:
        with _bar(total) as say:
            yield say
    else:
        yield lambda what: print(what, flush=True)


@contextmanager
def _bar(total: int) -> Iterator[Say]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(TextColumn("{task.description:24}"), BarColumn(), TimeElapsedColumn()) as progress:
        # One more than have begun are never done: a step is complete when the next one begins.
        task = progress.add_task("", total=total, completed=-1)
        yield lambda what: progress.update(task, advance=1, description=what)
        progress.update(task, completed=total, description="text is prepared")
