"""Layers whose inputs are rounded to e4m3, a scale for each token: simulated, in the type of the model.

    x  ->  e4m3(x / scale) x scale,      scale = largest |x| of the token / 448

as where a GPU multiplies eight bits by eight bits (dynamic, per token; llm-compressor's FP8_DYNAMIC). Nothing is faster
by it here: this says what it costs in quality.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ablate.compress.forms import Form
from ablate.model.grid import E4M3, LARGEST
from ablate.model.language import LanguageModel
from ablate.model.linear import Dense, linear

TINY = 1e-12  # the smallest largest |x|: a token of zeros must not divide by zero


class RoundedInputs(Dense):
    def forward(self, input: Tensor) -> Tensor:
        return linear(*self.factors(input))

    def factors(self, input: Tensor) -> tuple[Tensor, Tensor]:
        return fp8(input), self.weight


def fp8(x_I: Tensor) -> Tensor:
    """The nearest e4m3 numbers, times the scale of the token; its dtype stays."""
    exact_I = x_I.float()
    scale = exact_I.abs().amax(-1, keepdim=True).clamp(min=TINY) / LARGEST
    return ((exact_I / scale).clamp(-LARGEST, LARGEST).to(E4M3).float() * scale).to(x_I.dtype)


def round_inputs(language: LanguageModel, forms: Mapping[str, Form]) -> None:
    """From now on the layers of the blocks whose form says so round what they are given; those of the head stay."""
    for name, form in forms.items():
        layer = language.get_submodule(name)
        if not form.format.inputs or not name.startswith("blocks."):
            continue
        assert isinstance(layer, Dense)
        with torch.device("meta"):
            rounding = RoundedInputs(layer.in_features, layer.out_features, layer.splits)
        rounding.weight = layer.weight
        language.set_submodule(name, rounding)
