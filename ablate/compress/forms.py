"""What a matrix is stored as: the formats, and which of them fit a method and a matrix. No torch here.

    name                a weight is                                        bits of a weight, groups of 64
    bf16                bfloat16                                           16
    int8, int4, ...     an integer times the scale of its group            8.25, 4.25, ...
    fp8                 an e4m3 number times the scale of its group        8.25
    2:4                 bfloat16, two of every four along a row are 0      9
    2:4-int4            the same, the others as integers                   3.25
    int4-fp8, fp8-fp8   int4 or fp8; the inputs are rounded to e4m3 too    4.25, 8.25

A group is `group` weights in a row, so none straddles two of the matrices that share a product. Each has a scale in
bfloat16 and, if not symmetric, a zero as wide as a weight. e4m3: arXiv:2209.05433.

Shapes: O outputs, I inputs of a matrix, G groups of a row.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from ablate.run.settings import SettingsError

FOUR, TWO = 4, 2  # of every FOUR weights in a row, TWO stay
PLACE_BITS = 2  # of the place of a weight among four
SCALE_BITS = 16
PACK = 8  # weights that fill whole bytes at any width


class Format(NamedTuple):
    """`numbers`: what a weight is rounded to; `bits` of it; `sparse`: 2:4; `inputs`: what inputs are rounded to."""

    numbers: Literal["int", "fp8", "bf16", "ternary"]
    bits: int
    sparse: bool = False
    inputs: Literal["", "fp8"] = ""

    @property
    def scaled(self) -> bool:
        return self.numbers in ("int", "fp8")


FORMATS = {
    "bf16": Format("bf16", 16),
    "int8": Format("int", 8),
    "int4": Format("int", 4),
    "int3": Format("int", 3),
    "int2": Format("int", 2),
    "fp8": Format("fp8", 8),
    "2:4": Format("bf16", 16, sparse=True),
    "2:4-int8": Format("int", 8, sparse=True),
    "2:4-int4": Format("int", 4, sparse=True),
    "2:4-fp8": Format("fp8", 8, sparse=True),
    "int8-fp8": Format("int", 8, inputs="fp8"),
    "int4-fp8": Format("int", 4, inputs="fp8"),
    "int3-fp8": Format("int", 3, inputs="fp8"),
    "int2-fp8": Format("int", 2, inputs="fp8"),
    "fp8-fp8": Format("fp8", 8, inputs="fp8"),
}
# What ternary matrices are stored as, which cannot be asked for: they are ternary already
TERNARY = Format("ternary", 2)


def rounds_inputs(to: str) -> bool:
    """Whether such a model computes more than its weights say, and must be loaded by `compress.smaller.apply`."""
    return to in FORMATS and FORMATS[to].inputs != ""


class Form(NamedTuple):
    """How one matrix is stored: a format, the columns that share a scale (0: the whole row), whether zeros are kept."""

    to: str
    group: int = 64
    symmetric: bool = True

    @property
    def format(self) -> Format:
        return TERNARY if self.to == "ternary" else FORMATS[self.to]

    def columns(self, inputs: int) -> int:
        """Of a group, in rows of `inputs`: never more than the row."""
        return min(self.group, inputs) if self.group else inputs

    def misfit(self, inputs: int) -> str:
        """Why rows of that width cannot be stored so; the empty string if they can."""
        if self.format.scaled and inputs % self.columns(inputs):
            return f"its rows of {inputs} are not whole groups of {self.group}"
        if self.format.sparse and inputs % FOUR:
            return f"its rows of {inputs} are not whole groups of {FOUR}, as {self.to} needs"
        return ""

    def bytes(self, outputs: int, inputs: int) -> int:
        """On disk, of one matrix; AWQ's factors of the inputs come on top."""
        format, groups = self.format, inputs // self.columns(inputs)
        stored = outputs * inputs * (TWO / FOUR if format.sparse else 1)
        parts = [stored * format.bits, stored * PLACE_BITS * format.sparse]
        if format.scaled:
            parts += [outputs * groups * SCALE_BITS, outputs * groups * format.bits * (not self.symmetric)]
        return sum(math.ceil(bits / 8) for bits in parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to a model: `to` a format, by a method (`compress.methods`), except to what is kept.

    `keep` holds names as in `matrices`, or patterns of them (`blocks.0.*`, `*.down`); `forms` gives some matrices
    another form than `to` and `group` say.
    """

    to: str = "int4"
    method: str = "gptq"
    group: int = 64
    symmetric: bool = True
    keep: tuple[str, ...] = ("embedding", "head")
    forms: Mapping[str, Form] = dataclasses.field(default_factory=dict)

    def form(self, name: str) -> Form:
        return self.forms.get(name, Form(self.to, self.group, self.symmetric))


def check(recipe: Recipe, sparse_methods: set[str], methods: list[str]) -> None:
    """Raises SettingsError for a format, a group or a method that there is not, and for two that do not go together."""
    _require(recipe.method in methods, "method", recipe.method, f"one of {', '.join(methods)}")
    _require(recipe.group >= 0, "group", recipe.group, "0, for one scale a row, or more")
    sparse = recipe.method in sparse_methods
    for form in (Form(recipe.to, recipe.group, recipe.symmetric), *recipe.forms.values()):
        _require(form.to in FORMATS, "to", form.to, f"one of {', '.join(FORMATS)}")
        fits = [name for name in methods if (name in sparse_methods) == form.format.sparse]
        _require(sparse == form.format.sparse, "method", recipe.method, f"one of {', '.join(fits)} with to={form.to}")
        whole = form.symmetric or form.format.numbers == "int"
        _require(whole, "symmetric", str(form.symmetric).lower(), f"true with to={form.to}: integers alone have zeros")


def _require(fits: bool, key: str, value: object, allowed: str) -> None:
    if not fits:
        raise SettingsError(f"compress.{key}={value}: must be {allowed}")
