"""One try at one run: its process, the device it was given, what it says when it fails, and its pulse.

A run is hung when it took no step for `where.stall_minutes`. It is asked to stop, and killed when it
does not within `GRACE` seconds; nobody waits for it meanwhile.
"""

import contextlib
import time
from multiprocessing.context import ForkServerContext

from ablate.run import failures
from ablate.run.failures import Failure
from ablate.run.processes import GRACE
from ablate.run.record import Record
from ablate.run.settings import Where
from ablate.sweep.worker import Task, work

FIRST_STEP = 3  # times the patience until the first step is done: before it come imports, data and compilation


class Attempt:
    """Starts at once."""

    def __init__(self, task: Task, device: str, context: ForkServerContext):
        self.where, self.record, self.device = task.settings.where, task.record, device
        self.said, says = context.Pipe(duplex=False)
        self.first, self.pulse = self.record.pulse(), Pulse(self.record)
        # what the process must find before it first speaks to CUDA
        environment = {"CUDA_VISIBLE_DEVICES": device} if device else {}
        arguments = (task, environment, says)
        self.process = context.Process(target=work, args=arguments, name=self.record.id)
        self.process.start()
        says.close()
        self.hung = ""  # the reason, once it was found to hang
        self.killed_at = 0.0

    def poll(self) -> None:
        """Stop the process if it hangs."""
        if self.hung:
            if time.monotonic() > self.killed_at:
                self.process.kill()
            return
        silent = self.pulse.silent()
        first = self.record.pulse() == self.first or self.record.begins_again
        patience = patience_of(self.where) * (FIRST_STEP if first else 1)
        if patience and silent > patience:
            self.hung = f"no step for {_duration(silent)}"
            self.killed_at = time.monotonic() + GRACE
            self.process.terminate()

    @property
    def code(self) -> int | None:
        """The exit code; None while the process runs."""
        return self.process.exitcode

    def stop(self) -> None:
        """Have the process save and end."""
        self.process.terminate()

    def end(self, seconds: float) -> None:
        """Wait so long for a process that has ended or was asked to; then it is killed."""
        self.process.join(seconds)
        self.process.kill()
        self.process.join()

    def failure(self) -> Failure:
        """Why the process ended without a result: as we saw it, as it said or noted it, or as its exit code tells."""
        code = self.process.exitcode or 0
        if self.hung:
            return Failure("hung", self.hung)
        if code < 0:
            return failures.of_exit(code)
        with contextlib.suppress(EOFError):
            if self.said.poll():
                return self.said.recv()
        return failures.noted(self.record) or failures.of_exit(code)


class Pulse:
    """For how long a run has shown no sign of progress. A machine that sleeps stops the clock too."""

    def __init__(self, record: Record):
        self.record, self.last, self.at = record, record.pulse(), time.monotonic()

    def silent(self) -> float:
        """Seconds since the last sign."""
        now, at = self.record.pulse(), time.monotonic()
        if now != self.last:
            self.last, self.at = now, at
        return at - self.at


def patience_of(where: Where) -> float:
    """Seconds without a step that are borne; 0: any number."""
    return where.stall_minutes * 60


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
