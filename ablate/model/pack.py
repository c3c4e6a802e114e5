"""A ternary model as small as its weights: four to a byte.

    blocks.0.feed.down.weight    -> .codes    uint8, value + 1 of weight 4i + k in bits 2k and 2k + 1 of byte i
                                    .scales   float32, one for each logical matrix (`linear.Ternary`)
    everything else              -> bfloat16

`unpacked` gives float32 back, for a program that multiplies: codes times scales are what a trained ternary
model multiplies with. They are no weights to train on: their mean |w| is below the scale, which is taken
from the weights before rounding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablate.model.linear import Ternary, ternary

PER_BYTE = 4
CODES, SCALES = ".codes", ".scales"


@torch.no_grad()
def packed(model: nn.Module) -> dict[str, Tensor]:
    """Parameters for a file, by name."""
    small = {name: parameter.bfloat16() for name, parameter in model.named_parameters()}
    for name, layer in model.named_modules():
        if isinstance(layer, Ternary):
            weight_OI, scale_O = ternary(layer.weight, layer.splits)
            del small[f"{name}.weight"]
            small[f"{name}.weight{CODES}"] = _codes(weight_OI)
            small[f"{name}.weight{SCALES}"] = torch.stack([scale[0] for scale in scale_O.split(layer.splits)])
    return small


def unpacked(small: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Float32 parameters of `model`, which says the shapes; its own values are not looked at."""
    state = {}
    layers = {f"{name}.weight": layer for name, layer in model.named_modules() if isinstance(layer, Ternary)}
    for name, parameter in model.named_parameters():
        if name not in layers:
            state[name] = small[name].float()
            continue
        weight_OI = _values(small[name + CODES], parameter.numel()).view(parameter.shape)
        scale_O = small[name + SCALES].repeat_interleave(torch.tensor(layers[name].splits))
        state[name] = weight_OI * scale_O[:, None]
    return state


def _codes(weight_OI: Tensor) -> Tensor:
    codes = (weight_OI.flatten() + 1).to(torch.uint8)
    quads = F.pad(codes, (0, -len(codes) % PER_BYTE)).view(-1, PER_BYTE)
    return (quads << _shifts()).sum(1, dtype=torch.uint8)


def _values(codes: Tensor, count: int) -> Tensor:
    return ((codes[:, None] >> _shifts()) & 3).flatten()[:count].float() - 1


def _shifts() -> Tensor:
    return torch.arange(0, 2 * PER_BYTE, 2, dtype=torch.uint8)
