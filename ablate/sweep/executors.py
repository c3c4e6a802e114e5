"""Who carries out the runs of a study: one face, and one place that lists who has it."""

from collections.abc import Callable
from typing import Protocol

from ablate.record import Record
from ablate.settings import Where
from ablate.sweep.local import Local, Outcome
from ablate.sweep.slurm import Slurm
from ablate.sweep.study import Run
from ablate.sweep.trunk import Branch


class Executor(Protocol):
    """`outcomes` is always up to date, for whoever shows progress; `workers`: runs at once."""

    where: Where
    ways: dict[str, list[Branch]]
    workers: int
    outcomes: list[Outcome]

    def record(self, outcome: Outcome) -> Record: ...

    def num_held(self) -> int:
        """Runs that wait for a trunk."""
        ...

    def train(self, show: Callable[[], None]) -> None:
        """Train what is missing; `show` is called a few times a second."""
        ...


Make = Callable[[list[Run], Where, dict[str, list[Branch]], dict[str, int]], Executor]
EXECUTORS: dict[str, Make] = {"local": Local, "slurm": Slurm}
