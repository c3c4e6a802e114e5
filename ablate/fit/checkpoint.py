"""Checkpoints as folders of plain files: weights and optimizer in safetensors, counters in JSON.

    checkpoints/step-00000120/  weights.safetensors  optimizer.safetensors
                                average.safetensors  of the weights, once there is one (`averaging`); so `clipping` and
                                                     `monitor`, where they keep something
                                trainer.json         written last: sums of all these (`run.whole`), and of the rows of
                                                     the run up to there

A folder appears under its name only when it is whole and on disk, and older ones than the last KEPT are removed only
then. A run goes on from the newest folder that is as it was written, of which the rows are too; one that is not is
removed, with a line. `SafetensorsIO` is Lightning's seam for it; no pickle is written or read.
"""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors.torch import load_file, save_file

from ablate.run import whole
from ablate.run.checkpoints import KEPT, LAST, ROWS, saved, step_of
from ablate.run.failures import PAUSED
from ablate.run.files import appear, sync
from ablate.run.settings import UserError

# One request to stop may arrive as two signals: Slurm tells a job and its srun, which passes it on
ONE_REQUEST_SECONDS = 1.0
# Processes agree on a stop after so many steps at most, or about so many seconds
ASK_STEPS, ASK_SECONDS = 25, 2.0
SHOWN = 300  # characters of what torch says of weights that do not fit
BESIDE = ("average", "clipping", "monitor")  # tensors by name, in a file of their own where there are some
DROPPED = ("hparams_name", "hyper_parameters", "datamodule_hyper_parameters")


class SafetensorsIO(CheckpointIO):
    """Writes Lightning's checkpoint dict as a folder, and reads it back."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        folder = Path(path)
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            _write(checkpoint, temporary, folder.parent.parent / ROWS)
            appear(temporary, folder)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(f"cannot write {folder}: {error.strerror or error}") from None

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Of one that is whole, as `checkpoints.newest` and `Trunk.whole` say."""
        folder = Path(path)
        rest = whole.read(folder / LAST)
        tensors = {name: load_file(folder / name) for name in rest.pop("files")}
        moments = tensors["optimizer.safetensors"]
        states = [_unflatten(meta, moments, f"{number}.") for number, meta in enumerate(rest.pop("optimizers"))]
        return rest | {
            "state_dict": tensors["weights.safetensors"],
            "optimizer_states": states,
            **{name: tensors.get(f"{name}.safetensors", {}) for name in BESIDE},
        }

    def remove_checkpoint(self, path: Any) -> None:
        shutil.rmtree(path, ignore_errors=True)


class Saver(L.Callback):
    """Saves at evenly spaced steps, and when asked to stop: SIGTERM and SIGINT save, then exit 143 and 130.

    (Lightning 2.6.6 exits 0 after SIGTERM, and a sweep would take the run for finished.)
    """

    def __init__(
        self,
        folder: Path,
        every: int,
        leave: dict[int, Callable[[Path], None]] | None = None,
        until: int | None = None,
        keep: int = KEPT,
        reach: int = 0,
    ):
        """`leave`: what to do with the checkpoint after some step, once it is there; `until`: steps to pause after;
        `keep`: checkpoints that stay, besides those that a run which goes `reach` steps back needs."""
        self.folder, self.every, self.leave, self.until = folder, every, leave or {}, until
        self.keep, self.reach = keep, reach
        self.signal: int | None = None
        self.asked = 0.0
        self.ask_at, self.agreed = 0, (0, 0.0)  # the step to agree after; that of the last time, and when it was

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        step = trainer.global_step
        if step in self.leave and trainer.is_global_zero:  # stopped between saving and leaving
            self.leave[step](self._path(step))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
        step = trainer.global_step
        stop = self.signal is not None if trainer.world_size == 1 else self._all_stop(trainer)
        pause = self.until is not None and step >= self.until and step < trainer.max_steps
        if (stop or pause or step % self.every == 0 or step in self.leave) and step < trainer.max_steps:
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
        """All devices must save together, whichever was told to stop. They agree now and then, for that waits."""
        step, now = trainer.global_step, time.monotonic()
        if step < self.ask_at:
            return False
        before, then = self.agreed
        mine = torch.tensor([self.signal is not None, (now - then) / (step - before) if before else ASK_SECONDS])
        asked, seconds = trainer.strategy.reduce(mine.to(trainer.strategy.root_device), reduce_op="sum").tolist()
        self.ask_at = step + max(1, min(ASK_STEPS, int(ASK_SECONDS * trainer.world_size / seconds)))
        self.agreed = step, now
        return asked > 0

    def save(self, trainer: L.Trainer) -> Path:
        """Write the state after the steps so far, then drop older ones. All devices must call it, and wait in it:
        none may ask first whether the folder is there, for it is as soon as the first device has written it."""
        path = self._path(trainer.global_step)
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            there = saved(self.folder)
            far = [old for old in there if step_of(old) <= trainer.global_step - self.reach]
            for old in there[: -max(self.keep, len(there) - len(far) + 1)]:
                shutil.rmtree(old, ignore_errors=True)
        return path

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


def remove(folder: Path) -> None:
    """Delete all checkpoints of a run."""
    shutil.rmtree(folder, ignore_errors=True)


def sha256(tensors: dict[str, torch.Tensor]) -> str:
    """Hash of names, types, shapes and bytes: equal exactly when the tensors are."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.ndim else tensor.numpy().tobytes())
    return digest.hexdigest()


def put(model: torch.nn.Module, weights: dict[str, torch.Tensor], assign: bool = False) -> None:
    """Put weights into a model. Raises UserError for those of a model of other names or shapes."""
    try:
        model.load_state_dict(weights, assign=assign)
    except RuntimeError as error:  # which names them all, a line each
        raise UserError(f"the weights are not of these settings: {' '.join(str(error).split())[:SHOWN]}") from None


def save_weights(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors to one file that appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _save_tensors(tensors, temporary)
        appear(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None


def _write(checkpoint: dict[str, Any], folder: Path, rows: Path) -> None:
    """`rows`: of the run so far, which must be on disk before what follows from them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rest = {name: value for name, value in checkpoint.items() if name not in DROPPED}
    parts = {"weights": rest.pop("state_dict")}
    parts |= {name: beside for name in BESIDE if (beside := rest.pop(name, None))}
    moments: dict[str, torch.Tensor] = {}
    states = rest.pop("optimizer_states")
    rest["optimizers"] = [_flatten(state, moments, f"{number}.") for number, state in enumerate(states)]
    parts["optimizer"] = moments
    with ThreadPoolExecutor() as threads:  # sums are worked out while other files are written, and all go to the disk
        sums = {}
        for name, tensors in parts.items():
            path = folder / f"{name}.safetensors"
            _save_tensors(tensors, path)
            sums[path.name] = threads.submit(whole.file_of, path)
        for name in sums:
            sync(folder / name)
        if rows.exists():
            sync(rows)
    rest["rows"] = whole.file_of(rows) if rows.exists() else {}
    rest["files"] = {name: found.result() for name, found in sums.items()}
    whole.write(folder / LAST, rest)


def _save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
    except Exception as error:  # safetensors has an error class of its own for a full disk
        raise OSError(str(error).strip()) from error


def _flatten(state: dict[str, Any], tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, Any]:
    """The optimizer's state without its tensors, which move to `tensors`: prefix, parameter, name."""
    plain: dict[str, dict[str, Any]] = {}
    for parameter, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{prefix}{parameter}.{name}"] = value
            else:
                plain.setdefault(str(parameter), {})[name] = value
    return {"param_groups": state["param_groups"], "plain": plain}


def _unflatten(meta: dict[str, Any], tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {int(key): dict(values) for key, values in meta["plain"].items()}
    for key, tensor in tensors.items():
        if key.startswith(prefix):
            parameter, name = key[len(prefix) :].split(".", 1)
            state.setdefault(int(parameter), {})[name] = tensor
    return {"state": state, "param_groups": meta["param_groups"]}
