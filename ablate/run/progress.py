"""How far something has come: a bar in a terminal, plain lines elsewhere. What a run prints, below `page`, is here.

with Progress(48, shown=True, unit="step") as progress:
    progress.at(24, "loss 5.812")       step 24/48  loss 5.812      a plain line at every tenth
    progress.tell("macro 2.9")          a line of its own, above the bar
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

PLAIN_LINES = 10  # of `at`, in all
LIVE_SECONDS, PLAIN_SECONDS = 2.0, 60.0  # between two of `while_waiting`


class Progress:
    """Of `total` units; silent unless `shown`."""

    def __init__(self, total: int, shown: bool, unit: str):
        self.total, self.shown, self.unit = total, shown, unit
        self.done = self.told = 0
        self.live = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        if not self.shown:
            return
        # rich takes a tenth of a second to import, which a silent run should not wait for
        from rich import progress

        columns = (progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn())
        self.bar = progress.Progress(progress.TextColumn("{task.description}"), *columns, transient=True)
        self.live = self.bar.console.is_terminal
        if self.live:
            self.bar.start()
            self.task = self.bar.add_task("", total=self.total)

    def at(self, done: int, text: str) -> None:
        """So many units are done."""
        self.done = done
        if self.live:
            self.bar.update(self.task, completed=done, description=text)
        elif done * PLAIN_LINES // self.total > self.told:
            self.told = done * PLAIN_LINES // self.total
            self.tell(f"{self.unit} {done}/{self.total}  {text}")

    @contextmanager
    def while_waiting(self, say: Callable[[], str]) -> Iterator[None]:
        """Show every now and then what `say` has to say, while a unit takes long; in plain lines once a minute."""
        ended = threading.Event()

        def repeat() -> None:
            while not ended.wait(LIVE_SECONDS if self.live else PLAIN_SECONDS):
                self.at(self.done, say()) if self.live else self.tell(say())

        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def begin(self, text: str) -> None:
        """The next unit begins; each has a plain line."""
        self.told = -1
        self.at(self.done + 1, text)

    def tell(self, text: str) -> None:
        if self.live:
            self.bar.console.print(text, markup=False, highlight=False)
        elif self.shown:
            print(text, flush=True)

    def stop(self) -> None:
        if self.live:
            self.bar.stop()
