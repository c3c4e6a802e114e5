"""Tokens per second of one run, one thread, float32, against what people would use instead.

Each loop gets the same batches and a model of the same shape. The first steps (allocations,
compilation) and all evaluations are left out.
"""

import functools
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench import cases
from bench.rounds import Row, ratios, report, run

WARMUP = {"nano": 10, "micro": 3}  # steps before the clock starts
STEPS = {"nano": 60, "micro": 12}  # steps measured
ROUNDS = 7
LITGPT = cases.ROOT / ".venv" / "litgpt" / "bin" / "python"

# What ours is divided by -> what the ratio should be at least
TARGETS = {"bare": 0.97, "hf": 1.08, "litgpt": 1.08, "litgpt, not compiled": 1.08}


def speed(quick: bool) -> list[Row]:
    """tokens per second, and ours over each of the others"""
    rows = []
    for size in cases.VOCABULARY:
        sides = {
            "ours": functools.partial(tokens_per_second, "ours", size, quick=quick),
            "bare": functools.partial(tokens_per_second, "bare", size, quick=quick),
            "hf": functools.partial(tokens_per_second, "hf", size, quick=quick),
            "litgpt": functools.partial(litgpt, size, True, quick),
            "litgpt, not compiled": functools.partial(litgpt, size, False, quick),
            "ours, compiled": functools.partial(tokens_per_second, "compiled", size, quick=quick),
        }
        found = run(sides, 1 if quick else ROUNDS)
        rows += [Row(size, f"{name}, tokens/s", values) for name, values in found.items()]
        rows += [Row(size, f"ours / {name}", ratios(found["ours"], found[name]), TARGETS[name]) for name in TARGETS]
        rows += [Row(size, "ours, compiled / litgpt", ratios(found["ours, compiled"], found["litgpt"]))]
    return rows


def tokens_per_second(loop: str, size: str, precision: str = "fp32", quick: bool = False) -> float:
    """Of one of `bench.loops`, in a process of its own."""
    steps = total_steps(size, quick)
    return steady(report([sys.executable, "-m", "bench.loops", loop, size, precision, str(steps)]), size)


def litgpt(size: str, compiled: bool, quick: bool = False) -> float:
    """Of litgpt's pretraining, in a process and with packages of its own."""
    with cases.outputs() as outputs, tempfile.TemporaryDirectory() as folder:
        one = cases.settings(size, total_steps(size, quick), outputs)
        steps, spec = cases.steps_of_run(one), Path(folder, "spec.json")
        np.save(Path(folder, "batches.npy"), np.stack([steps[t]["tokens"].numpy() for t in range(one.steps)]))
        adamw = {"lr": one.optimizer.lr, "weight_decay": one.optimizer.weight_decay, "betas": one.optimizer.betas}
        spec.write_text(
            json.dumps(
                {
                    "batches": str(Path(folder, "batches.npy")),
                    "precision": "32-true",
                    "compiled": compiled,
                    "optimizer": {"class_path": "torch.optim.AdamW", "init_args": adamw},
                    "config": {
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
                    },
                }
            )
        )
        return steady(report([str(LITGPT), str(cases.ROOT / "bench" / "litgpt_loop.py"), str(spec)]), size)


def total_steps(size: str, quick: bool) -> int:
    return WARMUP[size] + (3 if quick else STEPS[size]) + 1


def steady(found: dict, size: str) -> float:
    """Tokens per second once the first steps are over, all that a loop does between steps included."""
    seconds = found["seconds"][WARMUP[size] :]
    return cases.STEP_TOKENS * len(seconds) / sum(seconds)
