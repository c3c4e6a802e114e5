"""Runs carried out by a line of the user's shell each: on another machine, in a container, by a cloud's launcher.

    where.command="ssh node7 {quoted}"                        waits for the run
    where.command="sky jobs launch -y -d -n {id} {quoted}"    returns at once; somebody begins the run later
    where.command="kubectl run {id} --image me/ablate --restart Never -- python -m ablate.sweep.executors.one {file}"

The launcher reads of a run only its record, in `outputs`, which both must see. A line that returned without an error
has handed the run over: it is waited for until somebody claims it, and from then on while its owner lives.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from ablate.run import failures, files
from ablate.run.failures import PAUSED, Failure
from ablate.run.settings import Where
from ablate.sweep import claims
from ablate.sweep.executors import one
from ablate.sweep.executors.attempt import Pulse, patience_of
from ablate.sweep.executors.executor import Outcome
from ablate.sweep.executors.local import POLL_SECONDS, Local, Slots
from ablate.sweep.worker import Task

BEGINS = 3  # times the patience until somebody begins a run that was handed over
AT_ONCE = 4096  # lines at once where no number is asked for


class Command(Local):
    """As `Local`, by other hands."""

    @classmethod
    def prepare(cls, where: Where) -> None:
        """Nothing here: who trains imports where it runs."""

    def places(self) -> Slots:
        return Slots([""], self.where.workers or AT_ONCE)

    def begin(self, outcome: Outcome, device: str) -> "Handed":
        return Handed(self.task(outcome), outcome.run.name, self.where)

    def wait(self) -> None:
        time.sleep(POLL_SECONDS)


class Handed:
    """One try at a run: the line of the shell, and what the record shows since."""

    device = ""

    def __init__(self, task: Task, name: str, where: Where):
        self.task, self.record, self.where = task, task.record, where
        self.log = self.record.folder / "command.txt"
        files.make_own(self.record.folder)
        self.record.try_again()  # a failure that is noted from now on is of this try
        line = line_of(where.command, one.write(task), self.record.id, f"{name} s{task.settings.seed}")
        self.pulse, self.begun, self.hung = Pulse(self.record), False, ""
        self.before = claims.owner_of(self.record)  # of the last try, who may take a moment to die
        with files.writing(self.log), self.log.open("wb") as log:
            options = {"stdout": log, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
            self.process = subprocess.Popen(["bash", "-c", line], start_new_session=True, **options)

    def poll(self) -> None:
        """Take note of whether somebody trains the run, and of one that hangs."""
        self.begun = self.begun or (
            claims.state(self.record) == "running" and claims.owner_of(self.record) != self.before
        )
        patience, silent = patience_of(self.where) * (1 if self.begun else BEGINS), self.pulse.silent()
        if patience and silent > patience and not self.hung:
            self.hung = f"no step for {silent / 60:.0f} min" if self.begun else "nobody has begun the run"
            self.stop()

    @property
    def code(self) -> int | None:
        """As a process's exit code: None while the line runs, or after it while the run is awaited or trained."""
        code = self.process.poll()
        if code is None or self.record.done:
            return code
        if self.task.until and self.record.saved_step >= self.task.until:
            return PAUSED
        if code or self.hung or self.record.failure():
            return code or 1
        if not self.begun or claims.state(self.record) == "running":
            return None
        return 0 if self.record.done else -signal.SIGKILL  # the result is there before the claim is let go

    def failure(self) -> Failure:
        """Why the run is not done."""
        if self.hung:
            return Failure("hung", self.hung)
        if noted := failures.noted(self.record):
            return noted
        if code := self.process.returncode:
            said = (self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            # a signal, as Python or a shell tells it; 255: ssh lost its connection
            outcome = "killed" if code < 0 or code > 128 else "failed"
            return Failure(outcome, f"where.command ended with exit code {code}: {said}")
        return Failure("killed", "who trained it is gone, and left no word")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to a line that still runs, and to all that it has started; what was handed over goes on."""
        with contextlib.suppress(ProcessLookupError):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)

    def end(self, seconds: float) -> None:
        """Wait so long for a line that was asked to stop; then it is killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.stop(signal.SIGKILL)
        self.process.wait()


def line_of(template: str, file: Path, id: str, name: str) -> str:
    """The line of the shell. Every part that is put in is one word of it, or a whole command."""
    words = [sys.executable, "-m", one.__name__, str(file)]
    run = shlex.join(["sh", "-c", f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(words)}"])
    parts = {"file": shlex.quote(str(file)), "id": shlex.quote(id), "name": shlex.quote(name)}
    return template.format(run=run, quoted=shlex.quote(run), **parts)
