"""Who works off the parts of a corpus: processes of this machine, or an executor of datatrove's (here, Slurm, Ray).

    for part in each(work, [0, 1, 2], prepare, logs): ...      work(0), work(1), work(2); each number when it is done

`work.done(part)` says whether a part is there: of what runs elsewhere, files are all that is seen.
"""

import importlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ablate.run.corpus import Prepare
from ablate.run.processes import cores, spread
from ablate.run.settings import SettingsError, UserError

EXECUTORS = {"local": "LocalPipelineExecutor", "slurm": "SlurmPipelineExecutor", "ray": "RayPipelineExecutor"}
LOOKS_SECONDS = 1.0  # between two looks at what a cluster has done
LATE_SECONDS = 20.0  # that a shared file system may take to show what a job wrote before it ended


class Work(Protocol):
    def __call__(self, part: int) -> None: ...

    def done(self, part: int) -> bool: ...


def each(work: Work, parts: Sequence[int], prepare: Prepare, logs: Path) -> Iterator[int]:
    """Have the parts worked off, in any order; yields each when it is done. Raises UserError where that fails."""
    if prepare.engine == "local":
        return spread(work, parts, prepare.workers or cores())
    return _by_datatrove(work, parts, prepare, logs) if parts else iter(())


@dataclass(frozen=True)
class _Tasks:
    """The parts as datatrove's tasks: a number each."""

    work: Work
    parts: Sequence[int]

    def __call__(self, task: int) -> None:
        self.work(self.parts[task])


def _by_datatrove(work: Work, parts: Sequence[int], prepare: Prepare, logs: Path) -> Iterator[int]:
    options = dict(prepare.options)
    kind = options.pop("executor", "local")
    if kind not in EXECUTORS:
        raise SettingsError(f"prepare.options.executor={kind}: must be one of {', '.join(EXECUTORS)}")
    try:
        trove = importlib.import_module("ablate.corpus.trove")
        executor_of = getattr(importlib.import_module(f"datatrove.executor.{kind}"), EXECUTORS[kind])
        if kind == "ray":
            importlib.import_module("ray")  # datatrove itself needs it later
    except ImportError as error:
        needs = "ray" if error.name == "ray" else "ablate[datatrove]"
        raise UserError(f"prepare.engine=datatrove: needs `pip install {needs}`") from None
    folder = logs / str(time.time_ns())  # datatrove leaves out tasks of which a folder of logs says that they are done
    usual: dict[str, Any] = {"workers": prepare.workers or (cores() if kind == "local" else -1)}
    if kind == "slurm":  # jobs find the Python that submits them
        usual |= {"env_command": f"export PATH={Path(sys.executable).parent}:$PATH"}
    try:
        steps = [trove.Parts(_Tasks(work, parts))]
        executor = executor_of(steps, tasks=len(parts), logging_dir=str(folder), **usual | options)
    except TypeError as error:
        raise SettingsError(f"prepare.options: not what datatrove's {EXECUTORS[kind]} takes ({error})") from None
    executor.run()
    yield from _finished(work, parts, folder, executor.job_id if kind == "slurm" else "")


def _finished(work: Work, parts: Sequence[int], folder: Path, job: Any) -> Iterator[int]:
    """Each part when it is there. Raises UserError once those that still lack cannot come."""
    left, late = set(parts), 0.0
    while True:
        there = {part for part in left if work.done(part)}
        yield from sorted(there)
        left -= there
        if not left:
            return
        if not (job and _queued(job)):
            late = late or time.monotonic() + LATE_SECONDS * bool(job)
            if time.monotonic() >= late:
                missing = f"{len(left)} of {len(parts)} parts were not made"
                raise UserError(f"prepare.engine=datatrove: {missing}: {_last_words(folder)}")
        time.sleep(LOOKS_SECONDS)


def _queued(job: Any) -> bool:
    """Whether Slurm still has tasks of a job, waiting or running."""
    done = subprocess.run(["squeue", "--noheader", "--job", str(job)], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip()) or (done.returncode != 0 and "Invalid job id" not in done.stderr)


def _last_words(folder: Path) -> str:
    """Where the logs of jobs are, and what the last of them said before Slurm's own lines."""
    for path in sorted(folder.glob("slurm_logs/*"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        if told := [line for line in lines if ": error:" not in line]:
            return f"{told[-1]} ({path})"
    return f"see {folder}"
