"""Causal attention with grouped queries and rotary positions: the mixer `A`.

Queries, keys and values come from one matrix product, in this order along the rows of `qkv`:

    [ H heads of queries | G heads of keys | G heads of values ]      each of width K = D / H

Each of the G key-value heads serves R = H / G queries (GQA, arXiv:2305.13245): fewer bytes of cache
per token at nearly the loss of full attention. With `qk_norm` every head's query and key pass an
RMSNorm before they are rotated, as in Qwen3 (arXiv:2505.09388): scores cannot grow without bound.

On a CPU, PyTorch's kernel works on one head at a time with products too small to be quick. There
`_Blocks` takes 64 queries of all heads at once against the keys they may see:

    queries 0-63   [##......]     keys 0-63        No key after the block is ever touched, so half
    queries 64-127 [####....]     keys 0-127       the work is skipped; only the square on the
    ...                                            diagonal needs a mask.

One core, forward and backward, 16 x 256 tokens, 8 heads of 32: float32 49 -> 37 ms, bfloat16
61 -> 17 ms. It keeps half of all probabilities for the backward pass, so long rows do not use it.

Shapes: B rows, L tokens of a row, D width, H query heads, G key-value heads, R = H / G,
K width of a head, N = B x G, Q queries of a block, T keys up to its end, M = R x L. `causal_attention` also
takes values of another width than K.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ablate.model import sdpa
from ablate.model.cache import Reading, State
from ablate.model.linear import LINEARS
from ablate.model.parts import CACHE_BYTES, RMSNorm, Rotary
from ablate.run.settings import Model, Size

BLOCK = 64  # queries
LONGEST = 1024  # tokens of a row in `_Blocks`
BLOCKS, SDPA = "attention in blocks of queries", "scaled_dot_product_attention"


class Attention(nn.Module):
    def __init__(self, model: Model, size: Size) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = size.heads, size.kv_heads, size.width // size.heads
        self.rotary = Rotary(model.rope_theta)
        splits = tuple(heads * self.width for heads in (self.heads, self.kv_heads, self.kv_heads))
        self.qkv = LINEARS[model.linear](size.width, sum(splits), splits)
        self.q_norm = RMSNorm(self.width, model.norm_eps) if model.qk_norm else None
        self.k_norm = RMSNorm(self.width, model.norm_eps) if model.qk_norm else None
        self.out = LINEARS[model.linear](self.heads * self.width, size.width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        y_BHLK = causal_attention(*self._projected(x_BLD))
        return self.out(y_BHLK.transpose(1, 2).flatten(2))

    def cached(self, x_BLD: Tensor, state: State, at: Reading) -> Tensor:
        """Keys are kept as they are after norm and rotation."""
        q_BHLK, k_BGLK, v_BGLK = self._projected(x_BLD, at.turns(self.width, self.rotary.theta))
        y_BHLK = cached_attention(q_BHLK, at.kept(state, "k", k_BGLK), at.kept(state, "v", v_BGLK), at)
        return self.out(y_BHLK.transpose(1, 2).flatten(2))

    def _projected(self, x_BLD: Tensor, turn_BLK2: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, L, K), and keys and values (B, G, L, K)."""
        qkv_BLHK = self.qkv(x_BLD).unflatten(-1, (-1, self.width))
        qk_BLHK, v_BLGK = qkv_BLHK.split((self.heads + self.kv_heads, self.kv_heads), dim=2)
        qk_BLHK = self.rotary(self._normed(qk_BLHK), turn_BLK2)
        q_BLHK, k_BLGK = qk_BLHK.split((self.heads, self.kv_heads), dim=2)
        return q_BLHK.transpose(1, 2), k_BLGK.transpose(1, 2), v_BLGK.transpose(1, 2)

    def _normed(self, qk_BLHK: Tensor) -> Tensor:
        if self.q_norm is None or self.k_norm is None:
            return qk_BLHK
        q_BLHK, k_BLGK = qk_BLHK.split((self.heads, self.kv_heads), dim=2)
        return torch.cat((self.q_norm(q_BLHK), self.k_norm(k_BLGK)), dim=2)

    def flops(self, length: int) -> int:
        """Forward FLOPs per token. Scores count in full (L, not L / 2), as in PaLM and torch's counter."""
        scores_and_sums = 4 * self.heads * self.width * length
        return self.qkv.flops() + self.out.flops() + scores_and_sums

    def kernel(self, device: torch.device, length: int) -> str:
        return kernel(device, length)

    def state_bytes(self, length: int) -> int:
        """Bytes of the key-value cache that one sequence of `length` tokens needs at inference."""
        return 2 * self.kv_heads * self.width * length * CACHE_BYTES


def causal_attention(q_BHLK: Tensor, k_BGLK: Tensor, v_BGLK: Tensor) -> Tensor:
    """`softmax(q k^T / sqrt(K), keys up to the query) v`, each key-value head serving H / G query heads."""
    if not torch.compiler.is_compiling() and kernel(q_BHLK.device, q_BHLK.shape[2]) == BLOCKS:
        return _Blocks.apply(q_BHLK, k_BGLK, v_BGLK)
    return plain_attention(q_BHLK, k_BGLK, v_BGLK)


def kernel(device: torch.device, length: int) -> str:
    """What attends in rows of `length`, for the record too."""
    if device.type == "cuda":
        return f"{SDPA}, {sdpa.first()} first"
    return BLOCKS if device.type == "cpu" and length <= LONGEST else SDPA


def plain_attention(q_BHLK: Tensor, k_BGLK: Tensor, v_BGLK: Tensor) -> Tensor:
    grouped = q_BHLK.shape[1] != k_BGLK.shape[1]
    return F.scaled_dot_product_attention(q_BHLK, k_BGLK, v_BGLK, is_causal=True, enable_gqa=grouped)


def cached_attention(q_BHLK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, at: Reading) -> Tensor:
    """The same for queries that stand where `at` says, among keys and values kept since the row began."""
    if at.fresh:
        return causal_attention(q_BHLK, k_BGTK, v_BGTK)
    q_BGRLK = q_BHLK.unflatten(1, (k_BGTK.shape[1], -1))
    scores_BGMT = q_BGRLK.flatten(2, 3) @ k_BGTK.mT * _scale(q_BHLK)
    scores_BGRLT = scores_BGMT.unflatten(2, q_BGRLK.shape[2:4]).masked_fill(~at.seen_BLT[:, None, None], -torch.inf)
    p_BGMT = scores_BGRLT.softmax(-1, dtype=torch.float32).to(v_BGTK.dtype).flatten(2, 3)
    return (p_BGMT @ v_BGTK).unflatten(2, q_BGRLK.shape[2:4]).flatten(1, 2)


class _Blocks(torch.autograd.Function):
    """The queries of one group are laid end to end, so that each product covers R x Q of them."""

    @staticmethod
    def forward(ctx: Any, q_BHLK: Tensor, k_BGLK: Tensor, v_BGLK: Tensor) -> Tensor:
        q_NRLK = q_BHLK.unflatten(1, (k_BGLK.shape[1], -1)).flatten(0, 1).contiguous()
        k_NLK, v_NLK = k_BGLK.flatten(0, 1).contiguous(), v_BGLK.flatten(0, 1).contiguous()
        y_NRLK, probabilities = q_NRLK.new_empty(*q_NRLK.shape[:-1], v_NLK.shape[-1]), []
        for block, end in _blocks(q_NRLK.shape[2]):
            q = q_NRLK[:, :, block]
            scores = torch.baddbmm(_mask(q, end), q.flatten(1, 2), k_NLK[:, :end].mT, alpha=_scale(q))
            p_NQT = torch.softmax(scores, dim=-1, dtype=q.dtype)
            y_NRLK[:, :, block] = torch.bmm(p_NQT, v_NLK[:, :end]).unflatten(1, q.shape[1:3])
            probabilities.append(p_NQT)
        ctx.save_for_backward(q_NRLK, k_NLK, v_NLK, *probabilities)
        return y_NRLK.view(*q_BHLK.shape[:-1], v_NLK.shape[-1])

    @staticmethod
    @once_differentiable
    # pyrefly: ignore[bad-override]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q_NRLK, k_NLK, v_NLK, *probabilities = ctx.saved_tensors
        grad_NRLK, grad_q = grads[0].reshape(*q_NRLK.shape[:-1], -1), torch.empty_like(q_NRLK)
        # Sums over blocks, hence float32: bfloat16 would round after every one of them.
        grad_k, grad_v = (
            torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32)) for x in (k_NLK, v_NLK)
        )
        for (block, end), p_NQT in zip(_blocks(q_NRLK.shape[2]), probabilities, strict=True):
            q, grad = q_NRLK[:, :, block].flatten(1, 2), grad_NRLK[:, :, block].flatten(1, 2)
            grad_p = torch.bmm(grad, v_NLK[:, :end].mT)
            grad_scores = torch._softmax_backward_data(grad_p, p_NQT, -1, p_NQT.dtype).mul_(_scale(q))
            grad_q[:, :, block] = torch.bmm(grad_scores, k_NLK[:, :end]).view_as(q_NRLK[:, :, block])
            grad_k[:, :end] += torch.bmm(grad_scores.mT, q)
            grad_v[:, :end] += torch.bmm(p_NQT.mT, grad)
        batch = len(grads[0])
        return (
            grad_q.view(*grads[0].shape[:-1], -1),
            grad_k.to(k_NLK.dtype).unflatten(0, (batch, -1)),
            grad_v.to(v_NLK.dtype).unflatten(0, (batch, -1)),
        )


def _blocks(length: int) -> list[tuple[slice, int]]:
    """Slices of queries, and where the keys that each may see end."""
    ends = [min(start + BLOCK, length) for start in range(0, length, BLOCK)]
    return [(slice(i * BLOCK, end), end) for i, end in enumerate(ends)]


def _mask(q_NRQK: Tensor, end: int) -> Tensor:
    """0 where a query of the block may look, minus infinity behind: (R x Q, T)."""
    _, repeats, num_queries, _ = q_NRQK.shape
    behind_QT = torch.full((num_queries, end), -torch.inf, dtype=q_NRQK.dtype, device=q_NRQK.device).triu_(
        1 + end - num_queries
    )
    return behind_QT.repeat(repeats, 1)


def _scale(q: Tensor) -> float:
    return q.shape[-1] ** -0.5
