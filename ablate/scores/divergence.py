"""How far a student's predictions are from a teacher's, with its gradient, and never all logits at once.

    hidden, taught ──chunk──> logits of both ──> divergence of each token ──> one sum
                                │
                                └──> gradient by the student's logits, in closed form

With p the student's distribution and q the teacher's, both of logits divided by the temperature T, z the student's
logits and m = beta q + (1 - beta) p (GKD, arXiv:2306.13649; as `generalized_jsd_loss` of trl has it):

    kind              divergence                            times T, its derivative by z
    forward           KL(q || p)                            p - q
    reverse           KL(p || q)                            p (d - p·d)           d = log p - log q
    jensen_shannon    beta KL(q || m) + (1-beta) KL(p || m)  (1-beta) p (d - p·d)  d = log p - log m

As in `scores.loss`, each chunk's gradient is taken while its logits are there. `plain_divergence` says the same of all
logits, and is its oracle.

Shapes: B rows, L tokens of a row, N = B x L, D width, V vocabulary, S domains; the teacher's width E.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.data.windows import IGNORED
from ablate.model.linear import grad_of_weight, product
from ablate.run.distill import Distill
from ablate.scores.loss import Sums, chunks, compute_dtype, sums_of

NEVER = -1e4  # log of a probability that is 0 in all types; finite, so that 0 times it is 0


def divergence_sums(
    hidden_BLD: Tensor,
    head_weight_VD: Tensor,
    taught_BLE: Tensor,
    teacher_weight_VE: Tensor,
    targets_BL: Tensor,
    domain_B: Tensor,
    bytes_per_token_V: Tensor,
    num_domains: int,
    asked: Distill,
) -> Sums:
    """`total`: the divergence, and its share of cross-entropy. All else is of the cross-entropy, as of any text.

    The teacher's hidden states and head carry no gradient; targets equal to IGNORED count for nothing.
    """
    total, nats_N = _ChunkedDivergence.apply(
        hidden_BLD.flatten(0, 1),
        head_weight_VD,
        taught_BLE.flatten(0, 1),
        teacher_weight_VE,
        targets_BL.flatten(),
        asked,
    )
    return sums_of(total, nats_N, targets_BL, domain_B, bytes_per_token_V, num_domains)


def plain_divergence(logits_NV: Tensor, teacher_NV: Tensor, targets_N: Tensor, asked: Distill) -> Tensor:
    """Divergence, with its share of cross-entropy, of each token; 0 where IGNORED."""
    log_p, log_q = F.log_softmax(logits_NV / asked.temperature, -1), teacher_log_q(teacher_NV, asked)
    distance_N = _distance(log_p, log_q, asked)
    nats_N = F.cross_entropy(logits_NV, targets_N, reduction="none")
    return ((1 - asked.share) * distance_N + asked.share * nats_N) * (targets_N != IGNORED)


def teacher_log_q(logits_NV: Tensor, asked: Distill) -> Tensor:
    """The teacher's log probabilities at the temperature, of its likeliest tokens alone where so many are asked for."""
    logits_NV = logits_NV.float() / asked.temperature
    if not asked.top_k:
        return F.log_softmax(logits_NV, -1)
    top_NK = logits_NV.topk(asked.top_k, dim=-1)
    log_q = torch.full_like(logits_NV, NEVER)
    return log_q.scatter_(1, top_NK.indices, F.log_softmax(top_NK.values, -1))


def _distance(log_p: Tensor, log_q: Tensor, asked: Distill) -> Tensor:
    if asked.kind == "forward":
        return (log_q.exp() * (log_q - log_p)).sum(-1)
    if asked.kind == "reverse":
        return (log_p.exp() * (log_p - log_q)).sum(-1)
    log_m = _mixed(log_p, log_q, asked.beta)
    of_teacher, of_student = log_q.exp() * (log_q - log_m), log_p.exp() * (log_p - log_m)
    return (asked.beta * of_teacher + (1 - asked.beta) * of_student).sum(-1)


def _grad_of_distance(log_p: Tensor, log_q: Tensor, asked: Distill) -> Tensor:
    """By the student's logits."""
    p = log_p.exp()
    if asked.kind == "forward":
        return p.sub_(log_q.exp()).div_(asked.temperature)
    scale = 1.0 if asked.kind == "reverse" else 1 - asked.beta
    d = log_p - (log_q if asked.kind == "reverse" else _mixed(log_p, log_q, asked.beta))
    return d.sub_((p * d).sum(-1, keepdim=True)).mul_(p).mul_(scale / asked.temperature)


def _mixed(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    return torch.logaddexp(log_p + math.log1p(-beta), log_q + math.log(beta))


class _ChunkedDivergence(torch.autograd.Function):
    """(hidden_ND, weight_VD, taught_NE, teacher_VE, targets_N, asked) -> (total, nats_N); only the total carries a
    gradient, to the first two."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        taught_NE: Tensor,
        teacher_VE: Tensor,
        targets_N: Tensor,
        asked: Distill,
    ) -> tuple[Tensor, Tensor]:
        dtype = compute_dtype(hidden_ND)
        weight, teacher = weight_VD.to(dtype), teacher_VE.to(dtype)
        nats_N = torch.empty(len(targets_N), dtype=torch.float32, device=hidden_ND.device)
        losses_N, grad_ND, grad_VD = nats_N.clone(), torch.zeros_like(hidden_ND), torch.zeros_like(weight_VD)
        for rows in chunks(len(targets_N), len(weight), hidden_ND.device.type):
            hidden, targets = hidden_ND[rows].to(dtype), targets_N[rows]
            logits, taught = product(hidden, weight).float(), product(taught_NE[rows].to(dtype), teacher)
            losses_N[rows], nats_N[rows], grad = _of_chunk(logits, taught, targets, asked)
            grad = grad.to(dtype)
            grad_ND[rows] = product(grad, weight.T)
            grad_VD += grad_of_weight(grad, hidden)
        ctx.save_for_backward(grad_ND, grad_VD)
        ctx.mark_non_differentiable(nats_N)
        return losses_N.sum(dtype=torch.float64).float(), nats_N

    @staticmethod
    @once_differentiable
    # pyrefly: ignore[bad-override]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_total, (grad_ND, grad_VD) = grads[0], ctx.saved_tensors
        ours = (grad * grad_total.to(grad.dtype) for grad in (grad_ND, grad_VD))
        return *ours, None, None, None, None


def _of_chunk(logits: Tensor, taught: Tensor, targets: Tensor, asked: Distill) -> tuple[Tensor, Tensor, Tensor]:
    """Of each token what is to fall and its nats, and the gradient of the first by the student's logits."""
    counted, index = targets != IGNORED, targets.clamp(min=0)[:, None]
    plain = F.log_softmax(logits, -1)
    nats = plain.gather(1, index)[:, 0].neg() * counted
    log_p = plain if asked.temperature == 1 else F.log_softmax(logits.div_(asked.temperature), -1)
    log_q = teacher_log_q(taught, asked)
    losses, grad = _distance(log_p, log_q, asked) * counted, _grad_of_distance(log_p, log_q, asked)
    if asked.share:
        losses = (1 - asked.share) * losses + asked.share * nats
        of_nats = plain.exp_().scatter_add_(1, index, torch.full_like(plain[:, :1], -1.0))
        grad.mul_(1 - asked.share).add_(of_nats, alpha=asked.share)
    return losses, nats, grad.mul_(counted[:, None])
