"""Why a run is not done: what an exception, an exit code or a state of Slurm means, and whether a further try may help.

of(error)           an exception, in the process that trains
of_exit(code)       a process that ended, by the launcher that started it
of_slurm(state)     a job that ended, by the launcher that submitted it
noting(record)      writes the failure of whatever stands under it into the record of the run
"""

import errno
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ablate.run.record import Record
from ablate.run.settings import UserError

CLAIMED = 75  # exit code of a process whose run another process is training (EX_TEMPFAIL)
PAUSED = 76  # exit code of a run that has come as far as it was asked to
# Outcomes after which the run is tried again, from its last checkpoint. A run that raised would raise again, and
# whoever interrupts or cancels a run means it.
RETRIED = {"killed", "hung", "out of memory", "timeout", "node fail", "boot fail", "preempted"}
# How Slurm ends a job that did not end itself, and what a person should know of it
SLURM = {
    "CANCELLED": "cancelled, by scancel or an administrator",
    "TIMEOUT": "the time limit came before a checkpoint could be saved; raise where.slurm.minutes",
    "OUT_OF_MEMORY": "Slurm killed it for its memory; raise where.slurm.memory_gb or lower where.micro_tokens",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not boot",
    "PREEMPTED": "preempted, and the partition does not requeue",
    "DEADLINE": "the job's deadline passed",
}
# torch has an error of its own for its GPU allocator alone. A plain RuntimeError is raised on CPUs by its allocator and
# oneDNN, on GPUs by the driver and cuBLAS
NO_MEMORY = (
    *("DefaultCPUAllocator", "could not create a primitive", "could not create a memory object"),
    *("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"),
)


# gloo and NCCL's watchdog, of a process that waited for where.wait_minutes
WAITED = ("Timed out waiting", "Watchdog caught collective operation timeout")


class Failure(NamedTuple):
    """Why a run is not done, as its record says it."""

    outcome: str
    reason: str

    @property
    def retry(self) -> bool:
        """Whether the run may go better another time."""
        return self.outcome in RETRIED


class Claimed(UserError):
    """Another process is training the run."""


class RanksFailed(RuntimeError):
    """Of the processes that train one run together, some have failed; `codes`: the exit codes, by rank."""

    def __init__(self, codes: Sequence[int | None]):
        super().__init__(f"a process failed; exit codes by rank: {list(codes)}")
        self.codes = codes


class RunFailed(UserError):
    """A run that failed for a reason which its record holds and which needs no traceback."""

    def __init__(self, failure: Failure):
        super().__init__(f"{failure.outcome}: {failure.reason}")
        self.failure = failure


def of(error: BaseException) -> Failure:
    """What an exception means for the run in which it was raised."""
    if isinstance(error, RunFailed):
        return error.failure
    if isinstance(error, RanksFailed) and (killed := [code for code in error.codes if code and code < 0]):
        return of_exit(killed[0])
    if isinstance(error, SystemExit):
        return Failure("interrupted", f"{_name(_number(error))}; goes on from its last checkpoint")
    if _is_out_of_memory(error):
        return Failure(
            "out of memory",
            f"a lower where.micro_tokens needs less: {first_line(error) if str(error) else 'none was left'}",
        )
    if any(text in str(error) for text in WAITED):
        return Failure("hung", f"waited where.wait_minutes for another process: {first_line(error)}")
    if isinstance(error, UserError):
        return Failure("refused", first_line(error))
    return Failure("crashed", f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__)


def first_line(error: BaseException) -> str:
    """Of the message of an error; the name of an error without one."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def of_exit(code: int) -> Failure:
    """What the exit code means of a process that left no word: negative is the signal that killed the process."""
    if code == -signal.SIGKILL:
        return Failure("killed", "SIGKILL; most often the machine was out of memory")
    return Failure("killed", _name(-code)) if code < 0 else Failure("failed", f"exit code {code}")


def of_slurm(state: str, job: str, noted: Failure | None, log: Path) -> Failure:
    """What the last state of a job means; `noted`: what the run itself has written down since the job was submitted."""
    if state in SLURM:
        return Failure(state.lower().replace("_", " "), f"job {job}: {SLURM[state]}")
    if not noted:  # killed, or never got so far as to note why
        return Failure("killed", f"job {job} said nothing ({state}); most often it was out of memory (log: {log})")
    if noted.outcome == "interrupted" and state == "FAILED":  # who cancels a job leaves the state CANCELLED
        return Failure("preempted", f"job {job}: {noted.reason}")
    return noted


def noted(record: Record) -> Failure | None:
    """The failure that a run's record holds."""
    failure = record.failure()
    return Failure(failure["outcome"], failure["reason"]) if failure else None


@contextmanager
def noting(record: Record) -> Iterator[None]:
    """Write why a try at a run failed into its record, as far as a full disk allows, and raise the error again.

    Of several processes, the first to fail tells the cause: the others fail because it is gone. A process that was
    killed tells nothing, and so counts before them all. Raises RunFailed where a traceback would not help.
    """
    try:
        yield
    except Claimed:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and _number(error) <= 0:
            raise  # an end that is no failure (PAUSED), or one that was noted already
        failure, earlier = of(error), noted(record)
        if earlier and not (isinstance(error, RanksFailed) and failure.outcome == "killed"):
            failure = earlier
        with suppress(UserError):
            record.fail(*failure)
        if isinstance(error, RanksFailed) or failure.outcome == "out of memory":
            raise RunFailed(failure) from error
        raise


def _number(stop: SystemExit) -> int:
    """The signal that a process stopped for; 0 or below where it stopped for another reason."""
    return stop.code - 128 if isinstance(stop.code, int) else 0


def _name(number: int) -> str:
    """SIGTERM; those between SIGRTMIN and SIGRTMAX have a number alone."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    names = {kind.__name__ for kind in type(error).__mro__}  # torch takes seconds to import
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or any(text in str(error) for text in NO_MEMORY)
