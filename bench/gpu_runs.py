"""Whole runs on one GPU: `train_run` against a bare loop, start-up and checkpoints, and a sweep of small runs."""

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ablate.fit import optimizer as optimizers
from ablate.fit.checkpoint import SafetensorsIO, sha256
from ablate.model.language import build
from bench import cases, loops
from bench.gpu_speed import TINY, ZAGREUS, measured, shaped
from bench.gpu_tools import DEVICE, sync, tell
from bench.rounds import ROOT

RUNS = 20


def whole(dry: bool) -> None:
    """Milliseconds a step of the whole of `train_run` and of the bare loop, 10 M parameters, 65,536 tokens a step."""
    steps, rows = (6, 16) if dry else (60, 256)
    with cases.outputs() as outputs:
        one = cases.settings("nano" if dry else "micro", steps, outputs, "fp32" if dry else "bf16")
        where = dataclasses.replace(one.where, device=DEVICE, micro_tokens=2**20, deterministic=DEVICE == "cpu")
        one = dataclasses.replace(one, where=where, step_tokens=rows * cases.LENGTH, tokens=steps * rows * cases.LENGTH)
        ours = loops.ours(one)["seconds"]
    bare = measured(one, rows, False, 3 if dry else 30)["ms"] / 1e3
    mine = statistics.median(ours[len(ours) // 3 :])
    tell("whole", ms=1e3 * mine, bare_ms=1e3 * bare, ours_over_bare=bare / mine)


def start(dry: bool) -> None:
    """Seconds of what a run does besides steps, at 0.44 B parameters: draw, hash, save, restore."""
    one = shaped(TINY if dry else ZAGREUS, 512 if dry else 128_256, 64, {})
    model = _timed("draw and move", lambda: build(one.model, one.size, one.data.vocabulary, 0).to(DEVICE))
    optimizer = optimizers.build(model, one.optimizer)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    contents = {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()], "average": {}}
    _timed("sha256 of the weights", lambda: sha256(model.state_dict()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoints" / "step-1"
        _timed("save, which the run waits for", lambda: SafetensorsIO().save_checkpoint(contents, path))
        size = sum(file.stat().st_size for file in path.iterdir())
        loaded = _timed("restore to the CPU", lambda: SafetensorsIO().load_checkpoint(path))
        tell("start", what="bytes of a checkpoint", gigabytes=size / 1e9)
    same = all(torch.equal(value.cpu(), loaded["state_dict"][name]) for name, value in model.state_dict().items())
    tell("start", what="the same bits come back", same=same)


def _timed(what: str, work: Callable[[], Any]) -> Any:
    sync()
    begin = time.perf_counter()
    found = work()
    sync()
    tell("start", what=what, seconds=time.perf_counter() - begin)
    return found


def sweep(dry: bool) -> None:
    """A study of small runs on one GPU, one at a time and several at once: runs an hour."""
    tokens = 4096 if dry else 2_000_000
    for at_once, runs in ((1, 2),) if dry else ((4, RUNS), (1, RUNS // 5)):
        with cases.outputs() as outputs:
            group = "laptop" if DEVICE == "cpu" else "gpu_small"
            words = [f"where={group}", f"where.outputs={outputs}", f"where.runs_per_device={at_once}"]
            words += [f"seed={','.join(map(str, range(runs)))}", f"size={'pico' if dry else 'micro'}"]
            words += [f"tokens={tokens}", f"step_tokens={1024 if dry else 65_536}", "evaluation={times: 1, spans: 1}"]
            command = [sys.executable, "-m", "ablate.train", "-m", "controls=none", "where.wandb=off", *words]
            begin = time.perf_counter()
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - begin
            results = [json.loads(path.read_text()) for path in outputs.glob("runs/*/result.json")]
        if len(results) < runs:
            raise RuntimeError(f"{len(results)} of {runs} runs: {ended.stdout[-400:]} {ended.stderr[-400:]}")
        trained = sum(one["seconds"] for one in results)
        found = {"runs_an_hour": 3600 * runs / seconds, "tokens_per_second": runs * tokens / seconds}
        tell("sweep", at_once=at_once, runs=runs, tokens_each=tokens, seconds=seconds, trained_seconds=trained, **found)
