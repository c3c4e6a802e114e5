"""Matrices as they lie in a file of ONNX, and the product with each.

    Plain     float32, or bfloat16 where they were kept so      MatMul
    Blocks    whole numbers of 4 or 8 bits, a scale a block     MatMulNBits, of ONNX Runtime, and GatherBlockQuantized
    Signs     -1, 0, 1 of a ternary matrix                      MatMul, or MatMulInteger with whole numbers of 8 bits

A tied embedding is there once. Weights of a compressed run are the very numbers that it computed with. Others are
rounded here: matrices as `--type` says, embedding and head always to 8 bits.

Shapes: N tokens, V vocabulary, O outputs, I inputs of a matrix, G blocks of a row.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ablate.compress import packed as files
from ablate.compress.forms import Form
from ablate.compress.grid import Matrix, rounded
from ablate.compress.packed import Packed
from ablate.interchange.onnx_graph import MICROSOFT, Graph
from ablate.model.language import LanguageModel, matrices
from ablate.model.linear import NORM_EPS, TINY, Ternary, ternary

BITS = {"int8": 8, "int4": 4}
SIZES = (256, 128, 64, 32, 16)  # of blocks, in weights, that ONNX Runtime multiplies
GROUPS = (64, 32, 16)  # of what is rounded here, the first that divides a row
EIGHT_BITS = 4  # the accuracy level at which it multiplies with inputs of 8 bits, which is what makes it quick


class Plain(NamedTuple):
    weight_OI: Tensor
    short: bool = False  # exact in bfloat16


class Blocks(NamedTuple):
    number_OI: Tensor  # uint8; from a zero of 2^(bits - 1), or those of the blocks
    scale_OG: Tensor
    zero_OG: Tensor | None
    factor_I: Tensor | None  # what inputs are divided by, of AWQ
    bits: int


class Signs(NamedTuple):
    code_OI: Tensor
    scale_O: Tensor
    norm_I: Tensor
    whole: bool  # multiplied as whole numbers


Stored = Plain | Blocks | Signs


def stored(language: LanguageModel, type: str, packed: Packed | None) -> dict[str, Stored]:
    """How each matrix lies in the file, by its name without `.weight`."""
    names = ["embedding", *(name.removesuffix(".weight") for name in matrices(language))]
    names += [] if language.head is None else ["head"]
    return {name: _stored(language, name, type, packed) for name in names}


def _stored(language: LanguageModel, name: str, type: str, packed: Packed | None) -> Stored:
    layer = language.get_submodule(name)
    weight_OI = language.get_parameter(f"{name}.weight").detach()
    if isinstance(layer, Ternary):
        code_OI, scale_O = ternary(weight_OI, layer.splits)
        return Signs(code_OI, scale_O, layer.norm.weight.detach(), type != "fp32")
    if type == "fp32":
        return Plain(weight_OI)
    if packed is not None:
        found = _of_packed(packed, name)
        return found or Plain(weight_OI, short=torch.equal(weight_OI.bfloat16().float(), weight_OI))
    bits = BITS[type] if name.startswith("blocks.") else 8
    group = next((size for size in GROUPS if weight_OI.shape[1] % size == 0), 0)
    return blocks(rounded(weight_OI, Form(f"int{bits}", group))) if group else Plain(weight_OI)


def _of_packed(packed: Packed, name: str) -> Blocks | None:
    """None for a matrix that has no whole numbers in blocks."""
    if name not in packed.stored or packed.stored[name].form.format.numbers != "int":
        return None
    one = packed.stored[name]
    found = files.matrix(files.parts_of(packed, name), one)
    return blocks(found) if _size(one.form.columns(one.shape[1])) else None


def blocks(found: Matrix) -> Blocks:
    """The same numbers in 4 bits if they have no more, and else in 8; scales of longer groups are repeated."""
    number_OI, (scale_OG, zero_OG) = found.number_OI, found.scales
    assert scale_OG is not None
    columns = number_OI.shape[1] // scale_OG.shape[1]
    times = columns // _size(columns)
    bits = 4 if found.form.format.bits <= 4 else 8
    if zero_OG is None:
        number_OI = number_OI + 2 ** (bits - 1)
    else:
        number_OI = number_OI + zero_OG.repeat_interleave(columns, 1)
        zero_OG = zero_OG.to(torch.uint8).repeat_interleave(times, 1)
    return Blocks(number_OI.to(torch.uint8), scale_OG.repeat_interleave(times, 1), zero_OG, found.factor_I, bits)


def _size(columns: int) -> int:
    """The longest block that a group consists of; 0 if there is none."""
    return next((size for size in SIZES if columns % size == 0), 0)


def _ordered(one: Stored, rows_O: Tensor) -> Stored:
    """With those rows, in that order."""
    if isinstance(one, Plain):
        return one._replace(weight_OI=one.weight_OI[rows_O])
    if isinstance(one, Signs):
        return one._replace(code_OI=one.code_OI[rows_O], scale_O=one.scale_O[rows_O])
    zero_OG = None if one.zero_OG is None else one.zero_OG[rows_O]
    return one._replace(number_OI=one.number_OI[rows_O], scale_OG=one.scale_OG[rows_O], zero_OG=zero_OG)


class Weights:
    """The products of a graph with the matrices of a model."""

    def __init__(self, graph: Graph, stored: Mapping[str, Stored]) -> None:
        self.graph, self.stored = graph, stored

    def product(self, name: str, x: str, rows: np.ndarray | None = None) -> str:
        """`x W^T`; with `rows`, of the rows of W in that order."""
        one = self.stored[name] if rows is None else _ordered(self.stored[name], torch.from_numpy(rows))
        if isinstance(one, Blocks):
            return self._blocks(name, x, one)
        if isinstance(one, Signs):
            return self._signs(name, x, one)
        return self.graph.op("MatMul", x, self._plain(name, one._replace(weight_OI=one.weight_OI.T)))

    def embedded(self, ids: str) -> str:
        one = self.stored["embedding"]
        if isinstance(one, Blocks):
            return self._looked_up(ids, one)
        assert isinstance(one, Plain)
        return self.graph.op("Gather", self._plain("embedding", one), ids, axis=0)

    def logits(self, x: str) -> str:
        if "head" in self.stored:
            return self.product("head", x)
        one = self.stored["embedding"]
        if isinstance(one, Blocks):
            return self.product("embedding", x)
        assert isinstance(one, Plain)
        return self.graph.op("MatMul", x, self.graph.op("Transpose", self._plain("embedding", one), perm=[1, 0]))

    def _plain(self, name: str, one: Plain) -> str:
        if not one.short:
            return self.graph.array(one.weight_OI.numpy(), f"{name}.weight")
        return self.graph.bfloat16(one.weight_OI.bfloat16().view(torch.uint16).numpy(), f"{name}.weight")

    def _parts(self, name: str, one: Blocks) -> list[str]:
        """Numbers (O, G, bytes of a block), scales and, where they are not all alike, zeros."""
        outputs, groups = one.scale_OG.shape
        codes = _bytes(one.number_OI, one.bits).reshape(outputs, groups, -1)
        parts = [self.graph.array(codes, f"{name}.codes"), self.graph.array(one.scale_OG.numpy(), f"{name}.scales")]
        zeros = [] if one.zero_OG is None else [self.graph.array(_bytes(one.zero_OG, one.bits), f"{name}.zeros")]
        return parts + zeros

    def _blocks(self, name: str, x: str, one: Blocks) -> str:
        outputs, inputs = one.number_OI.shape
        if one.factor_I is not None:
            x = self.graph.op("Div", x, self.graph.array(one.factor_I.numpy(), f"{name}.factors"))
        shape = {"K": inputs, "N": outputs, "bits": one.bits, "block_size": inputs // one.scale_OG.shape[1]}
        parts = self._parts(name, one)
        return self.graph.op("MatMulNBits", x, *parts, domain=MICROSOFT, accuracy_level=EIGHT_BITS, **shape)

    def _looked_up(self, ids: str, one: Blocks) -> str:
        """Rows of the embedding, from the numbers that the head multiplies with."""
        codes, scales, *zeros = self._parts("embedding", one)
        flat = self.graph.op("Reshape", codes, self.graph.ints(len(one.number_OI), -1))
        size = one.number_OI.shape[1] // one.scale_OG.shape[1]
        found = self.graph.op(
            "GatherBlockQuantized",
            *(flat, ids, scales, *zeros),
            **{"domain": MICROSOFT, "bits": one.bits, "block_size": size, "gather_axis": 0, "quantize_axis": 1},
        )
        if one.factor_I is None:
            return found
        return self.graph.op("Div", found, self.graph.array(one.factor_I.numpy(), "embedding.factors"))

    def _signs(self, name: str, x: str, one: Signs) -> str:
        """Inputs are normed and rounded to whole numbers of 8 bits, as `linear.Ternary` does."""
        graph = self.graph
        x = graph.op("Mul", normed(graph, x, NORM_EPS), graph.array(one.norm_I.numpy()))
        largest = graph.op("ReduceMax", graph.op("Abs", x), graph.ints(-1))
        scale = graph.op("Div", graph.op("Max", largest, graph.floats(TINY)), graph.floats(127.0))
        number = graph.op("Round", graph.op("Div", x, scale))
        number = graph.op("Clip", number, graph.floats(-128.0), graph.floats(127.0))
        if one.whole:
            codes = graph.array(one.code_OI.to(torch.int8).numpy().T, f"{name}.codes")
            number = graph.op("Cast", graph.op("Add", number, graph.floats(128.0)), to=UINT8)
            y = graph.op("Cast", graph.op("MatMulInteger", number, codes, graph.array(np.uint8(128))), to=FLOAT)
        else:
            y = graph.op("MatMul", number, graph.array(one.code_OI.numpy().T, f"{name}.codes"))
        return graph.op("Mul", y, graph.op("Mul", graph.array(one.scale_O.numpy()), scale))


UINT8, FLOAT = 2, 1  # of onnx.TensorProto


def normed(graph: Graph, x: str, eps: float) -> str:
    """`x / sqrt(mean(x^2) + eps)` over the last dimension."""
    square = graph.op("ReduceMean", graph.op("Pow", x, graph.floats(2.0)), graph.ints(-1))
    return graph.op("Div", x, graph.op("Sqrt", graph.op("Add", square, graph.floats(eps))))


def _bytes(number_OI: Tensor, bits: int) -> np.ndarray:
    """A number a byte, or two, the first in the lower half; a row of an odd count is filled up."""
    number = number_OI.numpy()
    if bits == 8:
        return number
    number = np.pad(number, ((0, 0), (0, number.shape[1] % 2)))
    return number[:, 0::2] | (number[:, 1::2] << 4)
