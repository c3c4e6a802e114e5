"""Where a run trains: devices, processes and how they share the work."""

import os
import socket
from typing import Any

import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy

from ablate.plan.timeline import timeline
from ablate.settings import Settings, SettingsError, Where


def single(where: Where) -> str:
    return "auto"


def ddp(where: Where) -> Strategy:
    """One copy of the model a process; gloo on CPUs, NCCL on GPUs."""
    backend = "nccl" if accelerator(where) == "cuda" else "gloo"
    return DDPStrategy(process_group_backend=backend, cluster_environment=LightningEnvironment())


STRATEGIES = {"single": single, "ddp": ddp}


def trainer_arguments(where: Where) -> dict[str, Any]:
    """The part of Lightning's Trainer that says where."""
    return {
        "accelerator": accelerator(where),
        "strategy": STRATEGIES[where.strategy](where),
        "devices": where.devices,
        "num_nodes": where.nodes,
    }


def accelerator(where: Where) -> str:
    if where.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if where.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("where.device=cuda: no GPU is visible here; use where.device=cpu")
    return where.device


def check(settings: Settings) -> None:
    """Every process must get equally many rows of every step."""
    where = settings.where
    processes = where.devices * where.nodes
    if processes > 1 and where.strategy == "single":
        raise SettingsError(f"where.devices={where.devices}: one process with strategy=single; use where.strategy=ddp")
    for rows in {int(count) for count in timeline(settings).table["rows"]}:
        if rows % processes:
            raise SettingsError(f"where.devices={where.devices}: {rows} rows of a step do not divide by {processes}")


def hardware(where: Where) -> dict[str, Any]:
    """What the run trains on, for the record."""
    gpu = accelerator(where) == "cuda"
    return {
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "processes": where.devices * where.nodes,
        "threads": torch.get_num_threads(),
    }


def rank_environment(local_rank: int, where: Where, port: int) -> dict[str, str]:
    """What one process of several must find in its environment."""
    return {
        "LOCAL_RANK": str(local_rank),
        "NODE_RANK": os.environ.get("NODE_RANK", "0"),
        "WORLD_SIZE": str(where.devices * where.nodes),
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("MASTER_PORT", str(port)),
    }


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
