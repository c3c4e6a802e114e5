"""How long a checkpoint holds up the steps of a run under FSDP: whole, and in parts written while the run goes on.

Two processes of one thread each train a few steps of a model of 0.4 B parameters. Counted is the time in which a
process takes no step because of the checkpoint: the call itself, and the wait for the copy before weights change.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from ablate.data.tokens import opened
from ablate.fit import run, saver
from ablate.fit.parallel import processes, strategy
from ablate.fit.parallel.fsdp import FSDP
from ablate.fit.sharded import Saving
from ablate.run.parse import from_config
from ablate.run.settings import Settings
from ablate.sweep.worker import Task, alone
from bench.rounds import Row

SIZES = {
    False: {"width": 1280, "depth": 20, "heads": 20, "kv_heads": 5, "hidden": 3584},
    True: {"width": 64, "depth": 4, "heads": 2, "kv_heads": 1, "hidden": 128},
}
STEPS, ROWS, LENGTH = 6, 2, 64
BELOW = 0.2  # seconds, the target


def saves(quick: bool) -> list[Row]:
    """seconds without a step for each checkpoint of 0.4 B parameters, two processes under FSDP"""
    with tempfile.TemporaryDirectory() as folder:
        found = {way: seconds(Path(folder), way, quick) for way in ("in parts", "whole")}
    case = "tiny" if quick else "0.4 B"
    parts = Row(case, "in parts, s", found["in parts"], BELOW, "at most")
    return [parts, Row(case, "whole, s", found["whole"])]


def seconds(folder: Path, way: str, quick: bool) -> list[float]:
    """Of each checkpoint, of the process that it held up longest."""
    settings = asked(folder / way.replace(" ", "_"), quick)
    task = alone(settings)
    processes.together(train, 2, task, way)
    ranks = [json.loads((task.record.folder / f"saves-{rank}.json").read_text()) for rank in range(2)]
    return [max(both) for both in zip(*ranks, strict=True)]


def asked(outputs: Path, quick: bool) -> Settings:
    data = {"domains": ["general"], "domain_bytes": 150_000, "span": LENGTH, "vocabulary": 1024}
    where = {"outputs": str(outputs), "device": "cpu", "strategy": "fsdp", "devices": 2, "saves": STEPS // 2}
    common = {"data": data, "length": {"lengths": [LENGTH], "starts": [0]}, "evaluation": {"times": 1, "spans": 2}}
    step_tokens = ROWS * LENGTH
    where |= {"wandb": "off", "progress": False, "peak_tflops": 0.1}
    return from_config(
        common | {"size": SIZES[quick], "tokens": STEPS * step_tokens, "step_tokens": step_tokens, "where": where}
    )


def train(task: Task, way: str, rank: int, port: int) -> None:
    """One process, which notes how long each checkpoint held it up."""
    os.environ.update(strategy.rank_environment(rank, task.settings.where, port))
    held: list[float] = []
    if way == "whole":
        mock.patch.object(FSDP, "save_parts", whole).start()
    saver.Saver.save = timed(saver.Saver.save, held, new=True)
    Saving.copied = timed(Saving.copied, held, new=False)
    run.train_run(task.settings, opened(task.corpus), task.record)
    (task.record.folder / f"saves-{rank}.json").write_text(json.dumps(held))


def whole(strategy: FSDP, path: Path, then: Callable[[], None]) -> None:
    """As a checkpoint is saved that others need."""
    strategy._module.trainer.save_checkpoint(path)
    if strategy.is_global_zero:
        then()


def timed(function: Callable[..., Any], held: list[float], new: bool) -> Callable[..., Any]:
    """`new`: a checkpoint begins; otherwise its time is added to that of the last one."""

    def called(*arguments: Any) -> Any:
        start = time.perf_counter()
        found = function(*arguments)
        spent = time.perf_counter() - start
        if new:
            held.append(spent)
        elif held:
            held[-1] += spent
        return found

    return called
