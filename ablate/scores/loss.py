"""The loss: nats, tokens and bytes summed per domain, and never all logits at once.

Sums, not means, because sums can be added: over micro-batches, devices and domains, once, at the
end. Mean nats is `total nats / total tokens`; bits per byte compares tokenizers and mixtures.

    hidden ──chunk──> logits ──> nats of each token ──> sums per domain
                        │
                        └──> gradient of the chunk, kept; the logits are overwritten

The gradient of a sum of nats is known as soon as the logits are (softmax minus one-hot), so each
chunk's gradient is taken while its logits are still in cache and nothing is recomputed (the idea
of Liger Kernel, arXiv:2410.10989). `plain_nats` says the same in one line and is its oracle.

Shapes: B rows, L tokens of a row, N = B x L, D width, V vocabulary, S domains.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.data.windows import IGNORED
from ablate.model.linear import grad_of_weight, product
from ablate.scores.metrics import bits_per_byte

# Logits held at once. On a CPU a chunk should stay in cache; a GPU wants large products.
CHUNK_LOGITS = {"cpu": 2**20, "cuda": 2**27}
LEAST_ROWS = 256  # below this the products are too thin to be quick

FLOOR = 0.1  # bits per byte; see `implausible`


class Sums(NamedTuple):
    """Per-domain sums in float64, exact for counts; `total` is the sum of nats that carries the gradient.

    `rows_B3` holds nats, tokens and bytes of each row.
    """

    total: Tensor
    nats_S: Tensor
    tokens_S: Tensor
    bytes_S: Tensor
    rows_B3: Tensor


def loss_sums(
    hidden_BLD: Tensor,
    head_weight_VD: Tensor,
    targets_BL: Tensor,
    domain_B: Tensor,
    bytes_per_token_V: Tensor,
    num_domains: int,
    fused: bool = False,
) -> Sums:
    """Cross-entropy of `targets_BL`, already shifted: targets_BL[b, t] follows the token at (b, t).

    `domain_B` holds each row's domain in 0..num_domains-1, `bytes_per_token_V` the UTF-8 bytes that
    each token stands for. Targets equal to IGNORED count for nothing. `fused`: logits become gradients in one kernel.
    """
    if not torch.is_grad_enabled():  # a Function's context asks the weight alone, and would work out its gradient
        head_weight_VD = head_weight_VD.detach()
    total, nats_N = _ChunkedNats.apply(hidden_BLD.flatten(0, 1), head_weight_VD, targets_BL.flatten(), fused)
    return sums_of(total, nats_N, targets_BL, domain_B, bytes_per_token_V, num_domains)


def sums_of(
    total: Tensor,
    nats_N: Tensor,
    targets_BL: Tensor,
    domain_B: Tensor,
    bytes_per_token_V: Tensor,
    num_domains: int,
) -> Sums:
    """`total`, and by domain and row the nats, tokens and bytes of targets that count."""
    counted_BL = targets_BL != IGNORED
    bytes_BL = bytes_per_token_V[targets_BL.clamp(min=0)] * counted_BL
    # A product with a 0/1 matrix, and not index_add: the same order of addition on every device.
    of_domain_SB = (domain_B == torch.arange(num_domains, device=domain_B.device)[:, None]).double()
    rows_B3 = torch.stack([x_BL.double().sum(1) for x_BL in (nats_N.view_as(targets_BL), counted_BL, bytes_BL)], dim=1)
    nats_S, tokens_S, bytes_S = (of_domain_SB @ x_B.contiguous() for x_B in rows_B3.unbind(1))
    return Sums(total, nats_S, tokens_S, bytes_S, rows_B3)


def plain_nats(hidden_ND: Tensor, head_weight_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Nats of each token, 0 where IGNORED: what the chunked form computes, with all logits in memory."""
    return F.cross_entropy(F.linear(hidden_ND, head_weight_VD).float(), targets_N, reduction="none")


def implausible(nats: float, tokens: float, num_bytes: float) -> str | None:
    """Why these sums cannot be an honest loss, in one line, or None.

    Text has an entropy: the best models known reach 0.5 to 0.9 bits per byte on prose and about 0.3
    on code. Below FLOOR the model is not predicting, it is looking: a loss of 0.0004 nats once
    passed for `overfitting` where the labels had not been shifted. Not for runs that are meant to
    memorise a few rows.
    """
    if not math.isfinite(nats):
        return f"loss is {nats}: the run diverged (lower optimizer.lr, longer schedule.warmup)"
    if tokens > 0 and num_bytes > 0 and bits_per_byte(nats, num_bytes) < FLOOR:
        return (
            f"loss of {nats / tokens:.4f} nats per token ({bits_per_byte(nats, num_bytes):.4f} bits per byte) is below"
            f" {FLOOR} bits per byte, which no text allows: targets not shifted, attention not causal,"
            " evaluation text in the training data, or the same text read many times"
        )
    return None


class _ChunkedNats(torch.autograd.Function):
    """(hidden_ND, weight_VD, targets_N) -> (total nats, nats_N); only the total carries a gradient."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, fused: bool
    ) -> tuple[Tensor, Tensor]:
        of_logits = _compiled() if fused else _of_logits
        dtype = compute_dtype(hidden_ND)
        weight = weight_VD.to(dtype)
        wants_grad = any(ctx.needs_input_grad)
        nats_N = torch.empty(len(targets_N), dtype=torch.float32, device=hidden_ND.device)
        grad_ND, grad_VD = (torch.zeros_like(x) if wants_grad else x[:0] for x in (hidden_ND, weight_VD))
        for rows in chunks(len(targets_N), len(weight), hidden_ND.device.type):
            hidden, targets = hidden_ND[rows].to(dtype), targets_N[rows]
            nats_N[rows], grad = of_logits(product(hidden, weight), targets, wants_grad)
            if wants_grad:
                grad_ND[rows] = product(grad, weight.T)
                grad_VD += grad_of_weight(grad, hidden)
        if wants_grad:
            ctx.save_for_backward(grad_ND, grad_VD)
        ctx.mark_non_differentiable(nats_N)
        return nats_N.sum(dtype=torch.float64).float(), nats_N

    @staticmethod
    @once_differentiable
    # pyrefly: ignore[bad-override]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_total, (grad_ND, grad_VD) = grads[0], ctx.saved_tensors
        return grad_ND * grad_total.to(grad_ND.dtype), grad_VD * grad_total.to(grad_VD.dtype), None, None


def _of_logits(logits_NV: Tensor, targets_N: Tensor, wants_grad: bool) -> tuple[Tensor, Tensor]:
    """Nats of each token, and the gradient of their sum if it is wanted, in the type of the logits."""
    log_p = F.log_softmax(logits_NV, dim=-1, dtype=torch.float32)
    counted, index = targets_N != IGNORED, targets_N.clamp(min=0)[:, None]
    nats_N = log_p.gather(1, index)[:, 0].neg_() * counted
    return nats_N, (_grad_of_logits(log_p, index, counted) if wants_grad else log_p[:0]).to(logits_NV.dtype)


def plain_of_logits(logits_NV: Tensor, targets_N: Tensor, wants_grad: bool) -> tuple[Tensor, Tensor]:
    """The same, nothing gathered, scattered or overwritten: what a compiler makes one kernel of."""
    log_p, counted_N1 = F.log_softmax(logits_NV, dim=-1, dtype=torch.float32), (targets_N != IGNORED)[:, None]
    hit_NV = torch.arange(logits_NV.shape[1], device=logits_NV.device) == targets_N[:, None]
    nats_N = -torch.where(hit_NV, log_p, 0.0).sum(1)
    return nats_N, ((log_p.exp() - hit_NV.float()) * counted_N1 if wants_grad else log_p[:0]).to(logits_NV.dtype)


@functools.cache
def _compiled() -> Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]:
    return torch.compile(plain_of_logits, dynamic=False)


def _grad_of_logits(log_p: Tensor, index: Tensor, counted: Tensor) -> Tensor:
    """Softmax minus one-hot, 0 in rows that do not count; overwrites `log_p`."""
    grad = log_p.exp_()
    grad.scatter_add_(1, index, torch.full_like(grad[:, :1], -1.0))
    return grad.mul_(counted[:, None])


def compute_dtype(hidden: Tensor) -> torch.dtype:
    """Of the product with the head, under autocast or not."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def chunks(num_rows: int, vocabulary: int, device: str) -> list[slice]:
    """Rows of logits that are worked out at once."""
    step = max(LEAST_ROWS, CHUNK_LOGITS[device] // vocabulary)
    return [slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step)]
