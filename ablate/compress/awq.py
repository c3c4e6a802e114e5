"""Weights that meet large inputs are rounded more finely: AWQ (arXiv:2306.00978).

Columns of W are multiplied by a factor before they are rounded, and the products divided by it again: the error of a
column shrinks by its factor, as long as the scale of its group does not grow. The factor is a power of the column's
input,

    factor = rms(input)^alpha / sqrt(largest x smallest),

and of POINTS alphas from 0, which is plain rounding, the one stays that changes the layer's outputs least. Then the
largest weights of every group are cut off, as far as that helps the group.

The error of the outputs is tr(E H E^T), with E the change of W and H the inputs' second moments: no input is kept, and
trying an alpha costs one product. The factors are stored with the matrix (I numbers), so that every layer can have
them; where a norm or a linear layer lies before, an export may fold them in.

Shapes: O outputs, I inputs, G groups of a row, K columns of a group.
"""

import torch
from torch import Tensor

from ablate.compress.forms import Form
from ablate.compress.grid import Matrix, Scales, rounded, scales

POINTS = 20
SHRINKS = [1 - step / 20 for step in range(11)]  # 1 to 0.5
SMALLEST = 1e-4  # of an input's rms, relative to the mean: a dead one must not have a factor of 0


def scaled(weight_OI: Tensor, gram_II: Tensor, form: Form) -> Matrix:
    """The matrix in its form. `gram_II` is H, in float64."""
    weight_OI, gram_II = weight_OI.float(), gram_II.float()
    found = [rounded(weight_OI, form, factor_I=factor_I) for factor_I in _factors(gram_II)]
    factor_I = min(found, key=lambda one: _error(one.weight() - weight_OI, gram_II)).factor_I
    assert factor_I is not None
    given = _clipped(weight_OI * factor_I, gram_II / factor_I / factor_I[:, None], form)
    return rounded(weight_OI, form, given, factor_I=factor_I)


def _factors(gram_II: Tensor) -> list[Tensor]:
    rms_I = gram_II.diagonal().sqrt()
    rms_I = (rms_I / rms_I.mean()).nan_to_num(1.0).clamp(min=SMALLEST)
    powers = [rms_I ** (point / POINTS) for point in range(POINTS)]
    return [(power / (power.max() * power.min()).sqrt()).bfloat16().float() for power in powers]


def _error(lost_OI: Tensor, gram_II: Tensor) -> float:
    return float(((lost_OI @ gram_II) * lost_OI).sum())


def _clipped(weight_OI: Tensor, gram_II: Tensor, form: Form) -> Scales:
    """For every group the scale by which it loses least, by itself."""
    size = form.columns(weight_OI.shape[1])
    # The blocks of the diagonal: what the columns of a group do together
    own_GKK = torch.stack([part_KI.split(size, dim=1)[group] for group, part_KI in enumerate(gram_II.split(size))])
    best, least_OG = scales(weight_OI, form), torch.full((len(weight_OI), len(own_GKK)), torch.inf)
    for shrink in SHRINKS:
        tried = scales(weight_OI, form, shrink)
        lost_OGK = (rounded(weight_OI, form, tried).weight() - weight_OI).unflatten(1, (-1, size))
        error_OG = (torch.einsum("ogk,gkj->ogj", lost_OGK, own_GKK) * lost_OGK).sum(-1)
        better_OG = error_OG < least_OG
        least_OG = torch.where(better_OG, error_OG, least_OG)
        best = best.where(~better_OG, tried)
    return best
