"""What Slurm says of our jobs, and which job trains which run.

    squeue  ->  {"12_3": Entry("PENDING", "Resources"), "12_4": Entry("RUNNING", "")}

One question answers for all jobs of the user, those that ended in the last minutes included. Accounting
(`sacct`) is not everywhere and lags behind; it is asked only why a job ended that squeue has forgotten.
A run's job is noted in its folder, so that a launcher started later asks instead of submitting again.
"""

import subprocess
from typing import Any, NamedTuple

from ablate.run import files, whole
from ablate.run.record import Record
from ablate.run.settings import UserError

WAITING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD", "SUSPENDED"}
ACTIVE = {"RUNNING", "CONFIGURING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"}
SECONDS = 60  # for Slurm to answer


class Entry(NamedTuple):
    """A job's state, in Slurm's words, and its reason where Slurm gives one."""

    state: str
    reason: str

    @property
    def live(self) -> bool:
        return self.state in WAITING | ACTIVE

    @property
    def not_launched(self) -> bool:
        """Whether Slurm failed to start the job, and holds it for that."""
        return self.state in WAITING and self.reason.replace("_", " ").startswith("launch failed")


def ask() -> dict[str, Entry]:
    """All our jobs that the controller still knows. Raises UserError when it does not answer."""
    # %i is the task of an array, because of -r: 12_3
    lines = _output(["squeue", "--me", "--noheader", "-r", "--states=all", "--format=%i|%T|%r"]).splitlines()
    entries = {}
    for line in lines:
        job, state, reason = line.strip().split("|", 2)
        entries[job] = Entry(state, "" if reason == "None" else reason)
    return entries


def release(job: str) -> bool:
    """Let a held job go; whether Slurm does."""
    try:
        _output(["scontrol", "release", job])
    except UserError:
        return False
    return True


def ended(job: str, entries: dict[str, Entry]) -> str:
    """The last state of a job that is over, empty where nobody knows any more."""
    if job in entries:
        return entries[job].state
    command = ["sacct", "--noheader", "--allocations", "--parsable2", "--format=State", "--jobs", job]
    try:
        return (_output(command).split() or [""])[0]  # "CANCELLED by 1000"
    except UserError:
        return ""


def note(record: Record, job: str) -> None:
    """Write down which job trains a run, and how its record says that an earlier try failed."""
    whole.write(record.folder / "job.json", {"job": job, "failed": files.modified(record.folder / "failure.json")})


def noted(record: Record) -> str:
    """The job that was last to train a run, empty if none was."""
    return _note(record)["job"]


def failed_since(record: Record) -> bool:
    """Whether a run has noted a failure since its job was."""
    # by whichever clocks: another note than the earlier one, not a later one
    return files.modified(record.folder / "failure.json") not in (0, _note(record)["failed"])


def _note(record: Record) -> dict[str, Any]:
    return {"job": "", "failed": 0} | whole.read_if(record.folder / "job.json", {})


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise UserError(f"{command[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return done.stdout
