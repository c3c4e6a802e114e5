"""Under what conditions a run takes its steps, stream by stream: for the record, before the first of them.

    initial      digest of every parameter by name           kernels     what does the work of each mixer
    constants    numbers that modules were built with         numerics    switches of torch, types, threads
    optimizer    its class and numbers as constructed         versions    packages, Python, the machine
    decay        which parameters decay, and their layer      code        digest of the sources that move weights
    text         spans by domain, tokenizer, table of bytes   evaluation  digest of the held-out rows by domain

A configuration says what was asked for; this says what there was. `validity.confounds` compares it between runs.
"""

import ast
import functools
import hashlib
import inspect
import platform
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ablate.data.batches import Batch
from ablate.data.tokens import Corpus
from ablate.fit.module import Pretraining
from ablate.fit.parallel import strategy
from ablate.fit.probe import digest
from ablate.model import linear
from ablate.plan.order import Order
from ablate.run import optimizer as optimizers
from ablate.run.machine import PACKAGES, numeric_variables, package_version, processor
from ablate.run.whole import sha256_of

CODE = (
    "run/fields",
    "run/settings",
    "run/compress",
    "run/distill",
    "run/where",
    "run/preference",
    "run/optimizer",
    "run/monitor",
    "run/trouble",
    "run/insert",
    "run/questions",
    "run/checks",
    "run/steps",
    "run/identity",
    "run/start",
    "run/parse",
    "plan",
    "data",
    "model",
    "scores",
    "compress",
    "fit",
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
RATES = ("lr", "weight_decay", "initial_lr")  # of a group: set anew at every step
TENSORS = ("params", "splits")
PLAIN = (bool, int, float, str, tuple)


def before_loading(module: Pretraining, corpus: Corpus, order: Order, held_out: Batch) -> dict[str, Any]:
    """Of the model as it was built, and of the text: what a checkpoint may overwrite is read first."""
    settings = module.settings
    device = torch.device(strategy.accelerator(settings.where))
    named = module.model.named_parameters()
    return {
        "initial": {name: f"{tuple(value.shape)} {digest([value])}" for name, value in named if not value.is_meta},
        "constants": _constants(module.model),
        **{f"module {name}": _source(name) for name in settings.where.imports},
        "kernels": module.model.kernels(device, max(settings.length.lengths)),
        "text": _text(corpus, order) | {"bytes per token": digest([module.bytes_per_token])},
        "evaluation": by_domain(held_out, settings.data.domains),
    }


def at_start(module: Pretraining, optimizer: Optimizer) -> dict[str, Any]:
    """Of the optimizer, the machine and the code."""
    where = module.settings.where
    whole = {
        "optimizer": _optimizer(optimizer) | {"clip": _clip(module.settings.optimizer)},
        "decay": _groups(module.model, optimizer),
    }
    return (whole if where.strategy in ("single", "ddp") else {}) | {  # else parameters are in pieces
        "numerics": _numerics(module.device) | {"compiled": where.compile},
        "versions": {"python": platform.python_version()} | {name: package_version(name) for name in PACKAGES},
        "machine": {"device": strategy.hardware(where)["device"], "processor": processor()},
        "code": {"sources": code()},
        "split": strategy.cut(where) | {"recompute": where.recompute},
    }


def _clip(optimizer: optimizers.Optimizer) -> float | str:
    """The largest norm, or what else gradients are clipped by."""
    if optimizer.clipping == "norm":
        return optimizer.clip
    return f"{optimizer.clip} {getattr(optimizer, optimizer.clipping)}"


def by_domain(rows: Batch, domains: list[str]) -> dict[str, str]:
    """Digest of the rows of each domain."""
    return {name: digest([*rows.of_rows(rows.domain_B == number)[:3]]) for number, name in enumerate(domains)}


@functools.cache
def code() -> str:
    """Digest of all sources that can move a weight or a loss, as they are executed: comments and docstrings aside."""
    root, hasher = Path(__file__).parent.parent, hashlib.blake2b(digest_size=8)
    for name in CODE:
        for path in [root / f"{name}.py"] if (root / f"{name}.py").exists() else sorted((root / name).rglob("*.py")):
            hasher.update(f"{path.relative_to(root)}{executed(path.read_text(encoding='utf-8'))}".encode())
    return hasher.hexdigest()


def _source(module: str) -> str:
    """Digest of one of the user's modules, which `code` knows nothing of."""
    return hashlib.sha256(executed(inspect.getsource(sys.modules[module])).encode()).hexdigest()


def executed(source: str) -> str:
    """A module's tree without its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def scalars(group: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a group of parameters that hold for the whole run."""
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in sorted(group.items())}
    return {name: value for name, value in plain.items() if name not in (*RATES, *TENSORS) and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, PLAIN)


def _constants(model: nn.Module) -> dict[str, dict[str, str]]:
    """Numbers and words that each module keeps: an eps, a base of rotation, a probability."""
    found = {}
    for name, module in model.named_modules():
        shown = {key: value for key, value in vars(module).items() if key[0] != "_" and key != "recompute"}
        kept = {key: repr(value) for key, value in shown.items() if isinstance(value, PLAIN)}
        found[name or "model"] = {"class": type(module).__qualname__} | kept
    return found


def _text(corpus: Corpus, order: Order) -> dict[str, Any]:
    spans = dict(zip(order.domains, order.spans, strict=True))
    return {"tokenizer": sha256_of(corpus.folder / "tokenizer.json")[:16], "spans": spans}


def _optimizer(optimizer: Optimizer) -> dict[str, Any]:
    parts = getattr(optimizer, "parts", (optimizer,))
    numbers: dict[str, set[str]] = {}
    for group in optimizer.param_groups:
        for name, value in scalars(group).items():
            if name not in ("decays", "layer"):
                numbers.setdefault(name, set()).add(repr(value))
    found = {name: " ".join(sorted(values)) for name, values in numbers.items()}
    return {"class": " ".join(f"{type(part).__module__}.{type(part).__name__}" for part in parts)} | found


def _groups(model: nn.Module, optimizer: Optimizer) -> dict[str, str]:
    """Of every parameter: whether it decays, and the layer whose factor it gets; nothing for one left out."""
    place = {
        id(parameter): f"decays={group['decays']} layer={group['layer']}"
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    return {name: place.get(id(parameter), "") for name, parameter in model.named_parameters()}


def _numerics(device: torch.device) -> dict[str, Any]:
    """What decides how numbers are rounded, besides the types that the probe sees."""
    return {
        "threads": torch.get_num_threads(),
        "default type": str(torch.get_default_dtype()),
        "autocast type": str(torch.get_autocast_dtype(device.type)),
        "matrix products": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "oneDNN": f"{linear.HAS_ONEDNN} {torch.backends.mkldnn.enabled}",  # pyrefly: ignore
        "attention": f"{torch.backends.cuda.flash_sdp_enabled()} {torch.backends.cuda.math_sdp_enabled()}",
        "cuDNN": f"{torch.backends.cudnn.benchmark} {torch.backends.cudnn.allow_tf32}",  # pyrefly: ignore
        "denormals": float(torch.tensor(1e-38) * torch.tensor(1e-3)),  # 0 where they are flushed
        **{f"variable {name}": value for name, value in numeric_variables().items()},
    }
