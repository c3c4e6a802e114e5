"""What the training code does to a fixed little batch, as digests: a run's arithmetic, asked before its first step and
after its last.

    own      a run's own configuration, before the first step        like an arm's that differs in rates, mixture, ...
    twin     the base's configuration, in the run's process,         the base's own, to the bit, whatever an arm changes
             before the first step and after the last
    again    the last step, by a fresh module and optimizer          what the step did

Constants that no configuration shows (an eps, a rotary base, a dropout, a shifted label, another clipping,
a rounded state) are seen in what they do. Three steps of the very method that trains, at rates and shares of
the average that are the same for every run, then one evaluation:

    step   rows             targets that count     rates        share in the average
    0      of all domains   all                    1e-3, 0.1    0
    1      of the first     one: a gradient        1e-3, 0.1    1
                            large enough to clip
    2      of the first     all                    1e-3, 0.1    0.5

The rows are the beginning of the first validation row of each domain, one row at a time, so that gradients
are added up, and no setting of rows or micro-batches changes it. A whole row is evaluated, too. The module is a
second one, with the first weights as the seed draws them, an optimizer and an average of its own: nothing that trains
is touched.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from torch import Tensor
from torch.optim import Optimizer

from ablate.data.batches import Batch
from ablate.data.windows import IGNORED
from ablate.fit import optimizer as optimizers
from ablate.fit.module import Diverged, Pretraining
from ablate.plan.timeline import Timeline
from ablate.run.settings import Settings

LENGTH = 128  # tokens of a row at most: two blocks of queries, two chunks of a state
RATES = {"lr": 1e-3, "weight_decay": 0.1}
SHARES = (0.0, 1.0, 0.5)  # in the average, by step
MANY = 2**24  # numbers: not all bytes of more are hashed (0.7 GB a second, on the CPU alone), nor averages kept
SUMMED = 2**18  # numbers at a time
FACTOR = 0x1E3779B97F4A7C15
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of a number
LAST_FACTOR = 0.5  # of the head's rate; the factors of a curriculum between 1 and this


@dataclasses.dataclass(frozen=True)
class Subject:
    """A configuration with what it is asked on: its held-out rows, the bytes that its tokens stand for, and what makes
    a module of it."""

    settings: Settings
    held_out: Batch
    bytes_per_token: Tensor
    make: Callable[[Settings, Timeline, Tensor], Pretraining] = Pretraining


def possible(trainer: L.Trainer, module: Pretraining) -> bool:
    """Not where parameters are spread or steps compiled: the module of the probe would be another one. Nor where
    kernels need not repeat."""
    where = module.settings.where
    repeats = where.deterministic or module.device.type == "cpu"
    return where.strategy == "single" and trainer.world_size == 1 and not where.compile and repeats


def probe(trainer: L.Trainer, module: Pretraining, subject: Subject) -> dict[str, Any]:
    """Digests of what comes out, and the types of numbers on the way; `module`: what is trained."""
    generator = torch.get_rng_state()
    other, hidden = _second(trainer, module, subject), list[Tensor]()
    other.model.register_forward_hook(lambda _model, _inputs, output: hidden.append(output.detach()))
    optimizer = other.configure_optimizers()
    whole = _first_rows(subject.held_out).to(module.device)
    rows = whole._replace(tokens_BL=whole.tokens_BL[:, :LENGTH], targets_BL=whole.targets_BL[:, :LENGTH])
    torch.set_rng_state(still := torch.Generator().manual_seed(0).get_state())
    outcome: dict[str, Any] = {}
    try:
        with _precision(trainer, module.settings, subject.settings):
            _steps(trainer, other, optimizer, rows, outcome)
            evaluated = [other.evaluate(some, lambda: None) for some in (rows, whole.of_rows([0]))]
            outcome["evaluation"] = digest([sums for both in evaluated for sums in both])
    except Diverged as error:
        outcome["diverged"] = str(error)
    outcome["forward"] = digest(hidden[: len(rows.domain_B)])  # of the initial weights
    outcome["types"] = _types(other, optimizer, hidden)
    outcome["draws"] = not torch.equal(torch.get_rng_state(), still)
    torch.set_rng_state(generator)
    return outcome


@dataclasses.dataclass(frozen=True)
class Kept:
    """The state before a step, on the CPU, the rows of the step where they are, and torch's generators."""

    weights: dict[str, Any]
    optimizer: dict[str, Any]
    clipping: dict[str, Tensor]
    batch: Batch
    draws: list[Tensor]


def kept(trainer: L.Trainer, module: Pretraining, batch: Batch) -> Kept:
    weights, optimizer = module.model.state_dict(), trainer.optimizers[0].state_dict()
    return Kept(_apart(weights), _apart(optimizer), dict(module.clipping.kept), batch, _draws(module.device))


def outcome(module: Pretraining) -> str:
    """Digest of what the last step has left: its gradient's norm, and the weights."""
    return digest([module.grad_norm, *module.model.parameters()])


def again(trainer: L.Trainer, module: Pretraining, before: Kept, step: int) -> str:
    """The outcome of a step that a fresh module and optimizer take from the state before it.

    It is another than that of the step itself where something has been hung on the model, the optimizer or the trainer.
    """
    for parameter in module.parameters():
        parameter.grad = None  # of the step that was taken; they would lie beside those of the fresh module
    fresh = _second(trainer, module, Subject(module.settings, before.batch, module.bytes_per_token), one_row=False)
    there = {name: value.to(module.device) for name, value in before.weights.items()}
    fresh.model.load_state_dict(there, assign=True)  # no second copy where what was kept lies there already
    fresh.clipping.kept = before.clipping
    optimizer = fresh.configure_optimizers()
    optimizer.load_state_dict(before.optimizer)
    optimizers.set_rates(optimizer, module.timeline.table[step], module.timeline.layer_factors[step])
    now = _draws(module.device)
    _draw_from(before.draws)  # a part of the user's own may drop out
    try:
        with trainer.precision_plugin.train_step_context():
            fresh.take_step(before.batch, optimizer, 0.0)
    except Diverged as error:
        return str(error)
    finally:
        _draw_from(now)
    return outcome(fresh)


def digest(tensors: list[Tensor]) -> str:
    """Of types, shapes and bits, 16 hex digits. Of many numbers the sums of bits are hashed, made where they lie."""
    hasher, many = hashlib.blake2b(digest_size=8), sum(tensor.numel() for tensor in tensors) > MANY
    for tensor in tensors:
        hasher.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        if many:
            hasher.update(f"{_sum_of_bits(tensor.detach().flatten())}".encode())
        else:
            hasher.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def _sum_of_bits(flat: Tensor) -> int:
    """A sum of whole numbers modulo 2^64, the same on every device: each number has an odd factor by its place.

    One number that changes always moves it; what moves several hits the same sum once in 2^64 times.
    """
    weights, total = _weights(flat.device), torch.zeros((), dtype=torch.int64, device=flat.device)
    for part in flat.view(BITS[flat.element_size()]).split(SUMMED):
        total = total * FACTOR + (part * weights[: len(part)]).sum()
    return int(total)


@functools.cache
def _weights(device: torch.device) -> Tensor:
    x = torch.arange(1, SUMMED + 1, device=device) * FACTOR
    x = (x ^ (x >> 30)) * FACTOR
    return (x ^ (x >> 27)) | 1


def _draws(device: torch.device) -> list[Tensor]:
    """The states of torch's generators, of the CPU and then of the device."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _draw_from(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state)


def _second(trainer: L.Trainer, module: Pretraining, subject: Subject, one_row: bool = True) -> Pretraining:
    """A module of its own, its weights as the seed draws them, which works off a row at a time, if asked so."""
    settings, where = subject.settings, module.settings.where
    settings = dataclasses.replace(settings, where=dataclasses.replace(where, micro_tokens=1) if one_row else where)
    other = subject.make(settings, module.timeline, subject.bytes_per_token).to(module.device)
    other.trainer = trainer
    other.manual_backward = Tensor.backward  # callbacks are told of the run's own steps alone
    return other


@contextmanager
def _precision(trainer: L.Trainer, ours: Settings, theirs: Settings) -> Iterator[None]:
    """The types of another configuration, while it is asked."""
    kept = trainer.strategy.precision_plugin
    if theirs.precision != ours.precision:
        mixed = theirs.precision != "fp32"
        device = trainer.strategy.root_device.type
        trainer.strategy.precision_plugin = MixedPrecision("bf16-mixed", device) if mixed else Precision()
    try:
        yield
    finally:
        trainer.strategy.precision_plugin = kept


def _steps(trainer: L.Trainer, module: Pretraining, optimizer: Optimizer, rows: Batch, outcome: dict[str, Any]) -> None:
    first, factors = rows.of_rows([0]), np.linspace(1.0, LAST_FACTOR, module.model.size.depth + 2)
    only_last = torch.full_like(first.targets_BL, IGNORED)
    only_last[:, -1] = first.targets_BL[:, -1]
    batches = (rows, first._replace(targets_BL=only_last), first)
    for step, (batch, share) in enumerate(zip(batches, _shares(module), strict=True)):
        optimizers.set_rates(optimizer, RATES | {"average": share}, factors)
        with trainer.precision_plugin.train_step_context():
            module.take_step(batch, optimizer, share)
        outcome |= {
            f"loss {step}": digest([module.take_sums(), module.grad_norm]),
            f"update {step}": digest(list(module.model.parameters())),
            f"average {step}": digest(list(module.average.mean.values())),
        }


def _shares(module: Pretraining) -> tuple[float, ...]:
    """In the average; of a large model that has none nothing is asked about it: it takes twice the weights' memory."""
    numbers = sum(parameter.numel() for parameter in module.model.parameters())
    unasked = module.settings.averaging.kind == "none" and numbers > MANY
    return (0.0,) * len(SHARES) if unasked else SHARES


def _first_rows(held_out: Batch) -> Batch:
    """The first validation row of each domain."""
    return held_out.of_rows([int((held_out.domain_B == domain).nonzero()[0]) for domain in held_out.domain_B.unique()])


def _types(module: Pretraining, optimizer: Optimizer, hidden: list[Tensor]) -> dict[str, str]:
    parameters = list(module.model.parameters())
    states = [value for values in optimizer.state.values() for value in values.values()]
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


def _apart(state: Any) -> Any:
    """A copy of plain data and tensors, on the CPU."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {name: _apart(value) for name, value in state.items()}
    return [_apart(value) for value in state] if isinstance(state, list) else state
