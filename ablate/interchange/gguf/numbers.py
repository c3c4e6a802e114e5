"""What the numbers of a GGUF matrix are, and their bytes: types of ggml, written by `gguf.quants`.

    type     a weight is                                            bits of a weight
    f32 f16  itself, in so many bits                                32, 16
    q8_0     an integer of 8 bits times a scale for each 32         8.5
    q4_0     an integer of 4 bits times a scale for each 32         4.5; embedding and head are q8_0
    tq2_0    -1, 0 or 1, of ternary models, in blocks of 256        2.06; embedding and head are f16

Nothing is rounded twice. Ternary matrices are -1, 0 and 1 in every type, with their scale beside them in float32. Of a
compressed run, q4_0 takes integers and scales as they are where it can hold them to the bit, and else q8_0 does. What
neither can hold (AWQ's factors, fp8, groups that are no multiple of 32) is f16. So are rows that are no multiple of 32,
in any model.

Shapes: O outputs, I inputs, G groups of a row, N blocks of a row.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ablate.compress.packed import SCALES, Packed
from ablate.interchange.gguf.layers import Made, Rows
from ablate.model.language import LanguageModel
from ablate.model.linear import Ternary, ternary

TYPES = ("f32", "f16", "q8_0", "q4_0", "tq2_0")
BLOCK, TERNARY_BLOCK = 32, 256  # weights that share a scale
HALF = {"q4_0": 8, "q8_0": 128}  # integers from minus this on
ENDS = {"q4_0": "q8_0", "tq2_0": "f16"}  # of embedding and head; else as all
PLAIN = ("ssm_conv1d", "ssm_a", "ssm_d", "ssm_norm")  # more than a vector, and no matrix to multiply with


class Stored(NamedTuple):
    """`data`: numbers, or the bytes of blocks; `type`: one of TYPES."""

    data: np.ndarray
    type: str


def tensors(
    language: LanguageModel, packed: Packed | None, name: str, taken: Rows | Made, type: str
) -> dict[str, Stored]:
    """A tensor of the file by its name; of a ternary matrix with its scale."""
    if isinstance(taken, Rows) and isinstance(layer := language.get_submodule(taken.name), Ternary):
        code_OI, scale = _ternary(layer, taken)
        return {name: _of_codes(code_OI, type), name.replace(".weight", ".scale"): plain(scale, "f32")}
    weight = value(language, taken)
    if weight.ndim < 2 or any(f".{part}" in name for part in PLAIN):
        return {name: plain(weight, "f32")}
    if packed is not None and type in HALF and weight.any():
        return {name: _as_packed(weight, taken, packed, type) or plain(weight, "f16")}
    type = type if name.startswith("blk.") else ENDS.get(type, type)
    return {name: plain(weight, type if fits(weight, type) else "f16")}


def value(language: LanguageModel, taken: Rows | Made) -> Tensor:
    if not isinstance(taken, Rows):
        return taken(language.state_dict())
    weight = language.get_parameter(f"{taken.name}.weight").detach()
    return weight if taken.order is None else weight[taken.order]


def fits(weight: Tensor, type: str) -> bool:
    """Whether rows are made of whole blocks."""
    block = TERNARY_BLOCK if type == "tq2_0" else BLOCK if type in HALF else 1
    return weight.shape[-1] % block == 0


def plain(weight: Tensor, type: str) -> Stored:
    """Rounded to the type."""
    from gguf import GGMLQuantizationType, quants

    numbers = weight.float().contiguous().numpy()
    return Stored(quants.quantize(numbers, GGMLQuantizationType[type.upper()]), type)


def _ternary(layer: Ternary, taken: Rows) -> tuple[Tensor, Tensor]:
    """-1, 0 and 1 (O, I), and what they are multiplied by, (1,)."""
    code_OI, scale_O = ternary(layer.weight.detach(), layer.splits)
    order = torch.arange(len(code_OI)) if taken.order is None else taken.order
    return code_OI[order], scale_O[order][:1]


def _of_codes(code_OI: Tensor, type: str) -> Stored:
    if type in HALF and fits(code_OI, type):
        return _blocks(code_OI, torch.ones(len(code_OI), code_OI.shape[1] // BLOCK), type)
    return plain(code_OI, type if fits(code_OI, type) else "f16")


def _as_packed(weight_OI: Tensor, taken: Rows | Made, packed: Packed, type: str) -> Stored | None:
    """The integers and scales of a compressed matrix; None if they cannot be held to the bit."""
    if not isinstance(taken, Rows) or (scale_OG := packed.tensors.get(taken.name + SCALES)) is None:
        return None
    if weight_OI.ndim != 2 or weight_OI.shape[1] % (BLOCK * scale_OG.shape[1]):
        return None
    scale_OG = scale_OG.float() if taken.order is None else scale_OG.float()[taken.order]
    scale_ON = scale_OG.repeat_interleave(weight_OI.shape[1] // scale_OG.shape[1] // BLOCK, dim=1)
    number_OI = weight_OI / scale_ON.repeat_interleave(BLOCK, dim=1)
    exact = torch.equal(number_OI, number_OI.round()) and torch.equal(scale_ON, scale_ON.half().float())
    held = [name for name, half in HALF.items() if -half <= number_OI.min() and number_OI.max() < half]
    held = [name for name in held if type == "q4_0" or name == type]
    return _blocks(number_OI, scale_ON, held[0]) if exact and held else None


def _blocks(number_OI: Tensor, scale_ON: Tensor, type: str) -> Stored:
    """Bytes of q4_0 or q8_0: of each block the scale in float16, then the integers."""
    number_ONK = number_OI.to(torch.int8).unflatten(1, (-1, BLOCK)).numpy()
    scale_ON2 = scale_ON.half()[..., None].numpy().view(np.uint8)
    if type == "q4_0":  # the first sixteen in the lower halves of bytes
        low, high = np.split((number_ONK + HALF[type]).astype(np.uint8), 2, axis=-1)
        number_ONK = low | high << 4
    return Stored(np.concatenate((scale_ON2, number_ONK.view(np.uint8)), axis=-1).reshape(len(number_OI), -1), type)
