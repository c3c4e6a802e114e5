"""When a run is saved, and what it does when it is asked to stop; `fit.checkpoint` says what is written."""

import functools
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch

from ablate.fit.parallel.fsdp import FSDP
from ablate.run.checkpoints import saved, step_of
from ablate.run.failures import PAUSED

# One request to stop may arrive as two signals: Slurm tells a job and its srun, which passes it on
ONE_REQUEST_SECONDS = 1.0
# Processes agree on a stop after so many steps at most, or about so many seconds
ASK_STEPS, ASK_SECONDS = 25, 2.0


@dataclass
class Due:
    """When a checkpoint is due: evenly, and by the clock; where a row of metrics ends, so that none spans a restart."""

    every: int  # steps; a multiple of `rows`
    rows: int = 1  # steps between two rows
    seconds: float = 0.0  # since the last checkpoint; 0: the clock asks for none
    since: float = 0.0
    asked: bool = False  # by the clock, as all processes know

    def at(self, step: int) -> bool:
        """Whether one is due after a step."""
        return step % (self.rows if self.asked else self.every) == 0

    def by_clock(self) -> bool:
        """Whether it is time."""
        return 0 < self.seconds <= time.monotonic() - self.since

    def saved(self) -> None:
        """From now on the clock counts."""
        self.since, self.asked = time.monotonic(), False


class Saver(L.Callback):
    """Saves when it is due, and when asked to stop: SIGTERM and SIGINT save, then exit 143 and 130.

    (Lightning 2.6.6 exits 0 after SIGTERM, and a sweep would take the run for finished.)
    """

    def __init__(
        self,
        folder: Path,
        due: Due,
        leave: dict[int, Callable[[Path], None]] | None = None,
        until: int | None = None,
        keep: int = 2,
        reach: int = 0,
    ):
        """`leave`: what to do with the checkpoint after some step, once it is there; `until`: steps to pause after;
        `keep`: checkpoints that stay, besides those that a run which goes `reach` steps back needs."""
        self.folder, self.due, self.leave, self.until = folder, due, leave or {}, until
        self.keep, self.reach = keep, reach
        self.signal: int | None = None
        self.asked = 0.0
        self.ask_at, self.agreed = 0, (0, 0.0)  # the step to agree after; that of the last time, and when it was

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        self.due.saved()
        step = trainer.global_step
        if step in self.leave and trainer.is_global_zero:  # stopped between saving and leaving
            self.leave[step](self._path(step))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
        step = trainer.global_step
        stop = self._all_stop(trainer)
        pause = self.until is not None and step >= self.until and step < trainer.max_steps
        if (stop or pause or self.due.at(step) or step in self.leave) and step < trainer.max_steps:
            path = self.save(trainer)
            if step in self.leave and trainer.is_global_zero:
                self.leave[step](path)
        if step == trainer.max_steps and step in self.leave:
            self._leave_end(trainer)
        if stop and step < trainer.max_steps:  # after the last step nothing is left but to finish
            raise SystemExit(128 + (self.signal or signal.SIGTERM))
        if pause:
            raise SystemExit(PAUSED)

    def _all_stop(self, trainer: L.Trainer) -> bool:
        """All devices must save together, whichever was told to stop, and by the clock of the first. They agree now and
        then, for that waits."""
        if trainer.world_size == 1:
            self.due.asked |= self.due.by_clock()
            return self.signal is not None
        step, now = trainer.global_step, time.monotonic()
        if step < self.ask_at:
            return False
        before, then = self.agreed
        pace = (now - then) / (step - before) if before else ASK_SECONDS
        mine = torch.tensor([self.signal is not None, pace, trainer.is_global_zero and self.due.by_clock()])
        found = trainer.strategy.reduce(mine.to(trainer.strategy.root_device), reduce_op="sum")
        asked, seconds, due = found.tolist()
        self.ask_at = step + max(1, min(ASK_STEPS, int(ASK_SECONDS * trainer.world_size / seconds)))
        self.agreed = step, now
        self.due.asked |= due > 0
        return asked > 0

    def save(self, trainer: L.Trainer) -> Path:
        """Write the state after the steps so far, then drop older ones. All devices must call it, and wait in it:
        none may ask first whether the folder is there, for it is as soon as the first device has written it.

        Under FSDP the run goes on meanwhile, unless it leaves this state for others.
        """
        step = trainer.global_step
        path, strategy = self._path(step), trainer.strategy
        if isinstance(strategy, FSDP) and step not in self.leave:
            strategy.save_parts(path, functools.partial(self._drop, step))
        else:
            trainer.save_checkpoint(path)
            if trainer.is_global_zero:
                self._drop(step)
        self.due.saved()
        return path

    def _drop(self, step: int) -> None:
        """Older ones than the last."""
        there = saved(self.folder)
        far = [old for old in there if step_of(old) <= step - self.reach]
        for old in there[: -max(self.keep, len(there) - len(far) + 1)]:
            shutil.rmtree(old, ignore_errors=True)

    def _leave_end(self, trainer: L.Trainer) -> None:
        """Leave the state after the last step. It is no checkpoint to go on from: the run has nothing left to do."""
        path = self.folder / "end"
        if trainer.is_global_zero:
            shutil.rmtree(path, ignore_errors=True)  # of a try that was killed here
        progress = trainer.fit_loop.epoch_loop.batch_progress
        progress.is_last_batch = False  # of a longer run it is not; Lightning would end that run at once
        trainer.save_checkpoint(path)
        progress.is_last_batch = True
        if trainer.is_global_zero:
            self.leave[trainer.global_step](path)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = self.signal == number and time.monotonic() - self.asked > ONE_REQUEST_SECONDS
        if again:  # leave at once; the last checkpoint stands
            raise SystemExit(128 + number)
        if self.signal is None:
            self.signal, self.asked = number, time.monotonic()
