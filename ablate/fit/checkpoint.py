"""Checkpoints as folders of plain files: weights and optimizer in safetensors, counters in JSON.

    checkpoints/step-00000120/  weights.safetensors  optimizer.safetensors
                                average.safetensors  of the weights, once there is one (`averaging`); so `clipping` and
                                                     `monitor`, where they keep something
                                trainer.json         written last: sums of all these (`run.whole`), and of the rows of
                                                     the run up to there

                                parts/               of tensors that lie in parts, a file a process (`fit.sharded`)

A folder appears under its name only when it is whole and on disk, and older ones than the last `where.checkpoints` are
removed only then (`fit.saver`). A run goes on from the newest folder that is as it was written, of which the rows are
too; one that is not is removed, with a line. `SafetensorsIO` is Lightning's seam for it; no pickle is written or read.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint import HuggingFaceStorageReader

from ablate.run import whole
from ablate.run.checkpoints import LAST, ROWS
from ablate.run.files import appear, sync
from ablate.run.settings import UserError

SHOWN = 300  # characters of what torch says of weights that do not fit
BESIDE = ("average", "clipping", "monitor")  # tensors by name, in a file of their own where there are some
PARTS = "parts"
DROPPED = ("hparams_name", "hyper_parameters", "datamodule_hyper_parameters")


class SafetensorsIO(CheckpointIO):
    """Writes Lightning's checkpoint dict as a folder, and reads it back."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        folder = Path(path)
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            write(*laid_out(checkpoint), temporary, folder.parent.parent / ROWS)
            appear(temporary, folder)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(f"cannot write {folder}: {error.strerror or error}") from None

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Of one that is whole, as `checkpoints.newest` and `Trunk.whole` say."""
        folder = Path(path)
        rest = whole.read(folder / LAST)
        names = [Path(name) for name in rest.pop("files")]
        tensors = {name.name: load_file(folder / name) for name in names if name.parent.name != PARTS}
        if len(tensors) < len(names):
            for name, tensor in read_parts(folder / PARTS).items():
                file, name = name.split("/", 1)
                tensors.setdefault(f"{file}.safetensors", {})[name] = tensor
        moments = tensors["optimizer.safetensors"]
        states = [_unflatten(meta, moments, f"{number}.") for number, meta in enumerate(rest.pop("optimizers"))]
        return rest | {
            "state_dict": tensors["weights.safetensors"],
            "optimizer_states": states,
            **{name: tensors.get(f"{name}.safetensors", {}) for name in BESIDE},
        }

    def remove_checkpoint(self, path: Any) -> None:
        shutil.rmtree(path, ignore_errors=True)


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


def laid_out(checkpoint: dict[str, Any]) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Tensors by file and name, and the rest."""
    rest = {name: value for name, value in checkpoint.items() if name not in DROPPED}
    parts = {"weights": rest.pop("state_dict")}
    parts |= {name: beside for name in BESIDE if (beside := rest.pop(name, None))}
    moments: dict[str, torch.Tensor] = {}
    states = rest.pop("optimizer_states")
    rest["optimizers"] = [_flatten(state, moments, f"{number}.") for number, state in enumerate(states)]
    return parts | {"optimizer": moments}, rest


def write(
    parts: dict[str, dict[str, torch.Tensor]],
    rest: dict[str, Any],
    folder: Path,
    rows: Path,
    size: int | None = None,
    there: Sequence[str] = (),
) -> None:
    """`rows`: of the run, their first `size` bytes, which must be on disk before what follows from them; `there`: files
    that are in the folder already."""
    with ThreadPoolExecutor() as threads:  # sums are worked out while other files are written, and all go to the disk
        sums = {name: threads.submit(whole.file_of, folder / name) for name in there}
        for name, tensors in parts.items():
            path = folder / f"{name}.safetensors"
            _save_tensors(tensors, path)
            sums[path.name] = threads.submit(whole.file_of, path)
        for name in sums:
            sync(folder / name)
        if rows.exists():
            sync(rows)
    rest["rows"] = whole.file_of(rows, size) if rows.exists() else {}
    rest["files"] = {name: found.result() for name, found in sums.items()}
    whole.write(folder / LAST, rest)


def read_parts(folder: Path) -> dict[str, torch.Tensor]:
    """Tensors as they are without any cutting."""
    reader = HuggingFaceStorageReader(str(folder))
    found: Any = reader.read_metadata().state_dict_metadata
    tensors = {name: torch.empty(one.size, dtype=one.properties.dtype) for name, one in found.items()}
    torch.distributed.checkpoint.load(tensors, storage_reader=reader, no_dist=True)
    return tensors


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
