"""Tokens per second of one run, one thread, float32, against what people would use instead.

Each loop gets the same batches and a model of the same shape; `bare` and ours end with the same
weights, bit for bit, and that is checked first. litgpt compiles its model, as it always does when it
pretrains. The first steps (allocations, compilation) and all evaluations are left out.
"""

import functools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ablate.run.settings import Settings
from bench import cases
from bench.rounds import ROOT, Row, ratios, report, run

WARMUP = {"nano": 10, "micro": 3}  # steps before the clock starts
STEPS = {"nano": 30, "micro": 8}  # steps measured
ROUNDS = 5
LITGPT = ROOT / ".venv" / "litgpt" / "bin" / "python"

# What ours is divided by -> what the ratio should be at least
TARGETS = {"bare": 0.97, "hf": 1.08, "litgpt": 1.08}


def speed(quick: bool) -> list[Row]:
    """tokens per second, and ours over each of the others"""
    rows = []
    for size in cases.VOCABULARY:
        assert len({process(loop, size, "fp32", 5)["weights"] for loop in ("ours", "bare")}) == 1, "unequal training"
        sides = {
            "ours": functools.partial(tokens_per_second, "ours", size, quick=quick),
            "bare": functools.partial(tokens_per_second, "bare", size, quick=quick),
            "hf": functools.partial(tokens_per_second, "hf", size, quick=quick),
            "litgpt": functools.partial(litgpt, size, quick),
        }
        found = run(sides, 1 if quick else ROUNDS)
        rows += [Row(size, f"{name}, tokens/s", values) for name, values in found.items()]
        rows += [Row(size, f"ours / {name}", ratios(found["ours"], found[name]), TARGETS[name]) for name in TARGETS]
    return rows


def tokens_per_second(loop: str, size: str, precision: str = "fp32", quick: bool = False) -> float:
    """Of one of `bench.loops`, in a process of its own."""
    return steady(process(loop, size, precision, total_steps(size, quick)), size)


def process(loop: str, size: str, precision: str, steps: int) -> dict[str, Any]:
    """The report of one of `bench.loops`."""
    return report([sys.executable, "-m", "bench.loops", loop, size, precision, str(steps)])


def litgpt(size: str, quick: bool = False) -> float:
    """Of litgpt's pretraining, in a process and with packages of its own."""
    if not LITGPT.exists():
        raise FileNotFoundError(f"{LITGPT}: `make bench` installs litgpt there")
    with cases.outputs() as outputs, tempfile.TemporaryDirectory() as folder:
        one = cases.settings(size, total_steps(size, quick), outputs)
        batches, spec = [cases.steps_of_run(one)[t] for t in range(one.steps)], Path(folder, "spec.json")
        windows = [torch.cat([batch.tokens_BL, batch.targets_BL[:, -1:]], dim=1) for batch in batches]
        np.save(Path(folder, "batches.npy"), torch.stack(windows).numpy())
        spec.write_text(json.dumps(litgpt_spec(one) | {"batches": str(Path(folder, "batches.npy"))}))
        return steady(report([str(LITGPT), str(ROOT / "bench" / "litgpt_loop.py"), str(spec)]), size)


def litgpt_spec(one: Settings) -> dict[str, Any]:
    """The same model and optimizer in litgpt's words."""
    adamw = {"lr": one.optimizer.lr, "weight_decay": one.optimizer.weight_decay, "betas": one.optimizer.betas}
    config = {
        "block_size": cases.LENGTH,
        "vocab_size": one.data.vocabulary,
        "padded_vocab_size": one.data.vocabulary,
        "n_layer": one.size.depth,
        "n_embd": one.size.width,
        "n_head": one.size.heads,
        "n_query_groups": one.size.kv_heads,
        "intermediate_size": one.size.hidden,
        "norm_eps": one.model.norm_eps,
        "rotary_percentage": 1.0,
        "parallel_residual": False,
        "bias": False,
        "norm_class_name": "RMSNorm",
        "mlp_class_name": "LLaMAMLP",
    }
    return {"config": config, "optimizer": {"class_path": "torch.optim.AdamW", "init_args": adamw}}


def total_steps(size: str, quick: bool) -> int:
    return WARMUP[size] + (3 if quick else STEPS[size]) + 1


def steady(found: dict[str, Any], size: str) -> float:
    """Tokens per second once the first steps are over, all that a loop does between steps included."""
    seconds = found["seconds"][WARMUP[size] :]
    return cases.STEP_TOKENS * len(seconds) / sum(seconds)
