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
NEVER = 2**62
Kind = tuple[torch.dtype, torch.device]  # an optimizer may count its steps on the CPU
Sealed = dict[Kind, Tensor]


class Custody:
    """Inert until it is told what to watch. No step waits for what is found: `broken` does."""

    def __init__(self) -> None:
        self.steps = 0
        # Twice the steps before the first fault, on the device; odd where a step changed nothing (`broken`)
        self.first = torch.tensor(NEVER)
        self.sealed: Sealed | None = None
        self.views: tuple[list[int], dict[Kind, list[Tensor]]] = ([], {})

    def begin(self, module: Any, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Watch from now on, `step` steps taken."""
        self.module, self.optimizer, self.steps = module, optimizer, step
        self.sealed = self._look()
        self.first = torch.tensor(NEVER, device=next(iter(self.sealed.values())).device)

    @property
    def broken(self) -> str:
        """In words, what first went wrong, and after which step."""
        first = int(self.first)
        if first == NEVER:
            return ""
        if first % 2:
            return f"step {first // 2 + 1} changed nothing"
        return f"something but a step changed weights, moments or average after step {first // 2}"

    def opened(self) -> None:
        """A step begins."""
        if self.sealed:
            self._note(~self._same(self.sealed, self._look()), 2 * self.steps)

    def closed(self) -> None:
        """A step has ended."""
        if not self.sealed:
            return
        found = self._look()
        if any(group["lr"] for group in self.optimizer.param_groups):  # an optimizer may keep nothing but weights
            self._note(self._same(self.sealed, found), 2 * self.steps + 1)
        self.steps += 1
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

    def _note(self, wrong: Tensor, key: int) -> None:
        self.first = torch.minimum(self.first, torch.where(wrong, key, NEVER))

    def _same(self, before: Sealed, after: Sealed) -> Tensor:
        """Whether all bits are, on the device."""
        shapes = [{kind: view.shape for kind, view in one.items()} for one in (before, after)]
        if shapes[0] != shapes[1]:
            return torch.zeros((), dtype=torch.bool, device=self.first.device)
        found = [(before[kind] == after[kind]).all() for kind in before]
        return torch.stack([one.to(self.first.device, non_blocking=True) for one in found]).all()
