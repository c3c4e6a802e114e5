"""Checkpoints of which each process writes its part while training goes on, by torch.distributed.checkpoint.

step t     a thread of each process copies the process's part of weights and moments, during the next forward pass
step t+1   waits for the copy before it changes them
later      the copies are on disk, the first process adds what is not in parts and all sums, and the folder appears

checkpoints/step-00000120/  parts/shard-00001-model-00001-of-00001.safetensors  ...
"""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import HuggingFaceStorageWriter, async_save
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import AsyncSaveResponse
from torch.distributed.tensor import DTensor

from ablate.fit.checkpoint import PARTS, laid_out, write
from ablate.run.checkpoints import ROWS
from ablate.run.files import appear
from ablate.run.settings import UserError

Tensors = dict[str, torch.Tensor]


class Saving:
    """One checkpoint at a time; all processes must call the same."""

    def __init__(self, device: torch.device, patience: timedelta) -> None:
        # Of its own, for training goes on in the others, and on the CPU
        group = dist.new_group(backend="gloo", timeout=patience)
        assert isinstance(group, dist.ProcessGroup)
        self.group = group
        self.is_gpu = device.type == "cuda"
        pinned = {"use_pinned_memory": self.is_gpu, "use_non_blocking_copy": self.is_gpu}
        self.stager = DefaultStager(StagingOptions(use_shared_memory=False, use_async_staging=True, **pinned))
        self.running: AsyncSaveResponse | None = None

    def begin(self, checkpoint: dict[str, Any], path: Path, then: Callable[[], None]) -> None:
        """Returns at once, unless the last one is not there yet. `then`: what the first process does at the end."""
        self.end()
        parts, rest = laid_out(checkpoint)
        cut, others = _told_apart(parts)
        finish = Finish(others, json.loads(json.dumps(rest)), path, then)
        if dist.get_rank() == 0:
            shutil.rmtree(finish.folder, ignore_errors=True)  # of a try that was killed
        dist.barrier(self.group)
        if self.is_gpu:
            torch.cuda.synchronize()  # the copy has a stream of its own, which waits for no step
        writer = Writer(finish)
        found = async_save(cut, storage_writer=writer, process_group=self.group, async_stager=self.stager)
        assert isinstance(found, AsyncSaveResponse)
        self.running = found

    def copied(self) -> None:
        """Wait until weights and moments may change again."""
        if self.running:
            self.running.staging_completion.result()

    def end(self) -> None:
        """Wait until the checkpoint is there. Raises UserError where it cannot be written."""
        if not self.running:
            return
        running, self.running = self.running, None
        try:
            running.upload_completion.result()
        except CheckpointException as failed:
            error, _ = next(iter(failed.failures.values()))
            raise UserError(f"cannot write a checkpoint: {getattr(error, 'strerror', None) or error}") from None

    def close(self) -> None:
        self.end()
        self.stager.close()


class Finish:
    """What the first process does when all parts are on disk."""

    def __init__(self, others: dict[str, Tensors], rest: Any, path: Path, then: Callable[[], None]) -> None:
        self.others, self.rest, self.path, self.then = others, rest, path, then
        self.folder = path.with_name(f".{path.name}.{PARTS}")
        self.rows = path.parent.parent / ROWS
        self.size = self.rows.stat().st_size if self.rows.exists() else 0

    def __call__(self) -> None:
        there = sorted(f"{PARTS}/{file.name}" for file in (self.folder / PARTS).iterdir())
        write(self.others, self.rest, self.folder, self.rows, self.size, there)
        appear(self.folder, self.path)
        self.then()


class Writer(HuggingFaceStorageWriter):
    def __init__(self, finished: Finish) -> None:
        super().__init__(str(finished.folder / PARTS), save_distributed=True)
        self.finished = finished

    def finish(self, metadata: Any, results: Any) -> None:
        """Called on the first process alone."""
        self.finished()


def _told_apart(parts: dict[str, Tensors]) -> tuple[Tensors, dict[str, Tensors]]:
    """What lies in parts, by file and name, and copies of all else."""
    cut, others = {}, {file: {} for file in parts}
    for file, tensors in parts.items():
        for name, one in tensors.items():
            if isinstance(one, DTensor):
                cut[f"{file}/{name}"] = one
            else:
                others[file][name] = one.to("cpu", copy=True)
    return cut, others
