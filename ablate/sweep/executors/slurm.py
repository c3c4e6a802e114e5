"""Runs on a Slurm cluster, through submitit: the same face as `Local`, another place.

    generation 0   job array 17   runs that start alone, and leave trunks for others
    generation 1   job array 18   runs that start from those trunks    --dependency=afterany:17_0:17_2
                                  (a run whose trunk was not left trains from what is there)

The launcher only submits and watches. It may be stopped, or lose its connection: the jobs go on, and the
same command finds them by the job noted in each run's folder, watches them again and ends with the verdict.
A run that is done, queued or being trained is not submitted. Should two jobs of one run exist all the same,
its claim (`claims`) lets only one of them train.
"""

import shlex
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock
from submitit import SlurmExecutor
from submitit.core.utils import UncompletedJobError

from ablate.run import failures
from ablate.run.files import make_folder, make_private
from ablate.run.settings import UserError, Where
from ablate.run.trunks import trunk_record
from ablate.sweep.claims import state
from ablate.sweep.executors import queue
from ablate.sweep.executors.executor import Executor, Outcome
from ablate.sweep.executors.job import Job, save_seconds

POLL_SECONDS = 0.5  # between two polls of the records
ASK_SECONDS = 10.0  # between two questions to Slurm: its controller serves everybody
# USR2 ends a program that has not yet said what it does on it: until then it is not heard
DEAF = """sh -c 'trap "" USR2; exec "$0" "$@"' """

DEPENDENCY = "Dependency"  # Slurm's word for it


class Slurm(Executor):
    """Submits runs as job arrays and watches them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.jobs: dict[str, str] = {}  # by run: the job that this launcher watches
        self.over: set[str] = set()  # jobs that had ended when Slurm was last asked

    @classmethod
    def prepare(cls, where: Where) -> None:
        """Nothing here: a job imports where it runs."""

    def num_held(self) -> int:
        """Runs that wait for a trunk."""
        return sum(outcome.state == "waiting" and outcome.waits_for == DEPENDENCY for outcome in self.outcomes)

    def train(self, show: Callable[[], None]) -> None:
        """Submit what is missing and watch until all is over. Ctrl-C leaves the jobs to Slurm."""
        if not shutil.which("sbatch"):
            raise UserError("where.executor=slurm: there is no sbatch on this machine; use where.executor=local")
        asked = -ASK_SECONDS
        try:
            while self._unfinished():
                if time.monotonic() - asked >= ASK_SECONDS:
                    self._poll()
                    asked = time.monotonic()
                for outcome in self._unfinished():
                    if self.record(outcome).done:
                        outcome.state, outcome.waits_for = "done", ""
                show()
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._farewell()) from None
        show()

    def _unfinished(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.state not in ("done", "paused", "failed")]

    def _poll(self) -> None:
        """Ask Slurm, take note, and submit the runs that have no job."""
        folder = Path(self.where.outputs) / "slurm"
        make_private(folder)  # submitit keeps pickles there, and jobs run what is in them
        # of two launchers at once, the second sees what the first has submitted
        with FileLock(folder / "submit.lock"):
            try:
                entries = queue.ask()
            except UserError:
                if not self.jobs:
                    raise
                return  # the controller is busy or restarts; it will be asked again
            free = [outcome for outcome in self._unfinished() if self._judge(outcome, entries)]
            self._submit(free, folder)

    def _judge(self, outcome: Outcome, entries: dict[str, queue.Entry]) -> bool:
        """Bring an outcome up to date; returns whether the run needs a job."""
        record = self.record(outcome)
        job = queue.noted(record)
        entry = entries.get(job)
        if record.done:
            outcome.state, outcome.waits_for = "done", ""
        elif entry and entry.live:
            self.jobs[outcome.run.id] = job
            if entry.not_launched:
                self._release(outcome, job)
                return False
            waits = entry.state in queue.WAITING
            outcome.state, outcome.waits_for = ("waiting", entry.reason or entry.state) if waits else ("running", "")
        elif outcome.until and (record.last_row() or {"step": 0})["step"] >= outcome.until:
            outcome.state, outcome.waits_for = "paused", ""
        elif state(record) == "running":
            outcome.state, outcome.waits_for = "elsewhere", ""
        elif self.jobs.get(outcome.run.id) == job != "":
            return self._conclude(outcome, job, entries)
        else:
            return True  # no job of it was ever seen alive by us: what became of earlier ones is history
        return False

    def _release(self, outcome: Outcome, job: str) -> None:
        """A job whose node went down as it began is held by Slurm until somebody asks for it: a try that failed."""
        outcome.state, outcome.waits_for = "waiting", ""
        outcome.failures.append(f"not launched: job {job}: Slurm could not start it on its node, and holds it")
        if not self.goes_on(outcome) or not queue.release(job):
            outcome.state = "failed"
            outcome.failures[-1] += f"; `scontrol release {job}` lets it go"
        outcome.tries += 1

    def _conclude(self, outcome: Outcome, job: str, entries: dict[str, queue.Entry]) -> bool:
        """Say why a job ended without a result; returns whether the run gets another one."""
        if job not in self.over:  # its last files may still be on their way over the network
            self.over.add(job)
            return False
        record, last = self.record(outcome), queue.ended(job, entries)
        noted = failures.noted(record) if queue.failed_since(record) else None
        failure = failures.of_slurm(last, job, noted, Path(self.where.outputs) / "slurm" / f"{job}_0_log.err")
        record.fail(*failure)
        outcome.state, outcome.waits_for = "failed", ""
        outcome.failures.append(f"{failure.outcome}: {failure.reason}")
        return failure.retry and self.goes_on(outcome)

    def _submit(self, outcomes: list[Outcome], folder: Path) -> None:
        """One array a generation; each waits for the jobs of others that leave its trunks."""
        sources = self._sources()
        left = {outcome.run.id: outcome for outcome in outcomes}
        while left:
            ready = [outcome for id, outcome in left.items() if sources.get(id) not in left]
            waits_for = sorted({self.jobs[s] for o in ready if (s := sources.get(o.run.id)) and s in self.jobs})
            self._submit_array(ready, waits_for, folder)
            left = {id: outcome for id, outcome in left.items() if outcome not in ready}

    def _sources(self) -> dict[str, str]:
        """By run: the earlier unfinished one that leaves the last trunk on its way, where that is not there yet."""
        sources: dict[str, str] = {}
        leaves: dict[str, str] = {}
        for run in (outcome.run.id for outcome in self._unfinished()):
            for branch in self.ways.get(run, []):
                if trunk_record(self.where.outputs, branch.key).exists:
                    sources.pop(run, None)
                elif leaves.setdefault(branch.key, run) != run:
                    sources[run] = leaves[branch.key]
        return sources

    def _submit_array(self, outcomes: list[Outcome], waits_for: list[str], folder: Path) -> None:
        executor = SlurmExecutor(folder, python=DEAF + shlex.quote(sys.executable))
        name = f"ablate-{outcomes[0].run.settings.study.name or 'run'}"
        try:
            executor.update_parameters(**parameters(self.where, name, waits_for))
            jobs = executor.submit_array([Job(self.task(outcome)) for outcome in outcomes])
        except UncompletedJobError as error:
            raise UserError(f"where.slurm: {_refusal(str(error))}") from None
        for outcome, job in zip(outcomes, jobs, strict=True):
            make_folder(self.record(outcome).folder)
            queue.note(self.record(outcome), job.job_id)
            self.jobs[outcome.run.id] = job.job_id
            outcome.state, outcome.waits_for, outcome.tries = "waiting", "", outcome.tries + 1

    def _farewell(self) -> str:
        mine = {self.jobs[o.run.id].split("_")[0] for o in self._unfinished() if o.run.id in self.jobs}
        stop = f"; `scancel {' '.join(sorted(mine))}` stops them" if mine else ""
        return f"the jobs go on without this command; the same command watches them again{stop}"


def parameters(where: Where, name: str, waits_for: list[str]) -> dict[str, Any]:
    """What submitit is told: only what was asked for, so that the rest is as the cluster likes it."""
    slurm = where.slurm
    asked = {
        "job_name": name,
        "time": slurm.minutes,
        "nodes": where.nodes,
        "ntasks_per_node": where.devices,
        "partition": slurm.partition,
        "account": slurm.account,
        "cpus_per_task": slurm.cpus,
        "gpus_per_node": slurm.gpus,
        "mem": f"{slurm.memory_gb}GB" if slurm.memory_gb else "",
        "array_parallelism": slurm.at_once,
        "setup": slurm.setup,
        "signal_delay_s": save_seconds(slurm.minutes),
        "dependency": "afterany:" + ":".join(waits_for) if waits_for else "",
        # one process that fails takes the others with it; srun does not take cpus-per-task from the job (22.05)
        "srun_args": ["--kill-on-bad-exit=1"] + ([f"--cpus-per-task={slurm.cpus}"] if slurm.cpus else []),
        "additional_parameters": {"requeue": True} | slurm.options,
    }
    return {key: value for key, value in asked.items() if value}


def _refusal(text: str) -> str:
    """The line of sbatch's complaint that says what is wrong."""
    lines = [line for line in text.splitlines() if "error:" in line]
    return lines[0].split("error:", 1)[1].strip() if lines else " ".join(text.split())
