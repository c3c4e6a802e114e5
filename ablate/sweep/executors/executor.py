"""Who carries out the runs of a wave: one face, whatever is behind it.

executor = Local(runs, where, ways, until)    or Slurm(...); `sweep.conduct` lists them
executor.train(show)
executor.outcomes                             [Outcome(run, state="done"), Outcome(run, state="failed"), ...]
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from ablate.run.record import Record, run_record
from ablate.run.settings import Where
from ablate.sweep.study import Run
from ablate.sweep.trunk import Branch
from ablate.sweep.worker import Task


@dataclass
class Outcome:
    """What becomes of one run: waiting, running, elsewhere (another launcher trains it), paused, done or failed."""

    run: Run
    until: int | None = None  # steps after which it pauses
    state: str = "waiting"
    tries: int = 0
    saved: int = 0  # steps that were saved when a try last failed
    useful: int = 0  # tries before the last one that saved further steps: they count no more
    failures: list[str] = field(default_factory=list)  # why each try ended that failed
    waits_for: str = ""  # what keeps it from starting, if anybody says

    @property
    def in_vain(self) -> int:
        """Tries since a run last came further, the one that did among them."""
        return self.tries - self.useful

    @property
    def reason(self) -> str:
        """Why the run is not done."""
        return self.waits_for or (self.failures[-1] if self.failures else "")


@dataclass(eq=False)
class Executor(ABC):
    """By run id, `ways`: where each may start from and what it leaves; `until`: steps after which it pauses.

    `outcomes`, one a run, is always up to date, for whoever shows progress.
    """

    runs: list[Run]
    where: Where
    ways: dict[str, list[Branch]] = field(default_factory=dict)
    until: dict[str, int] = field(default_factory=dict)
    outcomes: list[Outcome] = field(init=False)

    @classmethod
    @abstractmethod
    def prepare(cls, where: Where) -> None:
        """Begin what every run will need, without waiting for it: before the plan is shown."""

    def __post_init__(self) -> None:
        self.outcomes = [Outcome(run, self.until.get(run.id)) for run in self.runs]

    def record(self, outcome: Outcome) -> Record:
        return run_record(self.where.outputs, outcome.run.id)

    def task(self, outcome: Outcome) -> Task:
        """What the process that trains the run is told."""
        run = outcome.run
        settings = dataclasses.replace(run.settings, where=dataclasses.replace(run.settings.where, progress=True))
        return Task(settings, run.corpus.folder, self.record(outcome), self.ways.get(run.id, []), outcome.until)

    def goes_on(self, outcome: Outcome) -> bool:
        """Whether a run that failed is tried again: `where.retries` times since a try last saved further steps."""
        saved = self.record(outcome).saved_step
        if saved > outcome.saved:
            outcome.saved, outcome.useful = saved, max(0, outcome.tries - 1)
        return outcome.in_vain <= self.where.retries

    @abstractmethod
    def num_held(self) -> int:
        """Runs that wait for a trunk."""

    @abstractmethod
    def train(self, show: Callable[[], None]) -> None:
        """Train what is missing; `show` is called a few times a second."""
