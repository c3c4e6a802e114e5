"""Which two of every four weights stay: the masks of 2:4.

    magnitude    the two largest |w|
    wanda        the two largest |w| x rms of the input of that column (Wanda, arXiv:2306.11695)

`compensate` chooses masks of its own (SparseGPT).

Shapes: O outputs, I inputs.
"""

import torch
from torch import Tensor

from ablate.compress.forms import FOUR, TWO


def best(score: Tensor) -> Tensor:
    """Which two of every four in a row have the highest scores, as booleans; of equal ones the first."""
    fours = score.unflatten(-1, (-1, FOUR))
    order = fours.argsort(dim=-1, descending=True, stable=True)
    return torch.zeros_like(fours, dtype=torch.bool).scatter_(-1, order[..., :TWO], True).flatten(-2)


def magnitude(weight_OI: Tensor) -> Tensor:
    return best(weight_OI.abs())


def wanda(weight_OI: Tensor, gram_II: Tensor) -> Tensor:
    return best(weight_OI.abs() * gram_II.diagonal().sqrt().to(weight_OI.dtype))
