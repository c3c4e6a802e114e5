"""Fully sharded data parallelism (Zhao et al. 2023, arXiv:2304.11277), torch's second form of it: `fully_shard`.

Every parameter lies in equal parts on the processes, and with it its gradient and what the optimizer
keeps. A block's matrices are whole only while it is at work:

    forward     gather block 0 - compute - let go - gather block 1 - ... - the last block stays
    backward    gather - compute - add up gradients, each process its part - let go

All else (embedding, vectors, head) is gathered in float32 for the whole pass, the loss included:
`Pretraining.forward` is the outermost module. Where products are of bfloat16, matrices are gathered as such; their
gradients are added up in float32. Several nodes of several devices hold a copy each, in parts inside the node, and
only gradients go from node to node. While a step's rows are worked off in parts, gradients stay where they are,
whole, until those of the last part are there.

Each process first draws the whole model on its CPU, by parameter name as ever, so that the numbers do
not depend on the strategy: 4 bytes a parameter and process, which is fine up to some billions.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.distributed_c10d import _set_pg_timeout as set_patience
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from ablate.fit.sharded import Saving
from ablate.model import budget
from ablate.model.linear import Dense
from ablate.run.settings import Settings

WIDE = MixedPrecisionPolicy()  # as parameters are


class FSDP(ModelParallelStrategy):
    """Checkpoints are loaded whole, so that any strategy reads those of any other. Those that serve the run itself are
    written in parts (`fit.sharded`), others gathered."""

    def __init__(self, settings: Settings, backend: str, patience: timedelta) -> None:
        where = settings.where
        self.parts = budget.pieces(where)
        self.copies = where.devices * where.nodes // self.parts
        self.narrow = settings.precision != "fp32"
        self.patience = patience
        self.in_parts = False  # whether states are asked for as they lie
        # Lightning's words for a mesh of so many copies, each in so many parts
        sizes = {"data_parallel_size": self.copies, "tensor_parallel_size": self.parts}
        super().__init__(process_group_backend=backend, timeout=patience, **sizes)
        self.cluster_environment = LightningEnvironment()

    def setup_environment(self) -> None:
        super().setup_environment()
        for group in self.device_mesh.get_all_groups():  # torch makes them with a patience of its own
            set_patience(self.patience, group)
        self.saving = Saving(self.root_device, self.patience)

    def save_parts(self, path: Path, then: Callable[[], None]) -> None:
        """Write a checkpoint while training goes on; once it is there the first process does `then`."""
        self.in_parts = True
        checkpoint = self._module.trainer._checkpoint_connector.dump_checkpoint()
        self.in_parts = False
        self.saving.begin(checkpoint, path, then)

    def optimizer_step(self, *arguments: Any, **named: Any) -> Any:
        self.saving.copied()
        return super().optimizer_step(*arguments, **named)

    def teardown(self) -> None:
        self.saving.close()
        super().teardown()

    def shard(self, module: Any) -> None:
        """Cut the matrices of each block, then all else together."""
        mesh = self.device_mesh if self.copies > 1 else self.device_mesh["tensor_parallel"]
        blocks = module.model.blocks
        for number, block in enumerate(blocks, start=1):
            # The backward pass begins with the last block, and with what belongs to none
            self._shard_block(block, mesh, let_go=number < len(blocks))
        fully_shard(module, mesh=mesh, reshard_after_forward=False)

    def _shard_block(self, block: nn.Module, mesh: DeviceMesh, let_go: bool) -> None:
        matrices = [part for part in block.modules() if any(own.ndim == 2 for own in part.parameters(recurse=False))]
        if not matrices:
            return
        # Weights that are rounded further on need all their digits
        narrow = self.narrow and all(type(part) is Dense for part in matrices)
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        fully_shard(matrices, mesh=mesh, reshard_after_forward=let_go, mp_policy=policy if narrow else WIDE)
        # From the block, not from inside: `Block.work` may be compiled, and what is recomputed may end midway
        state: Any = fully_shard.state(matrices[0])  # pyrefly: ignore
        state._pre_forward_hook_handle.remove()
        state._post_forward_hook_handle.remove()
        block.register_forward_pre_hook(state._pre_forward, prepend=True, with_kwargs=True)
        block.register_forward_hook(state._post_forward)

    def let_go(self) -> None:
        """Of what a forward pass has gathered, when no backward pass follows that would."""
        for part in self._module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Gradients of a part of the step's rows: they are kept, and not yet final."""
        self._module.set_requires_gradient_sync(False)
        yield
        self._module.set_requires_gradient_sync(True)

    @property
    def _module(self) -> Any:  # torch makes of its class one that is `FSDPModule` too
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
        self.saving.end()
        Strategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only)

    def _whole(self, part: Any) -> Any:
        """All parts together; only the first process, which writes them, keeps the result."""
        if self.in_parts or not isinstance(part, DTensor):
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
