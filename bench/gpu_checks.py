"""Whether a GPU computes what a CPU does, and repeats itself: losses, hashes of weights, Mamba-2's kernels."""

import contextlib
import dataclasses
import itertools
from typing import Any

import torch
from torch import Tensor

from ablate.data.tokens import prepare_for
from ablate.fit import optimizer as optimizers
from ablate.fit.objectives import NextToken
from ablate.fit.run import train_run
from ablate.model import mamba
from ablate.model.language import build
from ablate.run.identity import record_name
from ablate.run.parse import from_plain
from ablate.run.record import run_record
from ablate.run.settings import Settings
from ablate.run.trunks import Growth
from bench import cases
from bench.gpu_speed import NANO, TINY
from bench.gpu_tools import DEVICE, batch_of, seconds_of, tell

MIXERS: dict[str, dict[str, Any]] = {
    "attention": {"pattern": "A"},
    "latent": {"pattern": "L"},
    "mamba": {"pattern": "M"},
    "hybrid": {"pattern": "MMA"},
    "ternary": {"pattern": "A", "linear": "ternary"},
}
PRECISIONS = ("fp32", "bf16-mixed", "bf16")
STEPS = 20


def losses(dry: bool) -> None:
    """The largest difference of a loss over 20 steps of the same batches."""
    for (name, model), precision in itertools.product(MIXERS.items(), PRECISIONS):
        one = from_plain({"model": model, "size": TINY if dry else NANO, "precision": precision})
        steps = 2 if dry else STEPS
        there, here = (_losses(one, device, steps) for device in (DEVICE, "cpu"))
        worst = max(abs(a - b) for a, b in zip(there, here, strict=True))
        tell("losses", mixer=name, precision=precision, worst=worst, last=there[-1], steps=steps, device=DEVICE)


def _losses(one: Settings, device: str, steps: int) -> list[float]:
    torch.use_deterministic_algorithms(True)
    model = build(one.model, one.size, one.data.vocabulary, one.seed).to(device)
    model.narrow = one.precision == "bf16"
    objective, optimizer = NextToken(one), optimizers.build(model, one.optimizer)
    batch, found = batch_of(4, 64, one.data.vocabulary).to(torch.device(device)), []
    ones = torch.ones(one.data.vocabulary, device=device)
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=one.precision != "fp32", cache_enabled=False):
            total = objective(model, batch, ones, 1).total
        (total / batch.tokens_BL.numel()).backward()
        optimizer.step()
        found.append(float(total) / batch.tokens_BL.numel())
    return found


def repeats(dry: bool) -> None:
    """The whole of `train_run`, twice and once in two parts: one hash, or several."""
    for (name, model), precision in itertools.product(MIXERS.items(), PRECISIONS[:1] if dry else PRECISIONS):
        for compiled in (False,) if dry or name != "attention" else (False, True):
            with contextlib.ExitStack() as stack:
                folders = [stack.enter_context(cases.outputs()) for _ in range(3)]
                runs = [_run_of(str(folder), model, precision, compiled, 4 if dry else STEPS) for folder in folders]
                found = [_weights(runs[0], ()), _weights(runs[1], ()), _weights(runs[2], (runs[2].steps // 2,))]
            same = {"twice": found[0] == found[1], "resumed": found[0] == found[2]}
            tell("repeats", mixer=name, precision=precision, compiled=compiled, device=DEVICE, **same)
        if dry:
            return


def _run_of(outputs: str, model: dict[str, Any], precision: str, compiled: bool, steps: int) -> Settings:
    one = cases.settings("nano", steps, outputs, precision)
    fitted = from_plain({"model": model}).model
    where = dataclasses.replace(one.where, device=DEVICE, compile=compiled)
    return dataclasses.replace(one, model=fitted, where=where)


def _weights(one: Settings, stops: tuple[int, ...]) -> str:
    """Their hash after all steps; stopped after some and taken up again."""
    corpus = prepare_for(one)
    record = run_record(one.where.outputs, record_name(one, corpus.fingerprint))
    for step in stops:
        with contextlib.suppress(SystemExit):
            train_run(one, corpus, record, Growth(until=step))
    return train_run(one, corpus, record)["weights_sha256"]


def mamba_kernels(dry: bool) -> None:
    """A layer with the kernels that are installed against the plain form: difference and milliseconds."""
    size = {"width": 64 if dry else 1024, "depth": 1, "heads": 4, "kv_heads": 4, "hidden": 64}
    one = from_plain({"model": {"pattern": "M", "mamba": {"head_width": 32 if dry else 64}}, "size": size})
    layer = build(one.model, one.size, 512, 0).to(DEVICE).get_submodule("blocks.0.mixer")
    x_BLD = torch.randn(2, 64 if dry else 4096, size["width"], device=DEVICE)
    assert isinstance(layer, mamba.Mamba2)
    kernel = layer.kernel(torch.device(DEVICE), x_BLD.shape[1])
    tell("mamba", kernel=kernel, installed=[mamba.HAS_MAMBA_SSM, mamba.HAS_CAUSAL_CONV1D])
    for precision in ("fp32", "bf16-mixed"):
        found: dict[str, Tensor] = {}
        for way in ("plain", "kernels"):
            scan, convolution = mamba.HAS_MAMBA_SSM, mamba.HAS_CAUSAL_CONV1D
            mamba.HAS_MAMBA_SSM, mamba.HAS_CAUSAL_CONV1D = scan and way == "kernels", convolution and way == "kernels"
            with torch.autocast(DEVICE, torch.bfloat16, enabled=precision != "fp32"):
                found[way] = layer(x_BLD).detach().float()
                seconds = seconds_of(lambda: layer(x_BLD).float().square().sum().backward(), 2 if dry else 10)
            mamba.HAS_MAMBA_SSM, mamba.HAS_CAUSAL_CONV1D = scan, convolution
            tell("mamba", way=way, precision=precision, ms=1e3 * seconds)
        off = (found["plain"] - found["kernels"]).norm() / found["plain"].norm()
        tell("mamba", precision=precision, relative_difference=off.item())
