"""Linear maps: the matrices that every mixer and feed-forward is made of.

A seam of its own, because a whole family of architectures differs only here (weights of one, two
or 1.58 bits). No biases, as in every Llama-like model: they cost memory traffic and buy nothing.

    LINEARS["dense"](inputs=128, outputs=384)
    LINEARS["ternary"](inputs=128, outputs=384, splits=(128, 128, 128))   # three matrices in one product
    LINEARS["int4"](inputs=128, outputs=384)                              # trained as it will be stored

`splits` are the rows of each logical matrix where several share one product; they must add up to
`outputs`. A dense matrix does not care; a ternary one has a scale for each, others one for every group of a row.

On CPUs that are not Intel's, torch's float32 products go through MKL, which leaves AVX-512 unused
there; oneDNN, inside the same torch, uses it. Measured on an AMD EPYC (Zen 5): 90 GF/s against
120-220 GF/s per core: by itself a float32 training step in two thirds of the time. Hence `product`.

Shapes: N tokens, I inputs, O outputs.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ablate.model.grid import nearest, scale_of, two_of_four
from ablate.run.settings import SettingsError


class Dense(nn.Linear):
    """`y = x W^T`, weight (outputs, inputs)."""

    def __init__(self, inputs: int, outputs: int, splits: tuple[int, ...] = ()) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.splits = splits or (outputs,)
        assert sum(self.splits) == outputs

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight)

    def factors(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """(x, weight) whose product `x W^T` is what the layer makes of `input`."""
        return input, self.weight

    def flops(self) -> int:
        """Forward FLOPs per token: one multiplication and one addition per weight."""
        return 2 * self.in_features * self.out_features


class Ternary(Dense):
    """BitNet b1.58 (Ma et al. 2024, arXiv:2402.17764): weights of -1, 0 or 1 times a scale, inputs of 8 bits.

        input ─ RMSNorm ─ round to -128 .. 127 ──┐ product of integers ─ times both scales ─
        weight ─ round to -1, 0, 1 ──────────────┘

    The scale of a logical matrix is its mean |w|, that of a token's inputs their largest value / 127.
    Rounding is straight-through: gradients pass as if it were the identity, clipped weights included.
    Scales are applied after the product, so that bfloat16 multiplies small integers, exactly.

    The norm in front replaces that of the block (`language.Block`); its eps is fixed, since the
    rounding of inputs does not depend on their size.
    """

    def __init__(self, inputs: int, outputs: int, splits: tuple[int, ...] = ()) -> None:
        super().__init__(inputs, outputs, splits)
        self.norm = nn.RMSNorm(inputs, eps=NORM_EPS)

    def forward(self, input: Tensor) -> Tensor:
        x, x_scale = int8(self.norm(input.float()))
        weight_OI, scale_O = self._rounded()
        y = linear(x, weight_OI)
        return (y * (scale_O * x_scale)).to(y.dtype)

    def factors(self, input: Tensor) -> tuple[Tensor, Tensor]:
        x, x_scale = int8(self.norm(input.float()))
        weight_OI, scale_O = self._rounded()
        return x * x_scale, weight_OI * scale_O[:, None]

    def _rounded(self) -> tuple[Tensor, Tensor]:
        return _once(self, lambda: ternary(self.weight, self.splits))


class Numbers(NamedTuple):
    """What weights are rounded to (`model.grid`): int or fp8 of so many `bits`, or bf16; `sparse`: 2:4."""

    numbers: str
    bits: int
    sparse: bool = False


class Quantised(Dense):
    """Weights rounded as `compress` will store them, in every forward pass; the optimizer has those behind them.

    Rounding is straight-through. Of 2:4 the two largest of every four are kept, and the others get no gradient: a mask
    that the start has, with zeros in it, stays, unless the optimizer mixes the weights of a matrix (muon). From drawn
    weights it is that of the draw.

    A group is 64 weights in a row, or as many as the greatest power of two that divides the row; below 8 the whole row.
    """

    def __init__(self, to: str, inputs: int, outputs: int, splits: tuple[int, ...] = ()) -> None:
        super().__init__(inputs, outputs, splits)
        self.form = to
        self.group = group if (group := math.gcd(GROUP, inputs)) >= FEWEST else inputs
        if QUANTISED[to].sparse and inputs % 4:
            raise SettingsError(f"model.linear={to}: must be of rows that are whole groups of 4; one has {inputs}")

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.rounded())

    def factors(self, input: Tensor) -> tuple[Tensor, Tensor]:
        return input, self.rounded()

    def rounded(self) -> Tensor:
        """(O, I): what the layer multiplies with."""
        return _once(self, self._round)

    def _round(self) -> Tensor:
        if not QUANTISED[self.form].sparse:
            return straight_through(self.weight, lambda weight_OI: quantised(weight_OI, self.form, self.group))
        kept_OI = two_of_four(self.weight.detach().abs())
        return straight_through(self.weight * kept_OI, lambda weight_OI: quantised(weight_OI, self.form, self.group))


Rounded = dict[Dense, Any]  # what `_once` remembers
_rounded: Rounded | None = None


def _once(layer: Dense, made: Callable[[], Any]) -> Any:
    """What is made of weights, once as long as they stay as they are."""
    if _rounded is None:
        return made()
    if layer not in _rounded:
        _rounded[layer] = made()
    return _rounded[layer]


@contextmanager
def rounded_once(memory: Rounded) -> Iterator[None]:
    """Inside, each ternary matrix is rounded when it is first used, and remembered: only while weights stay."""
    global _rounded
    before, _rounded = _rounded, memory
    try:
        yield
    finally:
        _rounded = before


GROUP, FEWEST = 64, 8  # weights of a row that share a scale
QUANTISED = {
    "int8": Numbers("int", 8),
    "int4": Numbers("int", 4),
    "int3": Numbers("int", 3),
    "int2": Numbers("int", 2),
    "fp8": Numbers("fp8", 8),
    "2:4": Numbers("bf16", 16, sparse=True),
    "2:4-int4": Numbers("int", 4, sparse=True),
}
LINEARS: dict[str, Callable[..., Dense]] = {"dense": Dense, "ternary": Ternary}
LINEARS |= {to: partial(Quantised, to) for to in QUANTISED}
NORM_EPS = 1e-5  # of the norm in front of a ternary product
TINY = 1e-5  # the smallest scale: a matrix or an input of zeros must not divide by zero

FEW = 16  # tokens, as when text is written: below, oneDNN's start costs more than it gains (12 us against 3)
HAS_ONEDNN = torch.backends.mkldnn.is_available()


def int8(x_I: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs as integers in -128 .. 127 (their dtype stays), and the scale (..., 1) that gives them back."""
    scale = x_I.detach().abs().amax(-1, keepdim=True).clamp(min=TINY) / 127
    return straight_through(x_I / scale, lambda x: x.round().clamp(-128, 127)), scale


def ternary(weight_OI: Tensor, splits: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Weights as -1, 0 and 1, and the scale (O,) that gives them back: the mean |w| of each logical matrix."""
    means = (matrix.abs().mean().clamp(min=TINY).expand(len(matrix)) for matrix in weight_OI.detach().split(splits))
    scale_O = torch.cat(list(means))
    return straight_through(weight_OI / scale_O[:, None], lambda w: w.round().clamp(-1, 1)), scale_O


def quantised(weight_OI: Tensor, to: str, group: int) -> Tensor:
    """Weights, of 2:4 with their zeros, to the nearest number of their group, times its scale."""
    numbers, bits, _ = QUANTISED[to]
    if numbers == "bf16":
        return weight_OI.bfloat16().to(weight_OI.dtype)
    groups_OGK = weight_OI.unflatten(1, (-1, group))
    low_OG, high_OG = groups_OGK.amin(-1).clamp(max=0), groups_OGK.amax(-1).clamp(min=0)
    scale_OG1 = scale_of(low_OG, high_OG, numbers, bits)[..., None]
    return (nearest(groups_OGK / scale_OG1, numbers, bits) * scale_OG1).flatten(1)


def straight_through(x: Tensor, rounded: Callable[[Tensor], Tensor]) -> Tensor:
    """`rounded(x)` with the gradient of x."""
    return rounded(x.detach()) + (x - x.detach())


def packed_bytes(model: nn.Module) -> int:
    """Bytes of the model for inference: ternary weights in 2 bits and a float32 per scale, all else in 16 bits."""
    layers = [layer for layer in model.modules() if isinstance(layer, Ternary)]
    packed = sum(layer.weight.numel() for layer in layers)
    others = sum(parameter.numel() for parameter in model.parameters()) - packed
    return -(-packed // 4) + 4 * sum(len(layer.splits) for layer in layers) + 2 * others


def linear(x: Tensor, weight_OI: Tensor) -> Tensor:
    """`F.linear(x, weight)`, by oneDNN where that is quicker."""
    if not _onednn_is_quicker(x):
        return F.linear(x, weight_OI)
    if torch.is_grad_enabled():
        return _OneDNNLinear.apply(x, weight_OI)
    if x.numel() < FEW * x.shape[-1]:
        return F.linear(x, weight_OI)
    return product(x.flatten(0, -2), weight_OI).unflatten(0, x.shape[:-1])


def product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b.T` for two matrices, outside autograd, by the quicker library."""
    if not _onednn_is_quicker(a):
        return a @ b.T
    return _opaque_product(a, b) if torch.compiler.is_compiling() else _onednn_product(a, b)


def _onednn_product(a: Tensor, b: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")


# The compiler would rewrite that operator, and wants constant weights for it: this one it leaves alone.
_opaque_product = torch.library.custom_op("ablate::product", _onednn_product, mutates_args=())
_opaque_product.register_fake(lambda a, b: a.new_empty(len(a), len(b)))


def _onednn_is_quicker(x: Tensor) -> bool:
    # Under autocast the plain operator is the one that changes its precision.
    return HAS_ONEDNN and x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


class _OneDNNLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight_OI)
        return product(x.flatten(0, -2), weight_OI).unflatten(0, x.shape[:-1])

    @staticmethod
    @once_differentiable
    # pyrefly: ignore[bad-override]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, weight_OI = ctx.saved_tensors
        x_NI, grad_NO = x.flatten(0, -2), grads[0].flatten(0, -2)
        return product(grad_NO, weight_OI.T).view_as(x), grad_of_weight(grad_NO, x_NI)


def grad_of_weight(grad_NO: Tensor, x_NI: Tensor) -> Tensor:
    """`grad.T @ x`. oneDNN wants the wider of the two as its second factor: up to twice as quick."""
    if x_NI.shape[1] >= grad_NO.shape[1]:
        return product(grad_NO.T, x_NI.T)
    return product(x_NI.T, grad_NO.T).T
