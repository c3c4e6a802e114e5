"""Fully sharded data parallelism (Zhao et al. 2023, arXiv:2304.11277), torch's second form of it: `fully_shard`.

Every parameter lies in equal parts on the processes, and with it its gradient and what the optimizer
keeps. A block's parameters are whole only while it is at work:

    forward     gather block 0 - compute - let go - gather block 1 - ...
    backward    gather - compute - add up gradients, each process its part - let go

What belongs to no block (embedding, last norm, head) is gathered for the whole forward pass, the loss
included: `Pretraining.forward` is the outermost module.

Each process first draws the whole model on its CPU, by parameter name as ever, so that the numbers do
not depend on the strategy: 4 bytes a parameter and process, which is fine up to some billions.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import Tensor
from torch.distributed.distributed_c10d import _set_pg_timeout as set_patience
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer


class FSDP(ModelParallelStrategy):
    """Checkpoints are whole: gathered when saved, cut when loaded, so that any strategy reads those of any other."""

    def __init__(self, processes: int, backend: str, patience: timedelta) -> None:
        super().__init__(
            data_parallel_size=processes, tensor_parallel_size=1, process_group_backend=backend, timeout=patience
        )
        self.cluster_environment = LightningEnvironment()

    def setup_environment(self) -> None:
        super().setup_environment()
        for group in self.device_mesh.get_all_groups():  # torch makes them with a patience of its own
            set_patience(self._timeout, group)

    def shard(self, module: Any) -> None:
        """Cut the parameters of each block, then all others together."""
        # The outermost module lets go after its forward pass too: after one without a backward pass
        # (evaluation) its parameters would stay whole
        for part in [*module.model.blocks, module]:
            fully_shard(part, mesh=self.device_mesh["data_parallel"], reshard_after_forward=True)

    @property
    def _module(self) -> LightningModule:
        assert self.lightning_module is not None
        return self.lightning_module

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return {name: self._whole(part) for name, part in self._module.state_dict().items()}

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        like = self._module.state_dict()
        parts = {name: _part(whole, like[name]) for name, whole in checkpoint["state_dict"].items()}
        self._module.load_state_dict(parts, strict=strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        state = optimizer.state_dict()
        return state | {"state": _each(state["state"], lambda key, part: self._whole(part))}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            parts = _each(state["state"], lambda key, whole, like=parameters: _part(whole, like[key]))
            optimizer.load_state_dict(state | {"state": parts})

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        Strategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only)

    def _whole(self, part: Any) -> Any:
        """All parts together; only the first process, which writes them, keeps the result."""
        if not isinstance(part, DTensor):
            return part
        whole = DTensor.full_tensor(part.detach())  # pyrefly: ignore
        return whole.cpu() if self.is_global_zero else None


def _part(whole: Tensor, like: Any) -> Any:
    """This process's part of a tensor, cut as `like` is; what is not of its shape (a count of steps) stays as it is."""
    if not isinstance(like, DTensor) or whole.shape != like.shape:
        return whole
    on_device = whole.to(like.device)
    return distribute_tensor(on_device, like.device_mesh, like.placements, src_data_rank=None)  # every process has it


def _each(states: dict[Any, dict[str, Any]], change: Any) -> dict[Any, dict[str, Any]]:
    return {
        key: {name: change(key, value) if isinstance(value, Tensor) else value for name, value in values.items()}
        for key, values in states.items()
    }
