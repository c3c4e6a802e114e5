"""One run inside a Slurm job: what every task of the job does.

    time limit    Slurm sends USR2 before it ends     save, `scontrol requeue`, exit
    preemption    Slurm sends TERM and requeues       save, exit
    scancel       Slurm sends TERM                    save, exit
    node lost     nothing is sent; Slurm requeues     goes on from the last regular checkpoint
    too early     USR2 before there is what to save   `scontrol requeue`, unless the time is really over

submitit's own seam for this calls `checkpoint()` inside its handler of USR2, in the middle of whatever
the process was doing; and it ignores TERM. A run's state is whole only between two steps, and there is
already one place that saves it there and leaves: `fit.saver.Saver`, on TERM. So a job puts submitit's
handlers aside, turns USR2 into TERM, and lets itself be requeued once the run has saved and left. The
requeued job is the same job with the same id: it goes on from the newest checkpoint as any run does.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from types import FrameType

from ablate.run.failures import PAUSED, noting
from ablate.run.settings import Where
from ablate.sweep import ranks
from ablate.sweep.worker import Task, train_and_exit

SAVE_SECONDS = 90  # before the time limit: to finish a step and write a checkpoint, at most this share of it:
SAVE_SHARE = 0.25
EARLY_SECONDS = 60  # Slurm sends a signal up to so much sooner than it was asked to
FIRST_PORT, PORTS = 12_000, 20_000  # below those that systems hand out by themselves


@dataclass
class Job:
    """Called once by every task of the job; pickled by the launcher."""

    task: Task
    time_is_up: bool = False
    began: float = 0.0

    def __call__(self) -> None:
        self.began = time.monotonic()
        where = self.task.settings.where
        if where.threads:  # before anything loads torch
            os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(where.threads)
        os.environ.update(where.environment)
        os.environ.update(rank_environment(where))
        os.environ.pop("SLURM_NTASKS")  # by which Lightning would take Slurm's ranks and signals into its own hands
        first = ranks.is_first()
        before = self._saved()
        signal.signal(signal.SIGTERM, self._leave)  # until the run has its own way to stop
        signal.signal(signal.SIGUSR2, self._stop)
        try:
            if first:
                self.task.record.try_again()
            with noting(self.task.record):
                ranks.lead(self.task, train_and_exit) if first else ranks.follow(self.task.settings)
        except SystemExit as stop:
            if stop.code == PAUSED:
                return
            if not self.time_is_up:
                raise
            if first:
                self._requeue(before)
            raise SystemExit(0) from None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.time_is_up = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def _requeue(self, before: list[str]) -> None:
        """Into the queue again, unless the time was too short for anything: that would go on for ever."""
        record, minutes = self.task.record, self.task.settings.where.slurm.minutes
        if self._saved() == before and time.monotonic() - self.began >= latest(minutes):
            record.fail("time limit", f"where.slurm.minutes={minutes}: over before anything was saved")
            return
        command = ["scontrol", "requeue", os.environ["SLURM_JOB_ID"]]
        if subprocess.run(command, check=False).returncode:
            record.fail("time limit", "saved, but Slurm did not requeue it; the same command goes on")

    def _saved(self) -> list[str]:
        return sorted(path.name for path in self.task.record.checkpoints.glob("step-*"))


def save_seconds(minutes: int) -> int:
    """How long before a time limit a job is told of it."""
    return int(min(SAVE_SECONDS, SAVE_SHARE * 60 * minutes))


def latest(minutes: int) -> float:
    """Seconds after which USR2 may mean the time limit; sooner, somebody sent it for another reason."""
    return 60 * minutes - save_seconds(minutes) - EARLY_SECONDS


def rank_environment(where: Where) -> dict[str, str]:
    """What one process of several must find in its environment, from what srun has put there."""
    slurm = os.environ
    if where.devices * where.nodes == 1:
        return {}
    return {
        "RANK": slurm["SLURM_PROCID"],
        "LOCAL_RANK": slurm["SLURM_LOCALID"],
        "NODE_RANK": slurm["SLURM_NODEID"],
        "WORLD_SIZE": str(where.devices * where.nodes),
        # the batch script, and so srun, runs on the node of rank 0; an address needs no resolver
        "MASTER_ADDR": slurm["SLURM_LAUNCH_NODE_IPADDR"],
        "MASTER_PORT": str(FIRST_PORT + int(slurm["SLURM_JOB_ID"]) % PORTS),
    }
