"""The smallest run worth a test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablate.run.parse import from_config
from ablate.run.settings import Settings

# Real text, little of it, and a model that trains in about a second
TINY: dict[str, Any] = {
    "data": {"domains": ["general", "code", "qa"], "domain_bytes": 150_000, "span": 64, "vocabulary": 512},
    "size": {"width": 32, "depth": 2, "heads": 2, "kv_heads": 1, "hidden": 64},
    "length": {"lengths": [32, 64], "starts": [0, 0.5]},
    "tokens": 10_240,
    "step_tokens": 512,
    "evaluation": {"times": 3, "spans": 4},
    "where": {"wandb": "off", "progress": False, "peak_tflops": 0.1, "workers": 2},
}


# What every run that is done has said of itself, and every row of its training
RESULT: dict[str, Any] = {
    "outcome": "finished",
    "weights_sha256": "0" * 64,
    "step": 2,
    "tokens": 1024,
    "flops": 1e9,
    "seconds": 1.0,
    "parameters": 1000,
    "mixture": {"asked": {}, "realised": {}},
}
ROW: dict[str, Any] = {"tokens": 1024, "lr": 0.003, "weight_decay": 0.1, "length": 64}
LOOK: dict[str, Any] = {"base_digest": "b", "metric": "macro", "seeds": [], "declared": [], "arms": {}}
DECLARATION: dict[str, Any] = {
    "name": "mix",
    "question": "",
    "base": "base",
    "arms": {},
    "runs": {"base": {}},
    "domains": ["qa"],
    "metric": "macro",
    "margin": 0.01,
    "confidence": 0.95,
}


def merged(base: dict, changes: dict) -> dict:
    """`base` with the values of `changes`, group by group."""
    return base | {
        key: merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in changes.items()
    }


def tiny_in(outputs: Path) -> Callable[..., Settings]:
    """tiny_in(outputs)(seed=1): settings of a run of a second into this folder, changed as said."""
    common = TINY | {"where": TINY["where"] | {"outputs": str(outputs)}}
    return lambda **changes: from_config(merged(common, changes))
