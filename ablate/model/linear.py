"""Linear maps: the matrices that every mixer and feed-forward is made of.

A seam of its own, because a whole family of architectures differs only here (weights of one, two
or 1.58 bits). No biases, as in every Llama-like model: they cost memory traffic and buy nothing.

    LINEARS["dense"](inputs=128, outputs=384)

On CPUs that are not Intel's, torch's float32 products go through MKL, which leaves AVX-512 unused
there; oneDNN, inside the same torch, uses it. Measured on an AMD EPYC (Zen 5): 90 GF/s against
120-220 GF/s per core: by itself a float32 training step in two thirds of the time. Hence `product`.

Shapes: N tokens, I inputs, O outputs.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Dense(nn.Linear):
    """`y = x W^T`, weight (outputs, inputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight)

    def flops(self) -> int:
        """Forward FLOPs per token: one multiplication and one addition per weight."""
        return 2 * self.in_features * self.out_features


LINEARS = {"dense": Dense}

HAS_ONEDNN = torch.backends.mkldnn.is_available()


def linear(x: Tensor, weight_OI: Tensor) -> Tensor:
    """`F.linear(x, weight)`, by oneDNN where that is quicker."""
    return _OneDNNLinear.apply(x, weight_OI) if _onednn_is_quicker(x) else F.linear(x, weight_OI)


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
