"""The small parts of a Llama-like block: RMSNorm, rotary positions, SwiGLU feed-forward.

    x ── RMSNorm ── mixer ──(+)── RMSNorm ── FeedForward ──(+)──
    └───────────────────────┘└─────────────────────────────┘

Shapes: B rows, L tokens of a row, D width, F feed-forward width, H heads, K width of a head.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablate.model.linear import LINEARS


class RMSNorm(nn.Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimension (Zhang and Sennrich, arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x_BLD: Tensor) -> Tensor:
        return F.rms_norm(x_BLD, self.weight.shape, self.weight, self.eps)


def rotary(x_BLHK: Tensor, theta: float) -> Tensor:
    """Rotates each pair (k, k + K/2) of token t by t * theta^(-2k/K) (RoFormer, arXiv:2104.09864)."""
    cos_LK, sin_LK = angles(x_BLHK.shape[1], x_BLHK.shape[3], theta, x_BLHK.device, x_BLHK.dtype)
    a, b = x_BLHK.chunk(2, dim=-1)
    cos, sin = cos_LK[:, None], sin_LK[:, None]
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def angles(length: int, width: int, theta: float, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines (length, width / 2). The angles are float32 whatever `dtype`: bfloat16 cannot count to 1000."""
    if torch.compiler.is_compiling():
        return _angles(length, width, theta, device, dtype)
    return _cached_angles(length, width, theta, device, dtype)


def _angles(length: int, width: int, theta: float, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    frequency_K = 1.0 / theta ** (torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angle_LK = torch.arange(length, device=device, dtype=torch.float32)[:, None] * frequency_K
    return angle_LK.cos().to(dtype), angle_LK.sin().to(dtype)


@functools.lru_cache(maxsize=32)
def _cached_angles(*key) -> tuple[Tensor, Tensor]:
    # Validation may come first and run in inference mode, whose tensors autograd refuses later.
    with torch.inference_mode(False):
        return _angles(*key)


class FeedForward(nn.Module):
    """SwiGLU: `down(silu(gate(x)) * up(x))` (Shazeer, arXiv:2002.05202); gate and up are one matrix product."""

    def __init__(self, width: int, hidden: int, linear: str = "dense") -> None:
        super().__init__()
        self.gate_up = LINEARS[linear](width, 2 * hidden)
        self.down = LINEARS[linear](hidden, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        gate_BLF, up_BLF = self.gate_up(x_BLD).chunk(2, dim=-1)
        return self.down(F.silu(gate_BLF) * up_BLF)

    def flops(self) -> int:
        """Forward FLOPs per token of the matrices."""
        return self.gate_up.flops() + self.down.flops()
