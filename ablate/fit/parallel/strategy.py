"""Where a run trains: devices, processes and how they share the work."""

import dataclasses
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy

from ablate.fit.parallel import zero
from ablate.fit.parallel.fsdp import FSDP
from ablate.model import budget
from ablate.plan.timeline import timeline
from ablate.run.record import Record
from ablate.run.settings import Settings, SettingsError, Where


def single(settings: Settings) -> str:
    return "auto"


def ddp(settings: Settings) -> Strategy:
    """One copy of the model a process."""
    # Buffers hold each process's own sums, not to be overwritten with those of the first
    return DDPStrategy(
        process_group_backend=backend(settings.where),
        cluster_environment=LightningEnvironment(),
        broadcast_buffers=False,
        timeout=patience(settings.where),
    )


def fsdp(settings: Settings) -> Strategy:
    """Parameters, gradients and optimizer in parts, gathered block by block."""
    where = settings.where
    return FSDP(settings, backend(where), patience(where))


def deepspeed(settings: Settings) -> Strategy:
    """Optimizer (zero1), gradients (zero2) and parameters (zero3) in parts."""
    where = settings.where
    return zero.Zero(ZERO[where.strategy], settings, accelerator(where), backend(where), patience(where))


ZERO = {"zero1": 1, "zero2": 2, "zero3": 3}
STRATEGIES = {"single": single, "ddp": ddp, "fsdp": fsdp, **dict.fromkeys(ZERO, deepspeed)}


def trainer_arguments(settings: Settings) -> dict[str, Any]:
    """The part of Lightning's Trainer that says where."""
    where = settings.where
    return {
        "accelerator": accelerator(where),
        "strategy": STRATEGIES[where.strategy](settings),
        "devices": where.devices,
        "num_nodes": where.nodes,
    }


def accelerator(where: Where) -> str:
    if where.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if where.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("where.device=cuda: no GPU is visible here; use where.device=cpu")
    return where.device


def in_parts(settings: Settings) -> Settings:
    """The settings with where.micro_tokens=0 replaced by what it means here; equal on all processes of the run."""
    where = settings.where
    if where.micro_tokens:
        return settings
    # A run of rounded weights cut otherwise is another run, so its cut must not depend on the machine
    gpu = accelerator(where) == "cuda" and settings.model.linear == "dense"
    memory = torch.cuda.get_device_properties(0).total_memory if gpu else 0
    tokens = budget.micro_tokens(settings, memory) if gpu else budget.MICRO_TOKENS
    return dataclasses.replace(settings, where=dataclasses.replace(where, micro_tokens=tokens))


def check_cut(settings: Settings, record: Record) -> None:
    """Raise SettingsError where a run of rounded weights would go on with its steps cut otherwise than they were.

    Rounding to few values is a jump: sums in another order end up as far away as another seed.
    """
    if settings.model.linear == "dense" or not record.saved_step or not (starts := record.starts()):
        return
    for key, now in cut(settings.where).items():
        if (before := starts[-1]["split"][key]) != now:
            allowed = f"{before}, as the first steps: a run of rounded weights cut otherwise is another run"
            name = "devices" if key == "processes" else key
            raise SettingsError(f"where.{name}: gives {key}={now}, must give {allowed}; {record.folder} holds them")


def cut(where: Where) -> dict[str, Any]:
    """The parts that a step is worked off in, and so the order of its additions."""
    return {"micro_tokens": where.micro_tokens, "processes": processes(where), "strategy": where.strategy}


def backend(where: Where) -> str:
    return "nccl" if accelerator(where) == "cuda" else "gloo"


def patience(where: Where) -> timedelta:
    """How long a process waits for the others."""
    return timedelta(minutes=where.wait_minutes)


def threads(where: Where) -> int:
    """Threads of one process: with where.threads=0 its part of the cores that the run has on this machine."""
    own = where.slurm.cpus if where.executor == "slurm" else 0  # Slurm gives each process cores of its own
    return where.threads or own or max(1, len(os.sched_getaffinity(0)) // where.devices)


def processes(where: Where) -> int:
    return where.devices * where.nodes


def check(settings: Settings) -> None:
    """Every process must get equally many rows of every step."""
    where = settings.where
    world = processes(where)
    if where.graphs and accelerator(where) == "cpu":
        raise SettingsError("where.graphs=true: must be false on a CPU, which is given no CUDA graphs")
    if where.strategy in ZERO and not zero.installed():
        raise SettingsError(f"where.strategy={where.strategy}: needs DeepSpeed; pip install 'ablate[deepspeed]'")
    if where.gradient_norms and where.strategy in ZERO:
        allowed = "false: DeepSpeed keeps gradients to itself; single, ddp and fsdp show them"
        raise SettingsError(f"where.gradient_norms=true: must be {allowed}")
    for rows in {int(count) for count in timeline(settings).table["rows"]}:
        if rows % world:
            raise SettingsError(f"where.devices={where.devices}: {rows} rows of a step do not divide by {world}")


def weights(trainer: L.Trainer) -> dict[str, Any]:
    """The whole weights of the model by name, on the first process; every process must call it."""
    named = trainer.strategy.lightning_module_state_dict()
    return {name.removeprefix("model."): tensor for name, tensor in named.items()}


def hardware(where: Where) -> dict[str, Any]:
    """What the run trains on, for the record."""
    gpu = accelerator(where) == "cuda"
    return {
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "processes": processes(where),
        "threads": torch.get_num_threads(),
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "cuda": _cuda() if gpu else {},
    }


def _cuda() -> dict[str, str]:
    """Versions of what lies between torch and a GPU."""
    driver = Path("/proc/driver/nvidia/version")
    found = re.search(r"\d+\.\d+(\.\d+)?", driver.read_text()) if driver.exists() else None
    nccl = ".".join(map(str, torch.cuda.nccl.version()))
    return {"cuda": torch.version.cuda or "", "nccl": nccl, "driver": found[0] if found else ""}


def is_first() -> bool:
    """Whether this process is the first of its run, as it can be known before there is a trainer."""
    return all(int(os.environ.get(name, 0)) == 0 for name in ("NODE_RANK", "LOCAL_RANK"))


def rank_environment(local_rank: int, where: Where, port: int) -> dict[str, str]:
    """What one process of several must find in its environment."""
    return {
        "LOCAL_RANK": str(local_rank),
        "NODE_RANK": os.environ.get("NODE_RANK", "0"),
        "WORLD_SIZE": str(processes(where)),
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("MASTER_PORT", str(port)),
    }
