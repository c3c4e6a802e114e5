"""Matrices that are ternary already (`linear.Ternary`): two bits a weight, and nothing is lost.

A ternary matrix multiplies with -1, 0 and 1 times the mean |w| of the weights as they were trained. The mean |w| of
those products themselves would be smaller, for zeros count in it. So the weights written back are not scale x code but
code x size, with a size for each sign such that their mean is the scale again, to the last bit: about the scale over
the part that is not zero. Rounded once more they give the same codes and the same scale: packing a second time is
exact.

Shapes: O outputs, I inputs.
"""

import itertools

import torch
from torch import Tensor

from ablate.model.linear import TINY, ternary

STEPS = 16  # of the last bit, to both sides, in which the size is looked for


def sized(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Of one logical matrix: its codes -1, 0, 1, and two sizes, of the weights above and below zero."""
    code_OI, scale_O = ternary(weight_OI, (len(weight_OI),))
    if not code_OI.any() or scale_O[0] <= TINY:
        return code_OI, torch.zeros(2)
    first = (scale_O[0].double() * code_OI.numel() / code_OI.count_nonzero()).float()
    near = _near(first)
    for above, below in itertools.product(near, near):
        sizes = torch.stack([above, below])
        again_OI, again_O = ternary(weights(code_OI, sizes), (len(weight_OI),))
        if torch.equal(again_O, scale_O) and torch.equal(again_OI, code_OI):
            return code_OI, sizes
    return code_OI, first.repeat(2)  # a matrix of a few numbers: right to rounding


def weights(code_OI: Tensor, size_2: Tensor) -> Tensor:
    return torch.where(code_OI > 0, size_2[0], size_2[1]) * code_OI


def _near(first: Tensor) -> list[Tensor]:
    """The float and those around it, nearest first."""
    found, up, down = [first], first, first
    for _ in range(STEPS):
        up, down = torch.nextafter(up, torch.tensor(torch.inf)), torch.nextafter(down, torch.tensor(0.0))
        found += [up, down]
    return found
