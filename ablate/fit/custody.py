"""What nobody but a training step may touch: weights, moments and average, from the end of one step to the next.

    step t ── sealed ── evaluation, checkpoint, callbacks, hooks ── opened ── step t + 1
                             the same bits, or it is noted

A step is a function of the state before it and of its rows and rates. These are traced, and what the function does is
asked by `fit.probe`; so a run is what its configuration says if nothing else writes its state. Every so many
numbers of every tensor one is looked at. What scales, clamps, copies, resets or puts back a matrix is seen, and also a
step that changed nothing.
"""

from typing import Any

import torch
from torch import Tensor

SAMPLE = 64  # numbers of a tensor that are looked at, twice as many at most
Kind = tuple[torch.dtype, torch.device]  # an optimizer may count its steps on the CPU
Sealed = dict[Kind, Tensor]


class Custody:
    """Inert until it is told what to watch. `broken`: in words, what first went wrong, and after which step."""

    def __init__(self) -> None:
        self.broken = ""
        self.steps = 0
        self.sealed: Sealed | None = None
        self.views: tuple[list[int], dict[Kind, list[Tensor]]] = ([], {})

    def begin(self, module: Any, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Watch from now on, `step` steps taken."""
        self.module, self.optimizer, self.steps = module, optimizer, step
        self.sealed = self._look()

    def opened(self) -> None:
        """A step begins."""
        if self.sealed and not self._same(self.sealed, self._look()):
            self.broken = (
                self.broken or f"something but a step changed weights, moments or average after step {self.steps}"
            )

    def closed(self) -> None:
        """A step has ended."""
        if not self.sealed:
            return
        self.steps += 1
        found = self._look()
        moving = any(group["lr"] for group in self.optimizer.param_groups)  # an optimizer may keep nothing but weights
        if moving and self._same(self.sealed, found):
            self.broken = self.broken or f"step {self.steps} changed nothing"
        self.sealed = found

    def left_out(self) -> None:
        """A step has ended that was not taken."""
        self.opened()
        self.steps += 1

    def _look(self) -> Sealed:
        tensors = self._tensors()
        places = [tensor.data_ptr() for tensor in tensors]  # views are made once, unless a tensor is replaced
        if places != self.views[0]:
            by_kind: dict[Kind, list[Tensor]] = {}
            for tensor in tensors:
                sample = tensor.detach().flatten()[:: max(1, tensor.numel() // SAMPLE)]
                by_kind.setdefault((tensor.dtype, tensor.device), []).append(sample)
            self.views = places, by_kind
        return {kind: torch.cat(views) for kind, views in self.views[1].items()}

    def _tensors(self) -> list[Tensor]:
        kept = [value for values in self.optimizer.state.values() for value in values.values()]
        parameters = [value.detach() for value in self.module.model.parameters()]
        return [
            *parameters,
            *(value for value in kept if isinstance(value, Tensor)),
            *self.module.average.mean.values(),
        ]

    @staticmethod
    def _same(before: Sealed, after: Sealed) -> bool:
        return before.keys() == after.keys() and all(torch.equal(before[kind], after[kind]) for kind in before)
