"""Muon for matrices, beside another optimizer for all that is none (Jordan et al. 2024; arXiv 2502.16982).

Muon makes the momentum of a matrix orthogonal, so that it moves all directions alike. That is about
one linear map: where several share a product (query, key and value; gate and up), each is made
orthogonal by itself, as if they were stored apart.

    qkv  [ q | k | v ]   momentum of the whole ── split by rows ── orthogonal q, k and v ── step in place

On a GPU matrices of one shape are stacked and worked on together, some 2^26 numbers at a time: a few launches a shape,
where torch has 20 a matrix. A CPU takes them one by one, as torch does. The two agree to the rounding of bfloat16.
"""

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

CHUNK = 2**26  # numbers that are stacked at a time
Alike = tuple[list[Tensor], list[Tensor], list[Tensor]]  # parameters, gradients and momenta of one shape


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

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if not self._step_supports_amp_scaling:
            return super().step(closure)
        for group in self.param_groups:
            parts: tuple[list[Tensor], ...] = ([], [], [])
            self._init_group(group, *parts)
            for parameters, gradients, momenta in _of_one_shape(*parts):
                together(parameters, gradients, momenta, group, getattr(self, "found_inf", None))
        return None

    @property
    def _step_supports_amp_scaling(self) -> bool:
        return all(one.is_cuda for group in self.param_groups for one in group["params"])


def _of_one_shape(parameters: Sequence[Tensor], gradients: Sequence[Tensor], momenta: Sequence[Tensor]) -> list[Alike]:
    """The same in groups of matrices of one shape, CHUNK numbers or one matrix at a time."""
    groups: list[Alike] = []
    last: dict[torch.Size, Alike] = {}
    for three in zip(parameters, gradients, momenta, strict=True):
        shape = three[0].shape
        if shape not in last or (len(last[shape][0]) + 1) * three[0].numel() > CHUNK:
            last[shape] = ([], [], [])
            groups.append(last[shape])
        for several, one in zip(last[shape], three, strict=True):
            several.append(one)
    return groups


def together(
    parameters: list[Tensor],
    gradients: list[Tensor],
    momenta: list[Tensor],
    group: MutableMapping[str, Any],
    bad: Tensor | None = None,
) -> None:
    """A step of matrices of one shape, as torch takes it of each. Nothing changes where `bad` is 1 (`fit.guard`)."""
    lr, momentum, shape = group["lr"], group["momentum"], parameters[0].shape
    bad = parameters[0].new_zeros(()) if bad is None else bad
    momentum_SRC, gradient_SRC = torch.stack(momenta), torch.stack(gradients)
    gradient_SRC = torch.where(bad > 0, momentum_SRC, gradient_SRC)
    momentum_SRC.lerp_(gradient_SRC, 1 - momentum)
    update_SRC = orthogonal(gradient_SRC.lerp_(momentum_SRC, momentum), group)
    size = lr * 0.2 * max(shape) ** 0.5  # match_rms_adamw
    torch._foreach_copy_(momenta, list(momentum_SRC.unbind()))
    torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"] * (1 - bad))
    torch._foreach_sub_(parameters, list((update_SRC * (size * (1 - bad))).unbind()))


def orthogonal(update_SRC: Tensor, group: MutableMapping[str, Any]) -> Tensor:
    """Each matrix with singular values near 1 (Newton and Schulz), in bfloat16 as torch has it; float32 comes out."""
    (a, b, c), wide = group["ns_coefficients"], update_SRC.shape[1] <= update_SRC.shape[2]
    x = update_SRC.bfloat16() if wide else update_SRC.bfloat16().mT
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).float()


class Both(Optimizer):
    """Two optimizers, each with its own parameters, that look like one: one list of groups, one state."""

    found_inf: Tensor | None = None  # `fit.guard`

    @property
    def _step_supports_amp_scaling(self) -> bool:
        return all(getattr(part, "_step_supports_amp_scaling", False) for part in self.parts)

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
            if self.found_inf is not None:
                part.found_inf = self.found_inf  # pyrefly: ignore
            part.step()
            begin = end
        return loss
