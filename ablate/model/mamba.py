"""Mamba-2: the mixer `M`, a state of fixed size in place of a cache that grows (arXiv:2405.21060).

                ┌─ z ─────────────────────────────────┐
    x ─ in_proj ┼─ x B C ─ conv ─ silu ─ ssd ─ + D x ─ norm(y * silu(z)) ─ out_proj ─
                └─ dt ─ softplus(dt + dt_bias) ─┘

One matrix gives z, x, B, C and dt side by side, so none waits for another (Mamba-1 computed B, C
and dt from the convolved x). The convolution looks back over `conv` tokens, each channel by itself.
Names and shapes of all parameters are those of `mamba_ssm`'s `Mamba2`, which Hugging Face uses too:
weights load as they are.

The decay of a head, exp(-dt exp(A_log)), lies close to 1, where bfloat16 has three digits: A_log, D,
dt_bias and the plain scan stay in float32, under autocast too.

On CUDA the kernel of `mamba_ssm` does the scan where it is installed, and with it softplus, `+ D x` and the gate; it
takes x, B and C as they come (bfloat16 under autocast) and adds in float32. `causal_conv1d` does convolution and
silu. `ssd` and `causal_convolution` are what they must agree with.

Shapes: B rows, L tokens of a row, D width, E channels of the convolution (x, B and C), K tokens that
it sees, H heads, P width of a head, I = H x P inner width, G groups, N width of the state.
"""

import contextlib
import importlib.util
import math
from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablate.model import ssd
from ablate.model.cache import Reading, State
from ablate.model.linear import LINEARS
from ablate.model.parts import CACHE_BYTES
from ablate.run.settings import Model, Size

Initial = Callable[[Tensor, Model], Tensor]
HAS_MAMBA_SSM = importlib.util.find_spec("mamba_ssm") is not None
HAS_CAUSAL_CONV1D = importlib.util.find_spec("causal_conv1d") is not None
FUSED_CONVOLUTIONS = (2, 3, 4)  # tokens that its convolution may see


def _log_of_decay_rate(u_H: Tensor, _: Model) -> Tensor:
    """A uniform in [1, 16]."""
    return (1 + 15 * u_H).log()


def _bias_of_step(u_H: Tensor, _: Model) -> Tensor:
    """softplus(dt_bias) log-uniform in [0.001, 0.1]: heads that remember ten tokens beside some for thousands."""
    dt_H = torch.exp(math.log(1e-3) + u_H * math.log(1e-1 / 1e-3))
    return dt_H + torch.log(-torch.expm1(-dt_H))  # the inverse of softplus


def _convolution(u: Tensor, model: Model) -> Tensor:
    """Uniform up to 1 / sqrt(K), weight and bias, which is torch's default."""
    return (2 * u - 1) / math.sqrt(model.mamba.conv)


class Mamba2(nn.Module):
    # How parameters begin that are neither matrices nor norms
    INITIAL: ClassVar[dict[str, Initial]] = {
        "A_log": _log_of_decay_rate,
        "dt_bias": _bias_of_step,
        "conv1d.weight": _convolution,
        "conv1d.bias": _convolution,
    }

    def __init__(self, model: Model, size: Size) -> None:
        super().__init__()
        mamba, inner = model.mamba, model.mamba.expand * size.width
        self.heads = inner // mamba.head_width
        assert inner == self.heads * mamba.head_width  # `ablate.run.checks` says it politely
        assert self.heads % mamba.groups == 0
        self.mamba, self.inner, self.states = mamba, inner, mamba.groups * mamba.state
        channels = inner + 2 * self.states
        linear = LINEARS[model.linear]
        splits = (inner, inner, self.states, self.states, self.heads)
        self.in_proj = linear(size.width, sum(splits), splits)
        self.conv1d = nn.Conv1d(channels, channels, mamba.conv, groups=channels)
        self.A_log, self.D, self.dt_bias = (nn.Parameter(torch.ones(self.heads)) for _ in range(3))
        self.norm = GatedNorm(inner, mamba.groups, model.norm_eps)
        self.out_proj = linear(inner, size.width)

    def forward(self, x_BLD: Tensor, seq_idx: Tensor | None = None) -> Tensor:
        """`seq_idx` (B, L), if rows hold several documents: an integer per token, another one in the next document."""
        z_BLI, xbc_BLE, dt_BLH = self._projected(x_BLD)
        xbc_BLE = self._convolved(xbc_BLE, seq_idx)
        with _no_autocast(x_BLD.device.type):
            if scan := fused_scan(x_BLD.device):
                y_BLI = self.norm.normed(self._fused(scan, z_BLI, xbc_BLE, dt_BLH, seq_idx))
            else:
                x_BLHP, B_BLGN, C_BLGN = self._split(xbc_BLE.float())
                dt_BLH, scan = F.softplus(dt_BLH.float() + self.dt_bias), kernel(x_BLD.device)
                y_BLHP = scan(x_BLHP, dt_BLH, -self.A_log.exp(), B_BLGN, C_BLGN, self.mamba.chunk, seq_idx=seq_idx)
                y_BLI = self.norm((y_BLHP + x_BLHP * self.D[:, None]).flatten(2), z_BLI)
        return self.out_proj(y_BLI.to(z_BLI.dtype))

    def _convolved(self, xbc_BLE: Tensor, seq_idx: Tensor | None) -> Tensor:
        """With its silu."""
        weight_E1K, bias_E = self.conv1d.parameters()
        if fused := fused_convolution(xbc_BLE.device, self.mamba.conv):
            documents = None if seq_idx is None else seq_idx.int()
            return fused(xbc_BLE.mT, weight_E1K[:, 0], bias_E, seq_idx=documents, activation="silu").mT
        return F.silu(causal_convolution(xbc_BLE, weight_E1K, bias_E, seq_idx=seq_idx))

    def _fused(
        self, scan: Callable[..., Tensor], z_BLI: Tensor, xbc_BLE: Tensor, dt_BLH: Tensor, seq_idx: Tensor | None
    ) -> Tensor:
        """`(scan + D x) * silu(z)`, (B, L, I), in the type of x."""
        x_BLHP, B_BLGN, C_BLGN = self._split(xbc_BLE)
        y_BLHP = scan(
            *(x_BLHP, dt_BLH, -self.A_log.exp(), B_BLGN, C_BLGN, self.mamba.chunk),
            D=self.D,
            z=z_BLI.unflatten(-1, (self.heads, -1)),
            dt_bias=self.dt_bias,
            dt_softplus=True,
            seq_idx=None if seq_idx is None else seq_idx.int(),
        )
        return y_BLHP.flatten(2)

    def cached(self, x_BLD: Tensor, state: State, at: Reading) -> Tensor:
        """Kept are the state of the scan, and the last K - 1 inputs of the convolution."""
        z_BLI, xbc_BLE, dt_BLH = self._projected(x_BLD)
        before_BLE = state.get("convolution", xbc_BLE.new_zeros(len(x_BLD), self.mamba.conv - 1, xbc_BLE.shape[2]))
        seen_BLE = torch.cat((before_BLE, xbc_BLE), dim=1)
        state["convolution"] = at.last(seen_BLE, self.mamba.conv - 1)
        convolved_BLE = convolution(seen_BLE, *self.conv1d.parameters())
        with _no_autocast(x_BLD.device.type):
            x_BLHP, B_BLGN, C_BLGN = self._split(F.silu(convolved_BLE).float())
            dt_BLH = F.softplus(dt_BLH.float() + self.dt_bias) * at.counted_BL[..., None]  # 0: nothing decays or enters
            scan = ssd.ssd_recurrent if x_BLD.shape[1] == 1 else kernel(x_BLD.device)
            y_BLHP, state["scan"] = scan(
                *(x_BLHP, dt_BLH, -self.A_log.exp(), B_BLGN, C_BLGN, self.mamba.chunk),
                initial_states=state.get("scan"),
                return_final_states=True,
            )
            y_BLI = (y_BLHP + x_BLHP * self.D[:, None]).flatten(2)
        return self.out_proj(self.norm(y_BLI, z_BLI).to(z_BLI.dtype))

    def _projected(self, x_BLD: Tensor) -> tuple[Tensor, ...]:
        """z (B, L, I), input of the convolution (B, L, E) and dt (B, L, H)."""
        return self.in_proj(x_BLD).split((self.inner, self.conv1d.in_channels, self.heads), dim=-1)

    def _split(self, xbc_BLE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, L, H, P), and B and C, each (B, L, G, N)."""
        x_BLI, B, C = xbc_BLE.split((self.inner, self.states, self.states), dim=-1)
        B_BLGN, C_BLGN = (y.unflatten(-1, (self.mamba.groups, -1)) for y in (B, C))
        return x_BLI.unflatten(-1, (self.heads, -1)), B_BLGN, C_BLGN

    def flops(self, length: int) -> int:
        """Forward FLOPs per token: both matrices, the convolution (as torch counts it) and the products of `ssd`."""
        mamba = self.mamba
        convolution = 2 * mamba.conv * self.conv1d.in_channels
        scan = ssd.flops(length, mamba.chunk, self.heads, mamba.groups, mamba.head_width, mamba.state)
        return self.in_proj.flops() + self.out_proj.flops() + convolution + scan // length

    def kernel(self, device: torch.device, length: int) -> str:
        found = [kernel(device), fused_convolution(device, self.mamba.conv)]
        return " and ".join(f"{one.__module__}.{one.__name__}" for one in found if one)

    def state_bytes(self, length: int) -> int:
        """Bytes that one sequence of any length keeps: state of the scan, and what the convolution looks back at."""
        scan, convolution = self.inner * self.mamba.state, (self.mamba.conv - 1) * self.conv1d.in_channels
        return (scan + convolution) * CACHE_BYTES


def _no_autocast(device: str) -> contextlib.AbstractContextManager:
    # `meta`, on which models are counted, has no autocast to switch off
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known else contextlib.nullcontext()


class GatedNorm(nn.Module):
    """RMSNorm of `y * silu(z)`, each group of heads by itself, so that groups can live on different devices."""

    def __init__(self, width: int, groups: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.groups, self.eps = groups, eps

    def forward(self, y_BLI: Tensor, z_BLI: Tensor) -> Tensor:
        return self.normed(y_BLI * F.silu(z_BLI.float()))

    def normed(self, gated_BLI: Tensor) -> Tensor:
        """What is left of it once `y * silu(z)` is there."""
        gated = gated_BLI.float().unflatten(-1, (self.groups, -1))
        return F.rms_norm(gated, gated.shape[-1:], eps=self.eps).flatten(-2) * self.weight


def causal_convolution(x_BLE: Tensor, weight_E1K: Tensor, bias_E: Tensor, seq_idx: Tensor | None = None) -> Tensor:
    """Each channel's weighted sum over a token and the K - 1 before it, none of them from another document."""
    before = weight_E1K.shape[-1] - 1
    padded_BEL = F.pad(x_BLE.mT, (before, 0))
    if seq_idx is None:
        return convolution(padded_BEL.mT, weight_E1K, bias_E)
    document_BL = F.pad((seq_idx[:, 1:] != seq_idx[:, :-1]).cumsum(1), (before + 1, 0))
    same_BLK = document_BL.unfold(1, before + 1, 1) == document_BL[:, before:, None]
    seen_BELK = padded_BEL.unfold(2, before + 1, 1) * same_BLK[:, None]
    return (seen_BELK * weight_E1K).sum(-1).mT + bias_E


def convolution(x_BLE: Tensor, weight_E1K: Tensor, bias_E: Tensor) -> Tensor:
    """The same of tokens that have K - 1 before them, which come first in x and give nothing."""
    if x_BLE.shape[1] == weight_E1K.shape[-1]:  # one token, for which the kernel is slow to start
        return (x_BLE * weight_E1K.permute(1, 2, 0)).sum(1, keepdim=True) + bias_E
    return F.conv1d(x_BLE.mT, weight_E1K, bias_E, groups=len(bias_E)).mT


def kernel(device: torch.device) -> Callable[..., Tensor]:
    """What does the scan: `ssd`, or the fused kernel, which takes the same arguments and more (`seq_idx` as int32)."""
    return fused_scan(device) or ssd.ssd


def fused_scan(device: torch.device) -> Callable[..., Tensor] | None:
    if device.type != "cuda" or not HAS_MAMBA_SSM:
        return None
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined  # pyrefly: ignore

    return mamba_chunk_scan_combined


def fused_convolution(device: torch.device, tokens: int) -> Callable[..., Tensor] | None:
    if device.type != "cuda" or not HAS_CAUSAL_CONV1D or tokens not in FUSED_CONVOLUTIONS:
        return None
    from causal_conv1d import causal_conv1d_fn  # pyrefly: ignore

    return causal_conv1d_fn
