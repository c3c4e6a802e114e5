"""Runs on this machine, several at once, each in a process of its own.

Processes are forked from a server that has imported torch and Lightning once, so a run starts in a
fraction of a second. A run that raises, is killed or runs out of memory is an outcome: the others go
on, and what can be retried is.
"""

import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess

from ablate.processes import GRACE
from ablate.record import Record, run_record
from ablate.settings import Where
from ablate.sweep.ledger import state
from ablate.sweep.study import Run
from ablate.sweep.trunk import Branch, growth
from ablate.sweep.worker import CLAIMED, work

# hydra: every process imports the command that it was started by. wandb.sdk.launch: W&B imports it when
# a run begins, half a second each time
PRELOADED = ["ablate.fit.run", "hydra", "wandb.sdk.launch"]
POLL_SECONDS = 0.2


@dataclasses.dataclass
class Outcome:
    """What becomes of one run: waiting, running, elsewhere (another launcher trains it), done or failed."""

    run: Run
    state: str = "waiting"
    reason: str = ""
    tries: int = 0


def num_workers(where: Where) -> int:
    """Runs at once: as asked, or as many as the cores hold (two runs of one thread beat one of two)."""
    return where.workers or max(1, len(os.sched_getaffinity(0)) // (where.threads or os.cpu_count() or 1))


class Local:
    """Trains runs `workers` at a time; `outcomes` is always up to date, for whoever shows progress."""

    def __init__(self, runs: list[Run], where: Where, ways: dict[str, list[Branch]] | None = None):
        """`ways`: of each run by its id, where it may start from and what it leaves for others."""
        self.where, self.ways = where, ways or {}
        self.workers = num_workers(where)
        self.outcomes = [Outcome(run) for run in runs]
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)
        self.processes: dict[BaseProcess, Outcome] = {}

    def record(self, outcome: Outcome) -> Record:
        return run_record(self.where.outputs, outcome.run.id)

    def train(self, show: Callable[[], None]) -> None:
        """Train everything that is missing; `show` is called a few times a second. Ctrl-C saves and stops."""
        if self.where.threads:  # before the server starts: its children inherit it
            os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(self.where.threads)
        waiting = deque(self.outcomes)
        try:
            while waiting or self.processes or self._elsewhere():
                waiting.extend(self._given_up())
                while len(self.processes) < self.workers and (free := self._next(waiting)):
                    waiting.remove(free)
                    self._start(free)
                show()
                multiprocessing.connection.wait([p.sentinel for p in self.processes], timeout=POLL_SECONDS)
                waiting.extendleft(self._collect())
        finally:
            self._stop()
        show()

    def _next(self, waiting: Iterable[Outcome]) -> Outcome | None:
        """The first run that need not wait for a trunk which one that is being trained will leave."""
        promised = self._promised()
        return next((o for o in waiting if not self._missing(o.run.id) & promised), None)

    def num_held(self) -> int:
        """Runs that wait for a trunk."""
        promised = self._promised()
        return sum(o.state == "waiting" and bool(self._missing(o.run.id) & promised) for o in self.outcomes)

    def _promised(self) -> set[str]:
        """Keys of the trunks that runs in training have left or will leave."""
        busy = [outcome for outcome in self.outcomes if outcome.state in ("running", "elsewhere")]
        return {branch.key for outcome in busy for branch in self.ways.get(outcome.run.id, [])}

    def _missing(self, run: str) -> set[str]:
        """Keys of the trunks on a run's way after the last one that is there."""
        leave = growth(self.where.outputs, self.ways.get(run, [])).leave
        return {trunk.key for trunk in leave.values()}

    def _start(self, outcome: Outcome) -> None:
        record = self.record(outcome)
        if record.done:
            outcome.state = "done"
            return
        settings = dataclasses.replace(outcome.run.settings.where, progress=True)
        settings = dataclasses.replace(outcome.run.settings, where=settings)
        process = self.context.Process(
            target=work, args=(settings, record.folder, self.ways.get(outcome.run.id)), name=outcome.run.id
        )
        process.start()
        outcome.state, outcome.tries = "running", outcome.tries + 1
        self.processes[process] = outcome

    def _elsewhere(self) -> list[Outcome]:
        """Runs that another launcher trains: waited for, so that the verdict has them."""
        return [outcome for outcome in self.outcomes if outcome.state == "elsewhere"]

    def _given_up(self) -> list[Outcome]:
        """Those of them that the other launcher has finished or left."""
        ended = [outcome for outcome in self._elsewhere() if state(self.record(outcome)) != "running"]
        for outcome in ended:
            outcome.state = "waiting"
        return ended

    def _collect(self) -> list[Outcome]:
        """Take note of processes that ended; returns those to try again."""
        again = []
        for process in [p for p in self.processes if p.exitcode is not None]:
            outcome = self.processes.pop(process)
            process.join()
            outcome.state, outcome.reason = self._judge(self.record(outcome), process.exitcode or 0)
            if outcome.state == "failed" and self._worth_retrying(outcome, process.exitcode or 0):
                outcome.state = "waiting"
                again.append(outcome)
        return again

    def _judge(self, record: Record, code: int) -> tuple[str, str]:
        if record.done:
            return "done", ""
        if code == CLAIMED or state(record) == "running":
            return "elsewhere", "another launcher is training it"
        if code == -signal.SIGKILL:
            record.fail("killed", "SIGKILL; most often the machine was out of memory")
        elif code < 0:
            record.fail("killed", signal.Signals(-code).name)
        failure = record.failure() or {"outcome": "failed", "reason": f"exit code {code}"}
        return "failed", f"{failure['outcome']}: {failure['reason']}"

    def _worth_retrying(self, outcome: Outcome, code: int) -> bool:
        """A killed run may go on from its checkpoint; one that raised would raise again."""
        return code < 0 and outcome.tries <= self.where.retries

    def _stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(GRACE)
            process.kill()
