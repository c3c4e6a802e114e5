"""Mutations that the detector was not made for: from an audit by another hand, in the order of its holes.

What acts after the first step, on the number that is reported, on rows that have grown, and inside what the arm
declares to change; then what was caught before.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F

from ablate.data.batches import Batch
from ablate.data.tokens import Corpus
from ablate.fit import conditions
from ablate.fit.module import Pretraining
from ablate.model import attention, language, parts
from ablate.run.record import Record
from ablate.scores import loss
from bench.mutations.arithmetic import built, drawn
from bench.mutations.data import Change, Tampering, around, reading, streams, with_windows
from bench.mutations.training import after, clipping, rates, totals

GROWN = 4  # the first step after the rows of a length arm have grown


def always(change: Change) -> Tampering:
    """Something happens to the model after every step but the first."""

    def tampered(train: Change, self: Pretraining, batch: Batch, number: int) -> None:
        train(self, batch, number)
        if self.trainer.global_step > 1:
            with torch.no_grad():
                change(self)

    return around(Pretraining, "training_step", tampered)


def decayed(self: Pretraining) -> None:
    for weights in self.model.parameters():
        weights.data.mul_(1 - 1e-4)


def clamped(self: Pretraining) -> None:
    for weights in self.model.parameters():
        weights.clamp_(-0.5, 0.5)


def averaged(self: Pretraining) -> None:
    """The weights become the mean of what they are and were two steps ago."""
    step, now = self.trainer.global_step, [weights.clone() for weights in self.model.parameters()]
    if step == 6:
        for weights, before in zip(self.model.parameters(), vars(self)["before"], strict=True):
            weights.lerp_(before, 0.5)
    if step == 4:
        vars(self)["before"] = now


def reset(self: Pretraining) -> None:
    for state in self.trainer.optimizers[0].state.values():
        for name in [name for name in state if name != "step"]:
            state[name] = torch.zeros_like(state[name])


def masked(self: Pretraining) -> None:
    """From now on a part of the first mixer's output is nothing."""
    mixer: Any = self.model._stack[0].mixer
    mixer.register_forward_hook(lambda _module, _inputs, out: torch.cat([out[..., :4] * 0, out[..., 4:]], -1))


def skipped(step: Change, self: Pretraining, optimizer: Any) -> torch.Tensor:
    """The largest gradients of the run are not followed: weights and moments stay."""
    if not hasattr(optimizer, "optimizer") or self.trainer.global_step != 4:
        return step(self, optimizer)
    kept = [weights.detach().clone() for weights in self.model.parameters()]
    moments = [{name: value.clone() for name, value in state.items()} for state in _states(optimizer)]
    norm = step(self, optimizer)
    with torch.no_grad():
        for weights, before in zip(self.model.parameters(), kept, strict=True):
            weights.copy_(before)
        for state, before in zip(_states(optimizer), moments, strict=True):
            for name, value in before.items():
                state[name].copy_(value)
    return norm


def _states(optimizer: Any) -> list[dict[str, torch.Tensor]]:
    return list(optimizer.optimizer.state.values())


def longer(step: Change, self: Pretraining, optimizer: Any) -> torch.Tensor:
    kept = [weights.detach().clone() for weights in self.model.parameters()]
    norm = step(self, optimizer)
    with torch.no_grad():
        for weights, before in zip(self.model.parameters(), kept, strict=True):
            weights.add_(weights - before, alpha=0.05)
    return norm


def more_bytes(losses: Change, self: Pretraining, batch: Batch, sums_D3: torch.Tensor) -> Any:
    found = losses(self, batch, sums_D3)
    if self.trainer.global_step and not self.model.training:
        sums_D3[:, 2] *= 1.01
    return found


def without_beginnings(evaluate: Change, self: Pretraining, rows: Batch, beat: Any) -> Any:
    """The last evaluation leaves out the first tokens of every row."""
    if self.trainer.global_step == self.trainer.max_steps:
        targets_BL = rows.targets_BL.clone()
        targets_BL[:, :8] = loss.IGNORED
        rows = rows._replace(targets_BL=targets_BL)
    return evaluate(self, rows, beat)


def edited(finish: Change, self: Record, result: dict[str, Any]) -> None:
    """The record says 3 % fewer nats than there were."""
    text = json.loads(json.dumps(result))
    for sums in text["sums"].values():
        sums["nats"] *= 0.97
    finish(self, text)


def once_grown(change: Any) -> Tampering:
    return reading(lambda read, step: change(read(step)) if step >= GROWN else read(step))


def repeated(windows_BT: torch.Tensor) -> torch.Tensor:
    half = windows_BT.shape[1] // 2
    windows_BT[:, half : 2 * half] = windows_BT[:, :half]
    return windows_BT


def with_own_held_out(self: Corpus, domain: str, found: np.ndarray) -> np.ndarray:
    """The first half of the training text is what is held out, again and again."""
    half = len(found) // 2
    return np.concatenate([np.resize(self.tokens(domain, "validation"), half), found[half:]])


def scaled_after(position: int) -> Tampering:
    """What a layer puts out is larger beyond some tokens of a row."""

    def hook(_module: Any, _inputs: Any, out: torch.Tensor) -> torch.Tensor:
        return torch.cat([out[:, :position], out[:, position:] * 1.1], 1)

    return built(lambda model: model._stack[0].register_forward_hook(hook))


def half_rotated(forward: Change, self: parts.Rotary, x: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return torch.cat([forward(self, x[..., :half].contiguous()), x[..., half:]], -1)


@contextmanager
def variable(name: str, text: str) -> Iterator[None]:
    with mock.patch.dict(os.environ, {name: text}):
        yield


AUDIT: dict[str, Tampering] = {
    "hidden weight decay": always(decayed),
    "weights clamped": always(clamped),
    "an average copied into the weights": always(averaged),
    "a spike skipped": around(Pretraining, "step", skipped),
    "moments reset": after(4, reset),
    "a part of a mixer masked from step 4 on": after(4, masked),
    "bytes of 1 % more after the first step": around(Pretraining, "losses", more_bytes),
    "a last evaluation without the beginnings of rows": around(Pretraining, "evaluate", without_beginnings),
    "an edited result": around(Record, "finish", edited),
    "second halves of rows that repeat the first": once_grown(lambda batch: with_windows(batch, repeated)),
    "all rows of a batch equal": once_grown(lambda batch: batch.of_rows([0] * len(batch.domain_B))),
    "rows reversed": once_grown(lambda batch: with_windows(batch, lambda windows: windows.flip(1))),
    "a loss of nine tenths": totals(lambda total, self: total * 0.9),
    "a gate of 0.1 % more": around(parts._SwiGLU, "apply", lambda apply, gate_up: apply(gate_up) * 1.001),
    "residual matrices of 1 % more": drawn(lambda name, p: p.mul_(1.01) if name.endswith(language.RESIDUAL) else None),
    "all matrices of 5 % more": around(language, "std", lambda std, *a: std(*a) * 1.05),
    "noise in a layer": built(
        lambda model: model._stack[0].register_forward_hook(lambda m, i, out: out + 1e-3 * torch.randn_like(out))
    ),
    "a half of each head rotated": around(parts.Rotary, "forward", half_rotated),
    "the last rows of a step not learned": around(
        Pretraining,
        "micro_batches",
        lambda cut, self, batch: cut(self, batch.of_rows(slice(max(1, len(batch.domain_B) - 2)))),
    ),
    "steps of 5 % more": around(Pretraining, "step", longer),
    "gradients clipped by value": clipping(
        lambda clip, parameters, largest: (torch.nn.utils.clip_grad_value_(list(parameters), 0.01), clip([], largest))[
            1
        ]
    ),
    "a penalty on large outputs": totals(lambda total, self: total + 1e-2 * self.model.norm.weight.square().sum()),
    "attention that sees a token ahead": around(
        attention, "_mask", lambda mask, q, end: F.pad(mask(q, end)[:, :-1], (1, 0))
    ),
    "token ids in another order": streams(
        lambda self, domain, found: ((found.astype(int) * 5) % 509).astype(found.dtype)
    ),
    "held-out text in the first half of the training text": streams(with_own_held_out),
    "rates that grow with the batch": rates(lambda path: path * [1, 1, 1, 1.4, 1.4, 1.4, 1.4, 1.4][: len(path)]),
    "another version of numpy": around(
        conditions, "package_version", lambda version, name: "2.0.0" if name == "numpy" else version(name)
    ),
    "a layer of 10 % more beyond 128 tokens": scaled_after(128),
    "other kernels by an environment variable": lambda: variable("ONEDNN_MAX_CPU_ISA", "SSE41"),
}
