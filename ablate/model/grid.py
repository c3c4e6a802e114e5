"""The numbers that a weight is rounded to, and which two of every four stay.

    int     clamp(round(w / scale), -2^(b-1), 2^(b-1) - 1)      scale = -largest / 2^(b-1)
    fp8     e4m3(w / scale)                                     scale = |largest| / 448

What is trained in few bits (`linear.Quantised`) and what is made so later (`compress.grid`) are rounded here: so
weights that were trained in a form are in it already.
"""

import torch
from torch import Tensor

E4M3 = torch.float8_e4m3fn
LARGEST = torch.finfo(E4M3).max


def scale_of(low: Tensor, high: Tensor, numbers: str, bits: int) -> Tensor:
    """Of groups whose weights lie from `low` to `high`, with 0 between, as it is stored."""
    if numbers == "fp8":
        return stored(torch.maximum(high, -low) / LARGEST)
    return stored(-torch.where(high > -low, high, low) / 2 ** (bits - 1))


def stored(scale: Tensor) -> Tensor:
    """As they are on disk; of a group of zeros 1."""
    scale = scale.bfloat16().float()
    return torch.where(scale == 0, 1.0, scale)


def nearest(parts: Tensor, numbers: str, bits: int) -> Tensor:
    """The nearest numbers to weights that are divided by their scale, in float32."""
    if numbers == "fp8":
        return parts.clamp(-LARGEST, LARGEST).to(E4M3).float()
    half = 2 ** (bits - 1)
    return parts.round().clamp(-half, half - 1)


def two_of_four(score: Tensor) -> Tensor:
    """Which two of every four in a row have the highest scores, as booleans; of equal ones the first."""
    fours = score.unflatten(-1, (-1, 4))
    order = fours.argsort(dim=-1, descending=True, stable=True)
    return torch.zeros_like(fours, dtype=torch.bool).scatter_(-1, order[..., :2], True).flatten(-2)
