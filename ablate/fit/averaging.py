"""A running average of the weights: evaluated and saved in their place, while training goes on with the raw ones.

    average <- (1 - share) * average + share * weights        share: column `average` of the timeline

    raw       o---o---o---o---o---o---o---o       gradients, optimizer, rates: never touched
    average               *---*---*---*---*       evaluation, weights at the end

Kept in float64. In float32 a step is lost where `share * (weights - average)` is below 6e-8 of the
average: at a share of 1e-4, where a weight is within 6e-4 of its average. And the roundings of n steps
add up to n * 6e-8 at worst; in float64 a million steps stay far below the rounding of the result.
Nothing is recomputed for the average: RMSNorm, the only norm here, has no statistics of batches.

Elementwise, hence right for whatever part of the parameters a device holds.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

CHUNK = 2**26  # numbers that are copied at a time


class Average:
    """`mean`: by parameter name, empty until the first share above 0."""

    def __init__(self) -> None:
        self.mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, model: nn.Module, share: float, bad: Tensor | None = None) -> None:
        """Take in the weights as they are now; a share of 1 starts anew with them. Nothing where `bad` is 1."""
        if share == 0:
            return
        named = {name: weights.detach() for name, weights in model.named_parameters()}
        if share == 1 or not self.mean:  # the step that was to begin it was left out
            self.mean = {name: weights.double() for name, weights in named.items()}
            return
        bad = next(iter(named.values())).new_zeros(()) if bad is None else bad
        keep, good = 1 - share * (1 - bad.double()), 1 - bad
        for names in _chunks(named):
            means = [self.mean[name] for name in names]
            torch._foreach_mul_(means, keep)
            torch._foreach_add_(means, torch._foreach_mul([named[name] for name in names], good), alpha=share)

    def to(self, device: torch.device) -> None:
        """Move to where the weights are: a checkpoint is read on the CPU."""
        self.mean = {name: mean.to(device) for name, mean in self.mean.items()}

    @torch.no_grad()
    def put_into(self, model: nn.Module) -> None:
        """Overwrite the weights with their average, once there is one."""
        for name, weights in model.named_parameters():
            if name in self.mean:
                weights.copy_(self.mean[name])

    @contextmanager
    def in_place_of_weights(self, model: nn.Module) -> Iterator[None]:
        """The model with the average for its weights; afterwards with the raw ones again, bit for bit."""
        raw = {name: weights.detach().clone() for name, weights in model.named_parameters() if name in self.mean}
        self.put_into(model)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, weights in model.named_parameters():
                    if name in raw:
                        weights.copy_(raw[name])


def _chunks(named: dict[str, Tensor]) -> Iterator[list[str]]:
    """Names of tensors that are worked on together, CHUNK numbers or one tensor at a time."""
    names, size = list[str](), 0
    for name, weights in named.items():
        if names and size + weights.numel() > CHUNK:
            yield names
            names, size = [], 0
        names.append(name)
        size += weights.numel()
    yield names
