"""State-space duality: the recurrence of Mamba-2, worked off in chunks of matrix products.

Each head keeps a state of P x N numbers, which decays and is written to once per token:

    h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t^T        y_t = h_t C_t

Unrolled, y = (M * C B^T) (dt x) with M_ts = exp(sum of dt A over s < r <= t): attention without a
softmax. `ssd` computes it in that form inside chunks of T tokens and as a recurrence between them
(Dao and Gu 2024, arXiv:2405.21060, section 6 and listing 1), so work grows with the length, not its
square, and all of it is matrix products:

    y, tokens     [#.......]      # inside a chunk: T x T scores, as in attention
    0 .. T-1      [+#......]      + through the state at the start of the chunk
    ...           [++#.....]

Sums of logarithms of decays are taken term by term (`segment_sum`), never as a difference of two
long sums: exact where the decay is weak, and minus infinity is allowed as a term. That is all that
packed documents need: the decay into the first token of a document is exp(-inf) = 0.

`ssd_recurrent` is the definition, token by token, and the oracle of the tests. On a CPU `ssd` is
quicker at 1024 tokens by a factor of 20 (8 heads of 32, state 32; forward and backward, 26 and 530 ms).

Shapes: B rows, L tokens of a row, H = G x R heads, P width of a head, G groups of R heads that share
their B and C, N width of the state, C chunks, T tokens of a chunk (in products: t reads, s writes;
chunk c reads what chunk z wrote).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def ssd(
    x_BLHP: Tensor,
    dt_BLH: Tensor,
    A_H: Tensor,
    B_BLGN: Tensor,
    C_BLGN: Tensor,
    chunk: int,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
) -> Any:
    """y_BLHP, by chunks. `dt` is positive, `A` negative; neighbours of different `seq_idx` (B, L) share no state.

    A row goes on from `initial_states` (B, H, P, N). With `return_final_states`: (y_BLHP, what is left at its end).
    """
    y_BLHP = _from_nothing(x_BLHP, dt_BLH, A_H, B_BLGN, C_BLGN, chunk, seq_idx)
    if initial_states is None and not return_final_states:
        return y_BLHP
    decay_BLH = log_decay(dt_BLH, A_H, seq_idx)
    written_BHPN = _written(x_BLHP * dt_BLH[..., None], decay_BLH, B_BLGN)
    if initial_states is not None:
        left_BLH, C_BLHN = decay_BLH.cumsum(1).exp(), _of_heads(C_BLGN, x_BLHP.shape[2])
        y_BLHP = y_BLHP + torch.einsum("blhn,bhpn->blhp", C_BLHN, initial_states) * left_BLH[..., None]
        written_BHPN = written_BHPN + left_BLH[:, -1, :, None, None] * initial_states
    return (y_BLHP, written_BHPN) if return_final_states else y_BLHP


def _from_nothing(
    x_BLHP: Tensor,
    dt_BLH: Tensor,
    A_H: Tensor,
    B_BLGN: Tensor,
    C_BLGN: Tensor,
    chunk: int,
    seq_idx: Tensor | None,
) -> Tensor:
    length, chunk = x_BLHP.shape[1], min(chunk, x_BLHP.shape[1])
    per_group = (B_BLGN.shape[2], -1)
    written_BLHP, decay_BLH = x_BLHP * dt_BLH[..., None], log_decay(dt_BLH, A_H, seq_idx)
    x, a = (_chunks(y, chunk).unflatten(3, per_group) for y in (written_BLHP, decay_BLH))
    B, C = _chunks(B_BLGN, chunk), _chunks(C_BLGN, chunk)
    a_BCGRT = a.permute(0, 1, 3, 4, 2)

    between_BCGRTT = segment_sum(a_BCGRT).exp()
    scores_BCGTT = torch.einsum("bctgn,bcsgn->bcgts", C, B)
    y = torch.einsum("bcgrts,bcsgrp->bctgrp", scores_BCGTT[:, :, :, None] * between_BCGRTT, x)

    to_end_BCTGR1 = between_BCGRTT[:, :-1, :, :, -1].permute(0, 1, 4, 2, 3)[..., None]
    states = torch.einsum("bcsgn,bcsgrp->bcgnrp", B[:, :-1], x[:, :-1] * to_end_BCTGR1)
    over_chunks_BGRCC = segment_sum(a_BCGRT[:, :-1].sum(-1).permute(0, 2, 3, 1)).exp()
    states = torch.einsum("bgrcz,bzgnrp->bcgnrp", over_chunks_BGRCC, states)
    from_start_BCTGR1 = a[:, 1:].cumsum(2).exp()[..., None]
    read = torch.einsum("bctgn,bcgnrp->bctgrp", C[:, 1:], states) * from_start_BCTGR1
    return torch.cat((y[:, :1], y[:, 1:] + read), dim=1).flatten(3, 4).flatten(1, 2)[:, :length]


def ssd_recurrent(
    x_BLHP: Tensor,
    dt_BLH: Tensor,
    A_H: Tensor,
    B_BLGN: Tensor,
    C_BLGN: Tensor,
    chunk: int = 1,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
) -> Any:
    """The same by the recurrence, one token after the other, whatever `chunk`."""
    B_BLHN, C_BLHN = (_of_heads(y, x_BLHP.shape[2]) for y in (B_BLGN, C_BLGN))
    decay_BLH = log_decay(dt_BLH, A_H, seq_idx).exp()
    nothing_BHPN = x_BLHP.new_zeros(*x_BLHP.shape[:1], *x_BLHP.shape[2:], B_BLGN.shape[3])
    state_BHPN = nothing_BHPN if initial_states is None else initial_states
    ys = []
    for t in range(x_BLHP.shape[1]):
        written_BHPN = (dt_BLH[:, t, :, None] * x_BLHP[:, t])[..., None] * B_BLHN[:, t, :, None]
        state_BHPN = decay_BLH[:, t, :, None, None] * state_BHPN + written_BHPN
        ys.append((state_BHPN * C_BLHN[:, t, :, None]).sum(-1))
    y_BLHP = torch.stack(ys, dim=1)
    return (y_BLHP, state_BHPN) if return_final_states else y_BLHP


def _written(x_BLHP: Tensor, decay_BLH: Tensor, B_BLGN: Tensor) -> Tensor:
    """(B, H, P, N): what is left at the end of a row of all that its tokens wrote."""
    after_BLH = F.pad(decay_BLH[:, 1:], (0, 0, 0, 1)).flip(1).cumsum(1).flip(1).exp()
    x_BLGRP = (x_BLHP * after_BLH[..., None]).unflatten(2, (B_BLGN.shape[2], -1))
    return torch.einsum("blgrp,blgn->bgrpn", x_BLGRP, B_BLGN).flatten(1, 2)


def _of_heads(y_BLGN: Tensor, heads: int) -> Tensor:
    return y_BLGN.repeat_interleave(heads // y_BLGN.shape[2], dim=2)


def log_decay(dt_BLH: Tensor, A_H: Tensor, seq_idx: Tensor | None) -> Tensor:
    """(B, L, H): logarithm of what is left, at token t, of the state before it; -inf where a document begins."""
    decay_BLH = dt_BLH * A_H
    if seq_idx is None:
        return decay_BLH
    begins_BL = F.pad(seq_idx[:, 1:] != seq_idx[:, :-1], (1, 0))
    return decay_BLH.masked_fill(begins_BL[..., None], -torch.inf)


def segment_sum(a: Tensor) -> Tensor:
    """(..., T, T) from (..., T): the sum of a_r over s < r <= t at [t, s], and -inf at s > t."""
    length = a.shape[-1]
    behind_TT = torch.ones(length, length, dtype=torch.bool, device=a.device).tril_(-1)
    terms = a[..., None].masked_fill(~behind_TT, 0.0)
    return terms.cumsum(-2).masked_fill(behind_TT.mT, -torch.inf)


def flops(length: int, chunk: int, heads: int, groups: int, head_width: int, state: int) -> int:
    """FLOPs of `ssd` in a whole row: scores and their sums in each chunk, states written, carried over and read."""
    chunk = min(chunk, length)
    chunks = -(-length // chunk)
    inside = 2 * chunks * chunk**2 * (groups * state + heads * head_width)
    between = 2 * heads * head_width * state * (chunks - 1) * (2 * chunk + chunks - 1)
    return inside + between


def _chunks(x: Tensor, chunk: int) -> Tensor:
    """(B, C, T, ...) from (B, L, ...), filled up with zeros, which neither write nor decay."""
    missing = -x.shape[1] % chunk
    return F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing)).unflatten(1, (-1, chunk))
