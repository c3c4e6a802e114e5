"""Models and matrices that are small enough to compress in every way there is."""

from typing import Literal

import torch
from torch import Tensor

from ablate.compress.forms import FORMATS
from ablate.compress.methods import METHODS
from ablate.model.language import LanguageModel, build
from ablate.run.settings import Mamba, Model, Size

SIZE = Size(width=32, depth=2, heads=4, kv_heads=2, hidden=48)
MAMBA = Mamba(state=16, head_width=16, chunk=16)
VOCABULARY = 64
PAIRS = [(to, name) for to, format in FORMATS.items() for name, one in METHODS.items() if one.sparse == format.sparse]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def model(pattern: str = "A", linear: Literal["dense", "ternary"] = "dense", seed: int = 0, **changes) -> LanguageModel:
    made = Model(pattern=pattern, linear=linear, mamba=MAMBA, **changes)
    return build(made, SIZE, VOCABULARY, seed=seed).requires_grad_(False)


def rows(count: int = 5, length: int = 24, seed: int = 0) -> Tensor:
    return torch.randint(VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))


def gram(inputs: int = 64, tokens: int = 500, seed: int = 1) -> Tensor:
    """Second moments of inputs that depend on one another, as those of a trained model do."""
    mixing = random(inputs, inputs, seed=seed) * torch.logspace(0, -1.5, inputs)
    x_NI = (random(tokens, inputs, seed=seed + 1) @ mixing.T).double()
    return x_NI.T @ x_NI / tokens


def given(part: Tensor | None) -> Tensor:
    assert part is not None
    return part


def error(matrix: Tensor, weight_OI: Tensor, gram_II: Tensor) -> float:
    """What the outputs of a layer change by: mean |(W - V) x|^2."""
    lost_OI = (matrix - weight_OI).double()
    return float((lost_OI @ gram_II @ lost_OI.T).trace())
