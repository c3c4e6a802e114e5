"""What the training code does to a fixed little batch, as digests: a run's arithmetic, asked before its first step.

Constants that no configuration shows (an eps, a rotary base, a dropout, a shifted label, another clipping,
a rounded state) are seen in what they do. Three steps of the very method that trains, on the initial
weights, at rates and shares of the average that are the same for every run, then one evaluation:

    step   rows             rates        tokens that the loss is divided by    share in the average
    0      of all domains   1e-3, 0.1    those of the rows                     0
    1      of the first     1e-3, 0.1    1: gradients large enough to clip     1
    2      of the first     1e-3, 0.1    those of the row                      0.5

The rows are the beginning of the first validation row of each domain, one row at a time, so that gradients
are added up, and no setting of rows or micro-batches changes it. Afterwards all is as before, bit for bit:
weights, sums, average, the state of torch's generators. The optimizer is one of its own.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from ablate.data.batches import Batch
from ablate.fit.averaging import Average
from ablate.fit.module import Diverged, Pretraining
from ablate.model.language import initialise
from ablate.plan.timeline import ROW, Timeline

LENGTH = 128  # tokens of a row at most: two blocks of queries, two chunks of a state
RATE, WEIGHT_DECAY = 1e-3, 0.1
SHARES = (0.0, 1.0, 0.5)  # in the average, by step
SUMMED = 1  # the step whose loss is the sum of nats, not their mean


def possible(trainer: L.Trainer, module: Pretraining) -> bool:
    """Not where parameters are spread or steps compiled: there it would change what the training does next."""
    single = module.settings.where.strategy == "single" and trainer.world_size == 1
    return single and not module.settings.where.compile


def probe(trainer: L.Trainer, module: Pretraining) -> dict[str, Any]:
    """Digests of what comes out, and the types of numbers on the way. Before the first step, after weights
    have been loaded: whatever they are, the probe sees the initial ones."""
    outcome: dict[str, Any] = {}
    with _aside(trainer, module), _hidden(module) as hidden:
        try:
            _steps(trainer, module, outcome)
            outcome["evaluation"] = digest([*module.evaluate(lambda: None)])
        except Diverged as error:
            outcome["diverged"] = str(error)
        outcome["forward"] = digest(hidden[: len(module.validation["tokens"])])  # of the initial weights
        outcome["types"] = _types(trainer, module, hidden)
        outcome["draws"] = not torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(0).get_state())
    return outcome


def digest(tensors: list[Tensor]) -> str:
    """Of types, shapes and bits, 16 hex digits."""
    hasher = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        plain = tensor.detach().cpu().contiguous()
        hasher.update(f"{plain.dtype} {tuple(plain.shape)} ".encode())
        hasher.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()


def _steps(trainer: L.Trainer, module: Pretraining, outcome: dict[str, Any]) -> None:
    timeline, rows = module.timeline, module.validation
    first: Batch = {name: value[:1] for name, value in rows.items()}
    for step in range(len(SHARES)):
        batch = first if step else rows
        module.timeline = _row(timeline, step, batch)
        trainer.strategy.training_step(batch, step)
        named = dict(module.model.named_parameters())
        gradients = [parameter.grad for parameter in named.values() if parameter.grad is not None]
        outcome |= {
            f"loss {step}": digest([module.take_sums(), module.grad_norm]),
            f"gradients {step}": digest(gradients),
            f"update {step}": digest(list(named.values())),
            f"average {step}": digest(list(module.average.mean.values())),
        }


def _row(timeline: Timeline, step: int, batch: Batch) -> Timeline:
    """A timeline whose first step is that of the probe; the layers' factors stay those of the run's first step."""
    rows, width = batch["tokens"].shape
    row = np.zeros(1, dtype=ROW)
    row["lr"], row["weight_decay"], row["average"] = RATE, WEIGHT_DECAY, SHARES[step]
    row["rows"], row["length"] = (1, 1) if step == SUMMED else (rows, width - 1)
    one = dataclasses.replace(timeline, table=row)
    vars(one)["layer_factors"] = timeline.layer_factors[:1]
    return one


def _batch(module: Pretraining) -> Batch:
    """The beginning of the first validation row of each domain."""
    domain_R = module.validation["domain"]
    first = [int((domain_R == domain).nonzero()[0]) for domain in domain_R.unique()]
    batch = {"tokens": module.validation["tokens"][first, : LENGTH + 1], "domain": domain_R[first]}
    return {name: value.to(module.device) for name, value in batch.items()}


@contextmanager
def _aside(trainer: L.Trainer, module: Pretraining) -> Iterator[None]:
    """Initial weights, an optimizer and an average of the probe's own, its batch to evaluate on; then all as before."""
    kept = {name: getattr(module, name) for name in ("timeline", "settings", "validation", "average", "grad_norm")}
    weights, sums_D3 = [parameter.detach().clone() for parameter in module.parameters()], module.sums_D3.clone()
    optimizers, generator = trainer.strategy.optimizers, torch.get_rng_state()
    try:
        torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
        initialise(module.model, module.settings.seed)
        where = dataclasses.replace(module.settings.where, micro_tokens=1)  # a row at a time
        module.settings = dataclasses.replace(module.settings, where=where)
        module.validation, module.average = _batch(module), Average()
        module.sums_D3.zero_()
        trainer.strategy.optimizers = [module.configure_optimizers()]
        yield
    finally:
        with torch.no_grad():
            for parameter, before in zip(module.parameters(), weights, strict=True):
                parameter.copy_(before)
                parameter.grad = None
        for name, value in kept.items():
            setattr(module, name, value)
        module.sums_D3.copy_(sums_D3)
        trainer.strategy.optimizers = optimizers
        torch.set_rng_state(generator)


@contextmanager
def _hidden(module: Pretraining) -> Iterator[list[Tensor]]:
    """What leaves the model, forward pass after forward pass."""
    found: list[Tensor] = []
    handle = module.model.register_forward_hook(lambda _model, _inputs, output: found.append(output.detach()))
    try:
        yield found
    finally:
        handle.remove()


def _types(trainer: L.Trainer, module: Pretraining, hidden: list[Tensor]) -> dict[str, str]:
    parameters = list(module.model.parameters())
    states = [value for values in trainer.strategy.optimizers[0].state.values() for value in values.values()]
    return {
        "weights": _names(parameters),
        "activations": _names(hidden),
        "gradients": _names([parameter.grad for parameter in parameters if parameter.grad is not None]),
        "optimizer": _names([state for state in states if isinstance(state, Tensor)]),
        "average": _names(list(module.average.mean.values())),
        "sums": _names([module.sums_D3]),
    }


def _names(tensors: Sequence[Tensor]) -> str:
    return " ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors}))
