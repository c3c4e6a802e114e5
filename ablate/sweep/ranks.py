"""One run trained by processes that somebody else started: srun, torchrun, or whatever sets what torchrun sets.

    torchrun --nproc-per-node 8 -m ablate.train +system=zagreus where.strategy=fsdp

The first process leads: it claims the run and chooses where the run grows from. Between two looks of two processes a
trunk may appear, so the others are told, through the store by which torch.distributed brings them together.
"""

import dataclasses
import functools
import importlib
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from ablate.data.tokens import opened
from ablate.plan.timeline import timeline
from ablate.run import parts
from ablate.run.record import run_record
from ablate.run.settings import Settings, SettingsError
from ablate.run.trunks import Growth, trunk_record
from ablate.sweep.claims import settled
from ablate.sweep.trunk import Branch, beginning, key, numerics
from ablate.sweep.worker import Task, growth_deleting_damaged, look_up

SET = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = timedelta(days=7)  # for the first process to prepare the text; when it dies, who started it ends the others
TOLD = "how the run is trained"


def started() -> bool:
    """Whether this is one of several processes that somebody else has started."""
    return all(name in os.environ for name in SET)


def is_first() -> bool:
    """Whether this process leads; one that nobody else has started does."""
    return not started() or os.environ["RANK"] == "0"


def placed(settings: Settings) -> Settings:
    """The settings on as many devices as there are processes. Raises SettingsError where they ask for others."""
    where, world = settings.where, int(os.environ["WORLD_SIZE"])
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    nodes = world // devices
    os.environ["NODE_RANK"] = os.environ.get("GROUP_RANK", str(int(os.environ["RANK"]) // devices))
    if where.executor != "local":
        raise SettingsError(f"where.executor={where.executor}: must be local where processes are started already")
    if world > 1 and where.strategy == "single":
        raise SettingsError(f"where.strategy=single: must be one for {world} processes together, such as ddp or fsdp")
    for name, asked, there in (("devices", where.devices, devices), ("nodes", where.nodes, nodes)):
        if asked not in (1, there):
            raise SettingsError(f"where.{name}={asked}: must be {there}, as processes were started, or left out")
    return dataclasses.replace(settings, where=dataclasses.replace(where, devices=devices, nodes=nodes))


def lead(task: Task, train: Callable[[Task], Any]) -> Any:
    """Choose where the run grows from, tell the other processes, and train."""
    settled(task.record)  # of a node that was lost, whose claim may look alive on the next one
    done = look_up(task)
    chosen = growth_deleting_damaged(task.settings.where.outputs, _ways_here(task), task.until)
    leave = {step: trunk.key for step, trunk in chosen.leave.items()}
    start = chosen.start.key if chosen.start else None
    told = {"done": done, "run": task.record.id, "corpus": str(task.corpus), "until": task.until}
    if started():
        _store().set(TOLD, json.dumps(told | {"start": start, "leave": leave}))
    return train(dataclasses.replace(task, ways=chosen))


def follow(settings: Settings) -> None:
    """Train beside the first process, once it has said what."""
    _store().set_timeout(PATIENCE)
    told = json.loads(_store().get(TOLD))
    if told["done"]:
        return
    outputs = settings.where.outputs
    leave = {int(step): trunk_record(outputs, name) for step, name in told["leave"].items()}
    start = trunk_record(outputs, told["start"]) if told["start"] else None
    train_run = importlib.import_module("ablate.fit.run").train_run
    growth = Growth(start, leave, told["until"])
    train_run(settings, opened(Path(told["corpus"])), run_record(outputs, told["run"]), growth)


@functools.cache  # the first process holds what the others ask until it ends
def _store() -> Any:
    """What these processes share at this try, by the address that the training will meet at."""
    store, _, _ = next(importlib.import_module("torch.distributed").rendezvous("env://"))
    return store


def _ways_here(task: Task) -> list[Branch]:
    """With the keys of the machine that trains: the one that planned may have another processor."""
    parts.load(task.settings.where.imports)
    settings, fingerprint = task.settings, opened(task.corpus).fingerprint
    one = beginning(task.record.id, timeline(settings), fingerprint, numerics(settings.where))
    assert not isinstance(task.ways, Growth)
    return [dataclasses.replace(branch, key=key(one, branch.step)) for branch in task.ways]
