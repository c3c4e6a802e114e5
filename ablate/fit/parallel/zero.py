"""ZeRO by DeepSpeed (Rajbhandari et al. 2020, arXiv:1910.02054): what copies of a model hold twice is held in parts.

    stage 1    the optimizer's state         each process steps its part, then all gather the parameters
    stage 2    and the gradients             added up to the process that needs them, during the backward pass
    stage 3    and the parameters            gathered module by module, let go after use

Lightning's strategy is for CUDA only and keeps checkpoints of DeepSpeed's own kind. Here it runs on
CPUs too, and checkpoints are whole, the same folders as those of one process: weights are loaded
before DeepSpeed cuts them, and the optimizer's state is gathered and cut by parameter.

DeepSpeed's engine has its own ways. What it is told, so that a step is the step of `fit.module`:
one accumulation step, since the loss is scaled here, with boundaries told by `block_backward_sync`;
the largest norm, since only the engine sees whole gradients (its formula is that of torch); and
autocast without its cast of parameters, so that all of them, and all sums over processes, stay fp32.

Each process first draws the whole model on its CPU, by parameter name as ever: parameters that are
cut cannot be drawn. 4 bytes a parameter and process, which is fine up to some billions.
"""

import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins import DeepSpeedPrecision
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, Strategy
from torch import Tensor, nn
from torch.optim import Optimizer

from ablate.model.language import Block
from ablate.run.settings import Settings

# Parameters whose gradients are added up, or that are gathered, at a time: 134 MB, while the backward pass goes on
BUCKET = 2**25
WHOLE = 8  # times the width: smaller parameters (vectors, short convolutions) are not cut at stage 3


def installed() -> bool:
    return importlib.util.find_spec("deepspeed") is not None


def configuration(stage: int, settings: Settings) -> dict[str, Any]:
    """DeepSpeed's; the size of a batch in it serves its logs alone."""
    autocast, whole = settings.precision != "fp32", WHOLE * settings.size.width
    size = settings.size
    block = 4 * size.width**2 + 3 * size.width * size.hidden  # about; at stage 3 blocks are gathered as one
    sizes = dict.fromkeys(("reduce_bucket_size", "allgather_bucket_size"), BUCKET)
    sizes |= {"stage3_prefetch_bucket_size": max(BUCKET, block)}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "steps_per_print": None,
        "gradient_clipping": settings.optimizer.clip,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": stage,
            "stage3_param_persistence_threshold": whole,
            "overlap_comm": True,
            **sizes,
        },
        "torch_autocast": {"enabled": autocast, "dtype": "bfloat16", "lower_precision_safe_modules": []},
    }


class Untouched(DeepSpeedPrecision):
    """Backward pass and step by the engine, which casts as it is configured; nothing else is cast."""

    def __init__(self) -> None:
        super().__init__("32-true")

    def convert_module(self, module: nn.Module) -> nn.Module:
        return module


class Zero(DeepSpeedStrategy):
    """One of the three stages."""

    def __init__(self, stage: int, settings: Settings, device: str, backend: str, patience: timedelta) -> None:
        os.environ["DS_ACCELERATOR"] = device
        super().__init__(
            config=configuration(stage, settings),
            cluster_environment=LightningEnvironment(),
            precision_plugin=Untouched(),
            process_group_backend=backend,
            timeout=patience,
            logging_level=logging.ERROR,
        )

    def setup_environment(self) -> None:
        DDPStrategy.setup_environment(self)  # Lightning's own for DeepSpeed refuses CPUs

    def setup_distributed(self) -> None:
        import deepspeed

        DDPStrategy.setup_distributed(self)
        # On CPUs DeepSpeed would compile a collective of its own, which needs a compiler, and AVX-512 for bfloat16
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.init_distributed(dist_backend=self.process_group_backend)

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        return False  # whole weights into a whole model

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    @property
    def _module(self) -> LightningModule:
        assert self.lightning_module is not None
        return self.lightning_module

    @property
    def optimizer(self) -> Any:
        """DeepSpeed's, which steps parts; `optimizer.optimizer` is ours."""
        return self.optimizers[0]

    def _setup_model_and_optimizer(self, model: Any, optimizer: Any, lr_scheduler: Any = None) -> Any:
        import deepspeed

        self.groups = [group["params"] for group in optimizer.param_groups]  # before DeepSpeed puts its own there
        if self.zero_stage_3:
            # A block is gathered as one: some of its parameters are used outside their own modules, as is the head's
            deepspeed.utils.set_z3_leaf_modules(model, [Block])
            deepspeed.zero.register_external_parameter(model, model.model.head_weight)
        # As Lightning does, without its index of the device, which a CPU has none of
        engine, zero, *_ = deepspeed.initialize(
            config=self.config, model=model, optimizer=optimizer, dist_init_required=False
        )
        return engine, zero

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Gradients of a part of the step's rows: they are kept, and not yet final."""
        self.deepspeed_engine.set_gradient_accumulation_boundary(False)
        yield
        self.deepspeed_engine.set_gradient_accumulation_boundary(True)

    def grad_norm(self) -> Tensor:
        """Of the last step, before clipping. DeepSpeed skips a step whose gradients are not finite."""
        norm = float("inf") if self.optimizer.overflow else self.deepspeed_engine.get_global_grad_norm()
        return torch.as_tensor(norm)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        return self._module.training_step(*args, **kwargs)  # which calls the engine for each part of the rows

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return {name: self._whole(parameter) for name, parameter in self._module.named_parameters()}

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        Strategy.load_model_state_dict(self, checkpoint, strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """As torch's optimizer would give it without any cutting: by the parameter's place among all groups."""
        self._link()
        kept = self.optimizer.optimizer.state[self._flat_parts()[0]]  # names, and what is one number for all
        state = {
            key: {
                name: self._whole(parameter, name) if value.ndim else value.to("cpu", copy=True)
                for name, value in kept.items()
            }
            for key, parameter in enumerate(self._parameters())
        }
        keys, groups = iter(state), []
        for group, now in zip(self.groups, optimizer.param_groups, strict=True):
            groups.append(now | {"params": [next(keys) for _ in group]})
        return {"state": state, "param_groups": groups}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """DeepSpeed keeps the state of all its part of a group in one vector, of which each parameter has a stretch."""
        state = checkpoint["optimizer_states"][0]["state"]
        for flat in self._flat_parts():
            self.optimizer.optimizer.state[flat] = {
                name: torch.zeros_like(flat) if value.ndim else value.to(flat.device, copy=True)
                for name, value in state[0].items()
            }
        self._link()
        for key, parameter in enumerate(self._parameters()):
            for name, value in state[key].items():
                if value.ndim:
                    self._put(parameter, name, value)

    def _link(self) -> None:
        """Tell parameters where the optimizer keeps their stretches. DeepSpeed does so after stepping the first group,
        when there are none of the others yet."""
        if not self.zero_stage_3:
            self.optimizer._hp_optimizer_states_linked = False
            self.optimizer._lazy_init_hp_params_optimizer_state()

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.groups for parameter in group]

    def _flat_parts(self) -> list[Tensor]:
        """This process's part of all parameters, in fp32, group after group: what our optimizer steps."""
        if self.zero_stage_3:
            return self.optimizer.fp32_partitioned_groups_flat
        return self.optimizer.single_partition_of_fp32_groups

    def _whole(self, parameter: nn.Parameter, name: str | None = None) -> Any:
        """All parts together of a parameter, or of what the optimizer keeps of it; only the first process has it."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        if name is not None:
            whole = safe_get_full_optimizer_state(parameter, name)
        else:
            whole = safe_get_full_fp32_param(parameter) if self.zero_stage_3 else parameter
        assert whole is not None
        # a copy, since parameters are views of one vector, which safetensors does not write
        return whole.detach().to("cpu", copy=True) if self.is_global_zero else None

    def _put(self, parameter: Any, name: str, whole: Tensor) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        if not self.zero_stage_3:
            return safe_set_full_optimizer_state(parameter, whole.to(self.root_device), name)
        size = parameter.ds_tensor.numel()  # of every part; the last is filled up with zeros
        padded = nn.functional.pad(whole.flatten(), (0, size * self.world_size - whole.numel()))
        safe_set_local_optimizer_state(parameter, padded[size * self.global_rank :][:size], name)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        Strategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only)

    def teardown(self) -> None:
        """Nothing moves to the CPU, as in Lightning's: parts stay what they are, to be gathered for the record."""
        assert self.cluster_environment is not None
        self.cluster_environment.teardown()
