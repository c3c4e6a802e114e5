"""A compressed model as a file: numbers in as many bits as they need, and the very same weights back.

    blocks.0.feed.down.weight  ->  .codes    the numbers, row by row: uint8 (`compress.bits`), e4m3 or bfloat16
                                   .scales   bfloat16 (O, G)
                                   .zeros    uint8, of groups with a zero, as wide as the codes
                                   .places   uint8, of 2:4: which two of every four stay, two bits each
                                   .factors  bfloat16 (I,), of AWQ: what the weights were multiplied by
                                   .sizes    float32 (matrices that share the product, 2), of ternary ones
    other matrices             ->  bfloat16
    vectors                    ->  float32, as they are

Of 2:4 only the weights that stay have codes. How each matrix is stored stands in the header of the file. `unpacked`
needs nothing else, and gives what a compressed model computes with: simulated and packed weights are equal because
there is one way to them.

Shapes: O outputs, I inputs, G groups of a row, S = I / 2 columns that stay.
"""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ablate.compress import bits, ternary
from ablate.compress.forms import FOUR, PLACE_BITS, TERNARY, TWO, Form
from ablate.compress.grid import Matrix, Scales, wide
from ablate.model.grid import E4M3

CODES, SCALES, ZEROS = ".weight.codes", ".weight.scales", ".weight.zeros"
PLACES, FACTORS, SIZES = ".weight.places", ".weight.factors", ".weight.sizes"
PARTS = (CODES, SCALES, ZEROS, PLACES, FACTORS, SIZES)
WHOLE = {"fp8": E4M3, "bf16": torch.bfloat16}  # numbers that torch has a type for
HEADER = "compressed"  # the key in the header of the file


class Stored(NamedTuple):
    """How a matrix (O, I) lies in the file. `splits`: rows of each matrix that shares the product."""

    form: Form
    shape: tuple[int, int]
    splits: tuple[int, ...]


class Packed(NamedTuple):
    """`tensors` by the names of the file; `stored`: matrices by name; `kept`: why some are not there."""

    tensors: dict[str, Tensor]
    stored: dict[str, Stored]
    kept: dict[str, str]

    @property
    def bytes(self) -> int:
        """Of all tensors: the file without its header."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def bits(self) -> float:
        """Bits a weight of the compressed matrices, with scales, zeros, places and factors."""
        weights = sum(outputs * inputs for _, (outputs, inputs), _ in self.stored.values())
        return 8 * sum(self.bytes_of(name) for name in self.stored) / weights

    def bytes_of(self, name: str) -> int:
        """Of one compressed matrix, with all that belongs to it."""
        return sum(self.tensors[name + part].nbytes for part in PARTS if name + part in self.tensors)


def of_matrix(found: Matrix) -> dict[str, Tensor]:
    """The parts of a compressed matrix."""
    format, (scale_OG, zero_OG), number_OI = found.form.format, found.scales, found.number_OI
    parts = {}
    if format.numbers == "int":
        number_OI = number_OI + _lowest(found.form, zero_OG, number_OI.shape[1])
    if found.kept_OI is not None:
        parts[PLACES] = bits.packed(found.kept_OI.nonzero()[:, 1] % FOUR, PLACE_BITS)
        number_OI = number_OI[found.kept_OI].view(len(number_OI), -1)
    whole = WHOLE.get(format.numbers)
    parts[CODES] = bits.packed(number_OI, format.bits) if whole is None else number_OI.to(whole)
    if scale_OG is not None:
        parts[SCALES] = scale_OG.bfloat16()
    if zero_OG is not None:
        parts[ZEROS] = bits.packed(zero_OG, format.bits)
    if found.factor_I is not None:
        parts[FACTORS] = found.factor_I.bfloat16()
    return parts


def of_ternary(weight_OI: Tensor, splits: tuple[int, ...]) -> dict[str, Tensor]:
    """The parts of a matrix that is ternary already."""
    found = [ternary.sized(part_OI) for part_OI in weight_OI.split(splits)]
    code_OI = torch.cat([code for code, _ in found])
    return {CODES: bits.packed(code_OI + 1, TERNARY.bits), SIZES: torch.stack([sizes for _, sizes in found])}


def weight(parts: dict[str, Tensor], stored: Stored) -> Tensor:
    """(O, I) in float32, from the parts of a compressed matrix."""
    if stored.form.format is not TERNARY:
        return matrix(parts, stored).weight()
    codes = bits.unpacked(parts[CODES], TERNARY.bits, stored.shape).float() - 1
    pairs = zip(codes.split(stored.splits), parts[SIZES], strict=True)
    return torch.cat([ternary.weights(code_OI, size_2) for code_OI, size_2 in pairs])


def matrix(parts: dict[str, Tensor], stored: Stored) -> Matrix:
    """The numbers of a compressed matrix that is not ternary, with their scales."""
    form, (outputs, inputs) = stored.form, stored.shape
    format, groups = form.format, inputs // form.columns(inputs)
    zero_OG = bits.unpacked(parts[ZEROS], format.bits, (outputs, groups)).float() if ZEROS in parts else None
    kept_OI = _kept(parts[PLACES], stored.shape) if format.sparse else torch.ones(stored.shape, dtype=torch.bool)
    count = int(kept_OI.sum())
    codes = parts[CODES] if format.numbers in WHOLE else bits.unpacked(parts[CODES], format.bits, (count,))
    number_OI = torch.zeros(stored.shape).masked_scatter_(kept_OI, codes.float())
    if format.numbers == "int":
        number_OI = (number_OI - _lowest(form, zero_OG, inputs)) * kept_OI
    scale_OG = parts[SCALES].float() if SCALES in parts else None
    factor_I = parts[FACTORS].float() if FACTORS in parts else None
    return Matrix(form, number_OI, Scales(scale_OG, zero_OG), None, factor_I)


def _lowest(form: Form, zero_OG: Tensor | None, inputs: int) -> Tensor | int:
    """What is added to a whole number so that the lowest is 0."""
    return 2 ** (form.format.bits - 1) if zero_OG is None else wide(zero_OG, inputs)


def _kept(places: Tensor, shape: tuple[int, int]) -> Tensor:
    """(O, I): which weights of 2:4 stay."""
    outputs, inputs = shape
    place = bits.unpacked(places, PLACE_BITS, (outputs, inputs // FOUR, TWO)).long()
    return torch.zeros(outputs, inputs // FOUR, FOUR, dtype=torch.bool).scatter_(2, place, True).flatten(1)


def unpacked(packed: Packed) -> dict[str, Tensor]:
    """All parameters in float32, by name."""
    plain = {name: tensor.float() for name, tensor in packed.tensors.items() if not name.endswith(PARTS)}
    return plain | {f"{name}.weight": weight(parts_of(packed, name), stored) for name, stored in packed.stored.items()}


def parts_of(packed: Packed, name: str) -> dict[str, Tensor]:
    return {part: packed.tensors[name + part] for part in PARTS if name + part in packed.tensors}


def write(packed: Packed, path: Path) -> int:
    """The bytes of the file."""
    said = {"stored": packed.stored, "kept": packed.kept}
    save_file({name: tensor.contiguous() for name, tensor in packed.tensors.items()}, path, {HEADER: json.dumps(said)})
    return path.stat().st_size


def read(path: Path) -> Packed:
    with safe_open(path, "pt") as file:
        said = json.loads(file.metadata()[HEADER])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    stored = {
        name: Stored(Form(*form), (outputs, inputs), tuple(splits))
        for name, (form, (outputs, inputs), splits) in said["stored"].items()
    }
    return Packed(tensors, stored, said["kept"])
