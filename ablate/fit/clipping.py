"""How gradients are scaled down before a step: one class a way, by the name in `optimizer.clipping`.

    norm     to `optimizer.clip`, all tensors together                                 no state
    zclip    to what the norms of the steps before let expect (arXiv 2504.02507)       mean and variance of norms
    adagc    each tensor to what its own norms let expect (arXiv 2502.11034)           a mean norm of each tensor

What a step leaves behind is kept only once the step is sure to be taken (`accept`): no NaN, and nothing of a step that
was left out. Nothing here waits for the device.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from ablate.run.optimizer import Optimizer

TINY = 1e-6  # as torch has it


class Norm:
    """As torch does it."""

    def __init__(self, settings: Optimizer) -> None:
        self.settings, self.largest = settings, settings.clip or float("inf")
        self.kept: dict[str, Tensor] = {}  # of the steps taken
        self.found: dict[str, Tensor] = {}  # with the step that is about to be taken

    def clip(self, parameters: Sequence[Tensor]) -> Tensor:
        """Scales the gradients; returns their norm before."""
        return _whole(torch.nn.utils.clip_grad_norm_(parameters, self.largest))

    def accept(self) -> None:
        """The step is taken."""
        self.kept = self.found

    def to(self, device: torch.device) -> None:
        """Move to where the gradients are: a checkpoint is read on the CPU."""
        self.kept = {name: value.to(device) for name, value in self.kept.items()}


class ZClip(Norm):
    """`steps`: taken so far; `mean` and `variance`: of their norms, first plain, then exponential, once clipped."""

    def clip(self, parameters: Sequence[Tensor]) -> Tensor:
        by, gradients = self.settings.zclip, _gradients(parameters)
        norm = _whole(torch.nn.utils.get_total_norm(gradients))
        value, zero = norm.double(), torch.zeros((), dtype=torch.float64, device=norm.device)
        steps, mean, variance = (self.kept.get(name, zero) for name in ("steps", "mean", "variance"))
        # The plain mean and variance of the first steps, a step at a time (Welford 1962)
        early_mean = mean + (value - mean) / (steps + 1)
        early_variance = (variance * steps + (value - mean) * (value - early_mean)) / (steps + 1)
        deviation = variance.sqrt()
        z = (value - mean) / (deviation + TINY)
        is_high = (steps >= by.warmup) & (z > by.sigma)
        usual = torch.where(is_high, mean + by.sigma * deviation * by.sigma / z, value)
        late_mean = by.memory * mean + (1 - by.memory) * usual
        late_variance = by.memory * variance + (1 - by.memory) * (usual - late_mean) ** 2
        early = steps < by.warmup
        self.found = {
            "steps": steps + 1,
            "mean": torch.where(early, early_mean, late_mean),
            "variance": torch.where(early, early_variance, late_variance),
        }
        _scale(gradients, (usual.clamp(max=self.largest) / (value + TINY)).clamp(max=1))
        return norm


class AdaGC(Norm):
    """`usual`: of each tensor the norm that it had, once clipped; the least while the norm of all is clipped, then an
    exponential mean. A gradient of nothing says nothing."""

    def clip(self, parameters: Sequence[Tensor]) -> Tensor:
        by, gradients = self.settings.adagc, _gradients(parameters)
        norm = _whole(torch.nn.utils.get_total_norm(gradients))
        norm_P = torch.stack([_whole(torch.linalg.vector_norm(one)) for one in gradients])
        steps = self.kept.get("steps", torch.zeros((), dtype=torch.float64, device=norm.device))
        usual_P = self.kept.get("usual", torch.full_like(norm_P, float("inf")))
        early = steps < by.warmup
        of_all_P = (self.largest / (norm + TINY)).clamp(max=1).expand_as(norm_P)
        scale_P = torch.where(early, of_all_P, (by.factor * usual_P / norm_P).clamp(max=1))
        scale_P = torch.where(norm_P > 0, scale_P, 1.0)
        clipped_P = norm_P * scale_P
        later_P = by.memory * usual_P + (1 - by.memory) * clipped_P
        now_P = torch.where(usual_P.isinf() | early, torch.minimum(usual_P, clipped_P), later_P)
        self.found = {"steps": steps + 1, "usual": torch.where(norm_P > 0, now_P, usual_P)}
        _scale(gradients, scale_P)
        return norm


# name -> settings of the optimizer -> what clips
CLIPPINGS: dict[str, type[Norm]] = {"norm": Norm, "zclip": ZClip, "adagc": AdaGC}


def build(settings: Optimizer) -> Norm:
    return CLIPPINGS[settings.clipping](settings)


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _whole(norm: Any) -> Tensor:
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def _scale(gradients: list[Tensor], by: Tensor) -> None:
    """Each gradient times its number, or all times the one, in place."""
    local = [one.to_local() if isinstance(one, DTensor) else one for one in gradients]
    numbers = by.to(local[0].dtype).expand(len(local)).unbind()
    torch._foreach_mul_(local, list(numbers))
