"""Runs on this machine, several at once, each in a process of its own.

Processes are forked from a server that has imported torch and Lightning once, so a run starts in a
fraction of a second. A run that raises, hangs, is killed or runs out of memory is an outcome: the
others go on, and what can be retried is. A run takes one of the places (`Slots`) of the GPUs, of which
each holds `where.runs_per_device` runs, or of the cores:

    two GPUs, runs_per_device=2     0: ██    1: █░     three runs; the next one goes to GPU 1
"""

import contextlib
import importlib
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import connection, forkserver
from typing import Any

from ablate.run.failures import CLAIMED, PAUSED
from ablate.run.processes import GRACE
from ablate.run.settings import UserError, Where
from ablate.sweep import claims
from ablate.sweep.executors.attempt import Attempt
from ablate.sweep.executors.executor import Executor, Outcome
from ablate.sweep.trunk import missing

# warm: all that trains a run. hydra: every process imports the command that it was started by. wandb.sdk.launch:
# W&B imports it when a run begins, half a second each time
PRELOADED = ["ablate.fit.warm", "hydra", "wandb.sdk.launch"]
POLL_SECONDS = 0.2


class Local(Executor):
    """Trains runs several at a time."""

    @classmethod
    def prepare(cls, where: Where) -> None:
        """Start the server that runs are forked from: what it imports takes seconds, on another core than the plan."""
        if where.threads:  # its children inherit it
            os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(where.threads)
        multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
        forkserver.ensure_running()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.slots = self.places()
        self.prepare(self.where)
        self.attempts: list[tuple[Any, Outcome]] = []  # an Attempt each, or what takes its place

    def places(self) -> "Slots":
        """Where runs can be."""
        return slots(self.where)

    def begin(self, outcome: Outcome, device: str) -> Any:
        """A try at a run."""
        attempt = Attempt(self.task(outcome), device, multiprocessing.get_context("forkserver"))
        with contextlib.suppress(UserError):  # taken, or the disk is full: the process finds out by itself
            claims.reserve(attempt.record, attempt.process.pid or 0, self._missing(outcome))
        return attempt

    def wait(self) -> None:
        """Until a try has ended, or for a moment."""
        connection.wait([attempt.process.sentinel for attempt, _ in self.attempts], POLL_SECONDS)

    def train(self, show: Callable[[], None]) -> None:
        """Train everything that is missing; `show` is called a few times a second. Ctrl-C saves and stops."""
        waiting = deque(self.outcomes)
        try:
            while waiting or self.attempts or self._elsewhere():
                waiting.extendleft(self._given_up())  # before those that have no checkpoint
                self._fill(waiting)
                show()
                self.wait()
                waiting.extendleft(self._collect())
        finally:
            self._stop()
        show()

    def _fill(self, waiting: deque[Outcome]) -> None:
        """Start what can be started. One launcher at a time looks and starts, so that none starts what another does."""
        if not (waiting and self.slots.free):
            return
        with claims.planning(self.where.outputs):
            for outcome in list(waiting):
                if (state := claims.state(self.record(outcome))) in ("done", "running"):
                    outcome.state = "elsewhere" if state == "running" else "done"
                    waiting.remove(outcome)
            while self.slots.free and (outcome := self._next(waiting)):
                waiting.remove(outcome)
                self._start(outcome)

    def _next(self, waiting: deque[Outcome]) -> Outcome | None:
        """The first run that need not wait for a trunk which one that is being trained, by whomever, will leave."""
        promised = self._promised()
        return next((outcome for outcome in waiting if not self._missing(outcome) & promised), None)

    def num_held(self) -> int:
        """Runs that wait for a trunk."""
        promised = self._promised()
        return sum(o.state == "waiting" and bool(self._missing(o) & promised) for o in self.outcomes)

    def _promised(self) -> set[str]:
        """Keys of the trunks to come. A run that was killed a moment ago has no claim, but will go on first."""
        goes_on = [outcome for outcome in self.outcomes if outcome.state in ("running", "elsewhere")]
        return claims.promised(self.where.outputs).union(*(self._missing(outcome) for outcome in goes_on))

    def _missing(self, outcome: Outcome) -> set[str]:
        return missing(self.record(outcome), self.where.outputs, self.ways.get(outcome.run.id, []))

    def _start(self, outcome: Outcome) -> None:
        self.attempts.append((self.begin(outcome, self.slots.take()), outcome))
        outcome.state, outcome.tries = "running", outcome.tries + 1

    def _stop(self) -> None:
        """Have all runs save and stop; one that does not is killed."""
        for attempt, _ in self.attempts:
            attempt.stop()
        deadline = time.monotonic() + GRACE
        for attempt, _ in self.attempts:
            attempt.end(max(0.0, deadline - time.monotonic()))

    def _elsewhere(self) -> list[Outcome]:
        """Runs that another launcher trains: waited for, so that the verdict has them."""
        return [outcome for outcome in self.outcomes if outcome.state == "elsewhere"]

    def _given_up(self) -> list[Outcome]:
        """Those of them that the other launcher has finished or left."""
        ended = [outcome for outcome in self._elsewhere() if claims.state(self.record(outcome)) != "running"]
        for outcome in ended:
            outcome.state = "waiting"
        return ended

    def _collect(self) -> list[Outcome]:
        """Take note of processes that ended; returns those to try again."""
        again = []
        for attempt, outcome in list(self.attempts):
            attempt.poll()
            if attempt.code is None:
                continue
            attempt.end(GRACE)
            self.attempts.remove((attempt, outcome))
            self.slots.give(attempt.device)
            self._judge(attempt, outcome)
            if outcome.state == "waiting":
                again.append(outcome)
        return again

    def _judge(self, attempt: Any, outcome: Outcome) -> None:
        """What a try that ended makes of its run."""
        record, code = attempt.record, attempt.code
        if record.done:
            outcome.state = "done"
        elif code == PAUSED:
            outcome.state = "paused"
        elif code == CLAIMED or claims.state(record) == "running":
            outcome.state = "elsewhere"
        else:
            failure = attempt.failure()
            with contextlib.suppress(UserError):  # the disk may be full, which is no reason to stop the others
                record.fail(*failure)
            outcome.failures.append(f"{failure.outcome}: {failure.reason}")
            outcome.state = "waiting" if failure.retry and self.goes_on(outcome) else "failed"


class Slots:
    """`each` places on every device; "" is the device of runs that need no GPU."""

    def __init__(self, devices: Sequence[str], each: int, limit: int = 0):
        """`limit`: of runs at once, whatever the devices hold; 0: none."""
        self.used, self.each = dict.fromkeys(devices, 0), each
        places = len(devices) * each
        self.total = min(limit, places) if limit else places

    @property
    def free(self) -> bool:
        return sum(self.used.values()) < self.total

    def take(self) -> str:
        """A place on the device that has the fewest runs."""
        device = min(self.used, key=lambda device: self.used[device])
        assert self.free, "no place is free"
        self.used[device] += 1
        return device

    def give(self, device: str) -> None:
        """Free a place that was taken."""
        assert self.used[device] > 0, f"no place on {device!r} was taken"
        self.used[device] -= 1


def slots(where: Where) -> Slots:
    """What this machine has: GPUs, `where.devices` of them for a run, or as many places as the cores hold."""
    gpus = [] if where.device == "cpu" else _gpus()
    if gpus:
        each = min(where.devices, len(gpus))
        groups = [",".join(gpus[first : first + each]) for first in range(0, len(gpus) - each + 1, each)]
        return Slots(groups, where.runs_per_device, where.workers)
    # two runs of one thread beat one of two
    cores = max(1, len(os.sched_getaffinity(0)) // (where.threads or os.cpu_count() or 1))
    return Slots([""], where.workers or cores)


def _gpus() -> list[str]:
    """Names of the GPUs that may be used; the user may have chosen among them already."""
    count = importlib.import_module("torch").cuda.device_count()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = chosen.split(",") if chosen else [str(number) for number in range(count)]
    return names[:count]
