"""What ended a run, in words, and whether another try may help."""

import errno
import signal
from pathlib import Path

import pytest

from ablate.run import failures
from ablate.run.failures import CLAIMED, PAUSED, Claimed, Failure, RanksFailed, RunFailed, noting
from ablate.run.record import Record
from ablate.run.settings import UserError


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


RANKS = "RanksFailed: a process failed; exit codes by rank: [1, 143]"
EXCEPTIONS = {
    "bug": (IndexError("3\nand more"), "crashed", "IndexError: 3", False),
    "user": (UserError("tokens=1: must be more"), "refused", "tokens=1: must be more", False),
    "disk": (OSError(errno.EACCES, "no"), "crashed", "PermissionError: [Errno 13] no", False),
    "memory": (MemoryError(), "out of memory", "a lower where.micro_tokens needs less: none was left", True),
    "GPU": (OutOfMemoryError("CUDA"), "out of memory", "a lower where.micro_tokens needs less: CUDA", True),
    "CPU": (
        RuntimeError("DefaultCPUAllocator: no"),
        "out of memory",
        "a lower where.micro_tokens needs less: DefaultCPUAllocator: no",
        True,
    ),
    "driver": (
        RuntimeError("CUDA error: out of memory\nand more"),
        "out of memory",
        "a lower where.micro_tokens needs less: CUDA error: out of memory",
        True,
    ),
    "another process": (
        RuntimeError("[unbound_buffer.cc:84] Timed out waiting 1000ms for recv operation to complete"),
        "hung",
        "waited where.wait_minutes for another process: "
        "[unbound_buffer.cc:84] Timed out waiting 1000ms for recv operation to complete",
        True,
    ),
    "fork": (
        OSError(errno.ENOMEM, "no"),
        "out of memory",
        "a lower where.micro_tokens needs less: [Errno 12] no",
        True,
    ),
    "stopped": (SystemExit(143), "interrupted", "SIGTERM; goes on from its last checkpoint", False),
    "stopped for no signal that has a name": (
        SystemExit(255),
        "interrupted",
        "signal 127; goes on from its last checkpoint",
        False,
    ),
    "a rank raised": (RanksFailed([1, 143]), "crashed", RANKS, False),
    "a rank was killed": (RanksFailed([143, -9]), "killed", "SIGKILL; most often the machine was out of memory", True),
}


@pytest.mark.parametrize(("error", "outcome", "reason", "retry"), EXCEPTIONS.values(), ids=EXCEPTIONS)
def test_what_an_exception_means(error, outcome, reason, retry):
    failure = failures.of(error)
    assert (failure.outcome, failure.reason, failure.retry) == (outcome, reason, retry)


def test_what_an_exit_code_means():
    assert failures.of_exit(-signal.SIGKILL) == ("killed", "SIGKILL; most often the machine was out of memory")
    assert failures.of_exit(-signal.SIGSEGV) == ("killed", "SIGSEGV")
    assert failures.of_exit(-40) == ("killed", "signal 40")  # a real-time one
    assert failures.of_exit(3) == ("failed", "exit code 3")
    assert [failures.of_exit(code).retry for code in (-9, 3)] == [True, False]


STATES = {
    "TIMEOUT": (None, "timeout", True),
    "CANCELLED": (Failure("interrupted", "SIGTERM"), "cancelled", False),
    "NODE_FAIL": (None, "node fail", True),
    "FAILED": (None, "killed", True),
    "FAILED, with a word": (Failure("crashed", "IndexError"), "crashed", False),
    "FAILED, interrupted": (Failure("interrupted", "SIGTERM"), "preempted", True),
    "": (None, "killed", True),
}


@pytest.mark.parametrize("state", STATES)
def test_what_a_state_of_slurm_means(state):
    noted, outcome, retry = STATES[state]
    failure = failures.of_slurm(state.split(",")[0], "7", noted, Path("log"))
    assert (failure.outcome, failure.retry) == (outcome, retry)
    assert "job 7" in failure.reason or failure is noted


def failed(record: Record, *errors: BaseException) -> dict[str, str] | None:
    """What a record holds after some processes of a run have failed, one after the other."""
    for error in errors:
        with pytest.raises((type(error), RunFailed)), noting(record):
            raise error
    return record.failure()


def test_of_several_processes_the_first_tells_the_cause(tmp_path):
    record = Record(tmp_path)
    told = failed(record, IndexError("3"), SystemExit(143), RanksFailed([143, 1]))
    assert told == {"outcome": "crashed", "reason": "IndexError: 3"}
    record.try_again()
    assert record.failure() is None
    # the process that was killed could not tell; the others were then asked to stop
    assert (failed(record, SystemExit(143), RanksFailed([-9, 143])) or {})["outcome"] == "killed"


def test_what_a_rank_noted_is_what_its_run_raises(tmp_path):
    with (
        pytest.raises(RunFailed, match=r"^out of memory: a lower where\.micro_tokens needs less"),
        noting(Record(tmp_path)),
    ):
        raise MemoryError
    with pytest.raises(RunFailed, match=r"^out of memory: ") as raised, noting(Record(tmp_path)):
        raise RanksFailed([1, 143])
    assert failures.of(raised.value).retry


@pytest.mark.parametrize("end", [SystemExit(PAUSED), SystemExit(0), SystemExit(CLAIMED), Claimed("by another")])
def test_what_is_no_failure_is_not_noted(tmp_path, end):
    assert failed(Record(tmp_path), end) is None
