"""Muon for matrices, beside another optimizer for all that is none (Jordan et al. 2024; arXiv 2502.16982).

Muon makes the momentum of a matrix orthogonal, so that it moves all directions alike. That is about
one linear map: where several share a product (query, key and value; gate and up), each is made
orthogonal by itself, as if they were stored apart.

    qkv  [ q | k | v ]   momentum of the whole ── split by rows ── orthogonal q, k and v ── step in place
"""

from collections.abc import Callable, MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer


class Muon(torch.optim.Muon):
    """torch's, on the parts of each parameter: a group's `splits` are the rows of the matrices in each of its own."""

    # torch asks here for a group's tensors, then changes them in place: views of the whole will do
    # pyrefly: ignore[bad-override]
    def _init_group(
        self, group: MutableMapping[str, Any], params: list[Tensor], grads: list[Tensor], momenta: list[Tensor]
    ) -> bool:
        whole: tuple[list[Tensor], ...] = ([], [], [])
        is_complex = super()._init_group(group, *whole)
        for tensors, parts in zip(whole, (params, grads, momenta), strict=True):
            for tensor, rows in zip(tensors, group["splits"], strict=True):
                parts += tensor.detach().split(list(rows))
        return is_complex


class Both(Optimizer):
    """Two optimizers, each with its own parameters, that look like one: one list of groups, one state."""

    def __init__(self, first: Optimizer, second: Optimizer) -> None:
        self.parts = (first, second)
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    @torch.no_grad()
    # pyrefly: ignore[bad-override]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        with torch.enable_grad():
            loss = closure() if closure else None
        begin = 0
        for part in self.parts:
            # Anew each time: loading a state replaces both
            end = begin + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[begin:end], self.state
            part.step()
            begin = end
        return loss
