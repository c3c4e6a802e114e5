"""The small parts of a Llama-like block: RMSNorm, rotary positions, feed-forwards.

    x ── RMSNorm ── mixer ──(+)── RMSNorm ── feed-forward ──(+)──
    └───────────────────────┘└──────────────────────────────┘

RMSNorm, rotation and the gate of SwiGLU exist twice: a plain one, which says what it means, and one that passes
over memory half as often (eager PyTorch makes a pass per operation, and the plain RMSNorm makes
fifteen). They agree to rounding; the tests hold them to it. `torch.compile` gets the plain forms
and fuses them itself.

Shapes: B rows, L tokens of a row, D width, F feed-forward width, H heads, K width of a head.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ablate.model.linear import LINEARS

CACHE_BYTES = 2  # of a value that is kept at inference: 16 bits


class RMSNorm(nn.Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimension (Zhang and Sennrich, arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x_BLD: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or x_BLD.is_cuda:  # where torch has a kernel for all of it
            return plain_rms_norm(x_BLD, self.weight, self.eps)
        if torch.is_grad_enabled():
            return _RMSNorm.apply(x_BLD, self.weight, self.eps)
        return _scaled(x_BLD, self.weight, self.eps)[0]


def plain_rms_norm(x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, weight_D.shape, weight_D, eps).to(x.dtype)


def _scaled(x: Tensor, weight_D: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The norm, and the scale of each row."""
    # Of bf16 rows too the scale is float32: rounded to bf16 it would be off by up to 0.8 %, for the whole row
    exact = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=exact)
    scale = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    return (x * scale).mul_(weight_D).to(x.dtype), scale


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        y, scale = _scaled(x, weight_D, eps)
        ctx.save_for_backward(x, weight_D, scale)
        return y

    @staticmethod
    @once_differentiable
    # pyrefly: ignore[bad-override]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight_D, scale = ctx.saved_tensors
        # Sums, not products with a vector: inside autocast, where trainers may call backward, CUDA rounds those.
        x_grad = x * grads[0].to(scale.dtype)
        pull = (x_grad * weight_D).sum(-1, keepdim=True).mul_(scale.square()).div_(-x.shape[-1])
        grad_x = (grads[0] * weight_D).addcmul_(x, pull).mul_(scale)
        return grad_x, x_grad.mul_(scale).flatten(0, -2).sum(0), None


class Rotary(nn.Module):
    """Rotates each pair (2k, 2k + 1) of token t by t * theta^(-2k/K) (RoFormer, arXiv:2104.09864).

    A pair is a complex number and a rotation one product, the quickest form on a CPU by a factor of
    three. Hugging Face pairs (k, k + K/2) instead: the same model with its weights' rows reordered
    (`convert`).
    """

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = theta
        # Not a buffer: the length is not known here, and a buffer would be emptied with `meta` and rounded with bf16.
        self.turns: dict[tuple[int, int, torch.device], Tensor] = {}

    def forward(self, x_BLHK: Tensor, turn_BLK2: Tensor | None = None) -> Tensor:
        """Tokens 0, 1, ... of a row, or where `turn_BLK2`, made by `turns`, says that they are."""
        if turn_BLK2 is not None:
            return plain_rotary(x_BLHK, turn_BLK2)
        length, width = x_BLHK.shape[1], x_BLHK.shape[3]
        if torch.compiler.is_compiling():
            return plain_rotary(x_BLHK, turns(torch.arange(length, device=x_BLHK.device), width, self.theta))
        key = (length, width, x_BLHK.device)
        if key not in self.turns:
            # Validation may come first and run in inference mode, whose tensors autograd refuses later.
            with torch.inference_mode(False):
                self.turns[key] = turns(torch.arange(length, device=x_BLHK.device), width, self.theta)
        turn_LK = torch.view_as_complex(self.turns[key])
        y_BLHK = torch.view_as_complex(x_BLHK.float().unflatten(-1, (-1, 2))) * turn_LK[:, None]
        return torch.view_as_real(y_BLHK).flatten(-2).to(x_BLHK.dtype)


def plain_rotary(x_BLHK: Tensor, turn_LK2: Tensor) -> Tensor:
    """The same in real numbers, which is what `torch.compile` can fuse; the turns may differ by row."""
    a, b = x_BLHK.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = turn_LK2[..., None, :, :].unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2).to(x_BLHK.dtype)


def turns(position_L: Tensor, width: int, theta: float) -> Tensor:
    """Cosine and sine of t theta^(-2k/K), (..., L, width / 2, 2). In float32: bfloat16 cannot count to 1000."""
    frequency_K = 1.0 / theta ** (torch.arange(0, width, 2, device=position_L.device, dtype=torch.float32) / width)
    angle_LK = position_L.float()[..., None] * frequency_K
    return torch.stack((angle_LK.cos(), angle_LK.sin()), dim=-1)


class SwiGLU(nn.Module):
    """`down(silu(gate(x)) * up(x))` (Shazeer, arXiv:2002.05202); gate and up are one matrix product."""

    MATRICES = 3  # of width x hidden

    def __init__(self, width: int, hidden: int, linear: str) -> None:
        super().__init__()
        self.gate_up = LINEARS[linear](width, 2 * hidden, (hidden, hidden))
        self.down = LINEARS[linear](hidden, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        alone = torch.compiler.is_compiling() or not torch.is_grad_enabled()
        gated = plain_swiglu if alone else _SwiGLU.apply
        return self.down(gated(self.gate_up(x_BLD)))

    def flops(self) -> int:
        """Forward FLOPs per token of the matrices."""
        return self.gate_up.flops() + self.down.flops()


def plain_swiglu(gate_up: Tensor) -> Tensor:
    """The last dimension is [gate | up]; half as wide comes out."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        silu = F.silu(gate)
        ctx.save_for_backward(gate_up, silu)
        return silu * up

    @staticmethod
    @once_differentiable
    # pyrefly: ignore[bad-override]
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        gate_up, silu = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        grad = torch.empty_like(gate_up)
        to_gate, to_up = grad.chunk(2, dim=-1)
        torch.mul(grads[0], silu, out=to_up)
        torch.ops.aten.silu_backward.grad_input(grads[0] * up, gate, grad_input=to_gate)
        return grad


class SquaredReLU(nn.Module):
    """`down(relu(up(x))^2)`: two matrices, no gate (Primer, arXiv:2109.08668).

    At the same `hidden` it has two thirds of SwiGLU's parameters and FLOPs; 3/2 of it makes them equal.
    """

    MATRICES = 2  # of width x hidden

    def __init__(self, width: int, hidden: int, linear: str) -> None:
        super().__init__()
        self.up = LINEARS[linear](width, hidden)
        self.down = LINEARS[linear](hidden, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x_BLD)).square())

    def flops(self) -> int:
        """Forward FLOPs per token of the matrices."""
        return self.up.flops() + self.down.flops()


FEEDS = {"swiglu": SwiGLU, "relu2": SquaredReLU}
