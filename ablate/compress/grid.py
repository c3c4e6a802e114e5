"""Weights to the numbers that a format has, and back.

    int, symmetric    number = clamp(round(w / scale), -2^(b-1), 2^(b-1) - 1)      scale = -largest / 2^(b-1)
    int, with zeros   number = clamp(round(w / scale) + zero, 0, 2^b - 1) - zero   scale = (max - min) / (2^b - 1)
    fp8               number = e4m3(w / scale)                                     scale = |largest| / 448
    bf16              number = bfloat16(w), no scale

`largest` is the weight of the group with the largest |w|, with its sign. So it becomes the lowest number, of which
there is one more than above 0 (as in Q4_0 of llama.cpp): of normal weights at 4 bits the squared error is 0.85 of that
with max |w| / 7.5, and weights that were rounded once are found again. The weight is number x scale. Scales are rounded
to bfloat16 before anything is rounded by them, and numbers are held
in float32, which has room for the product of both.

Shapes: O outputs, I inputs, G groups of a row, K columns of a group.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ablate.compress.forms import Form
from ablate.model.grid import nearest, scale_of, stored

TRIES = 64  # of what the largest integer of a rounded group may be


class Scales(NamedTuple):
    """Of every group: `scale_OG` and `zero_OG`, float32; None where a format has none."""

    scale_OG: Tensor | None
    zero_OG: Tensor | None

    def where(self, mine_OG: Tensor, other: "Scales") -> "Scales":
        """These where it says so, and else the other ones."""
        pairs = zip(self, other, strict=True)
        return Scales(*(a if a is None or b is None else torch.where(mine_OG, a, b) for a, b in pairs))

    def wide(self, inputs: int) -> "Scales":
        """(O, I): for every column those of its group."""
        return Scales(*(part if part is None else wide(part, inputs) for part in self))


def scales(weight_OI: Tensor, form: Form, shrink: float = 1.0) -> Scales:
    """From the largest weight of every group; with `shrink` below 1, larger ones are cut off.

    Integers times a scale have that scale again, whatever the largest of them: what is rounded loses nothing more.
    """
    if not form.format.scaled:
        return Scales(None, None)
    groups_OGK = weight_OI.float().unflatten(1, (-1, form.columns(weight_OI.shape[1])))
    low_OG, high_OG = groups_OGK.amin(-1).clamp(max=0) * shrink, groups_OGK.amax(-1).clamp(min=0) * shrink
    if form.format.numbers == "fp8":
        return Scales(scale_of(low_OG, high_OG, "fp8", form.format.bits), None)
    count = 2 ** (form.format.bits - form.symmetric)
    # Rounded up, or the largest of 8 bits is cut off
    found = _of_steps(low_OG, high_OG, form, count if form.symmetric else (count - 1) / (1 + 2**-8))
    if shrink < 1 or (groups_OGK.view(torch.int32) & 2**8 - 1).any(-1).all():  # more digits than rounded ones have
        return found
    for steps in range(count - 1, max(0, count - TRIES), -1):
        tried = _of_steps(low_OG, high_OG, form, steps)
        found = tried.where(_exact(weight_OI, form, tried) & ~_exact(weight_OI, form, found), found)
    return found


def _of_steps(low_OG: Tensor, high_OG: Tensor, form: Form, steps: float) -> Scales:
    """By which the largest weight is so many from 0 or, with zeros, the highest so many from the lowest."""
    if form.symmetric:
        return Scales(stored(-torch.where(high_OG > -low_OG, high_OG, low_OG) / steps), None)
    scale_OG = stored((high_OG - low_OG) / steps)
    return Scales(scale_OG, (-low_OG / scale_OG).round().clamp(0, 2**form.format.bits - 1))


def _exact(weight_OI: Tensor, form: Form, given: Scales) -> Tensor:
    """(O, G): whether nothing of a group is lost."""
    same_OI = rounded(weight_OI, form, given).weight() == weight_OI
    return same_OI.unflatten(1, (-1, form.columns(weight_OI.shape[1]))).all(-1)


def numbers(weight: Tensor, form: Form, given: Scales) -> Tensor:
    """The nearest numbers of the format, in float32. The scales are as wide as the weights, or broadcast."""
    scale, zero = given
    if scale is None:
        return weight.bfloat16().float()
    parts = weight / scale
    if zero is not None:
        return (parts.round() + zero).clamp(0, 2**form.format.bits - 1) - zero
    return nearest(parts, form.format.numbers, form.format.bits)


class Matrix(NamedTuple):
    """A compressed matrix: number x scale / factor. `kept_OI` says which of 2:4 stay, `factor_I` is AWQ's."""

    form: Form
    number_OI: Tensor
    scales: Scales
    kept_OI: Tensor | None = None
    factor_I: Tensor | None = None

    def weight(self) -> Tensor:
        """(O, I) in float32. Element by element, hence to the bit the same on every machine."""
        weight_OI = self.number_OI
        if self.scales.scale_OG is not None:
            weight_OI = weight_OI * wide(self.scales.scale_OG, weight_OI.shape[1])
        return weight_OI if self.factor_I is None else weight_OI / self.factor_I


def joined(parts: Sequence[Matrix]) -> Matrix:
    """Of rows of a matrix, one below the other, the whole."""

    def all_of(tensors: Iterable[Tensor | None]) -> Tensor | None:
        there = [tensor for tensor in tensors if tensor is not None]
        return torch.cat(there) if there else None

    number_OI = torch.cat([part.number_OI for part in parts])
    found = Scales(*map(all_of, zip(*(part.scales for part in parts), strict=True)))
    return Matrix(parts[0].form, number_OI, found, all_of(part.kept_OI for part in parts))


def wide(part_OG: Tensor, inputs: int) -> Tensor:
    return part_OG.repeat_interleave(inputs // part_OG.shape[1], dim=1)


def rounded(
    weight_OI: Tensor,
    form: Form,
    given: Scales | None = None,
    kept_OI: Tensor | None = None,
    factor_I: Tensor | None = None,
) -> Matrix:
    """Every weight to the nearest number, by scales from the weights themselves unless they are given."""
    weight_OI = weight_OI.float() if kept_OI is None else weight_OI.float() * kept_OI
    weight_OI = weight_OI if factor_I is None else weight_OI * factor_I
    found = given or scales(weight_OI, form)
    return Matrix(form, numbers(weight_OI, form, found.wide(weight_OI.shape[1])), found, kept_OI, factor_I)
