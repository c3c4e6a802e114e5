"""Small whole numbers without gaps between them: 3 bits are 3 bits.

    number i takes bits i x width and up of a stream, its lowest first; bit k of it is bit k % 8 of byte k // 8

So 4 bits are two to a byte, the first in the lower half, and 3 bits are eight to three bytes.
"""

import numpy as np
import torch
from torch import Tensor

from ablate.compress.forms import PACK

AT_ONCE = 2**20 * PACK  # numbers, whose bits are held a byte each meanwhile


def packed(numbers: Tensor, width: int) -> Tensor:
    """Whole numbers from 0 to 2^width - 1, of any shape, as uint8."""
    flat = numbers.flatten().to("cpu", torch.uint8).numpy()
    shifts = np.arange(width, dtype=np.uint8)
    parts = [np.packbits(part[:, None] >> shifts & 1, bitorder="little") for part in _parts(flat, AT_ONCE)]
    return torch.from_numpy(np.concatenate(parts))


def unpacked(stream: Tensor, width: int, shape: tuple[int, ...]) -> Tensor:
    """The numbers again, uint8."""
    count, found = int(np.prod(shape)), []
    for part in _parts(stream.numpy(), AT_ONCE // PACK * width):
        bits = np.unpackbits(part, bitorder="little")
        bits = bits[: len(bits) // width * width].reshape(-1, width)
        found.append((bits << np.arange(width, dtype=np.uint8)).sum(1, dtype=np.uint8))
    return torch.from_numpy(np.concatenate(found)[:count]).view(shape)


def _parts(flat: np.ndarray, size: int) -> list[np.ndarray]:
    return [flat[start : start + size] for start in range(0, max(len(flat), 1), size)]
