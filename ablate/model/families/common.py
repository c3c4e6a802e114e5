"""What several families of transformers share: feed-forwards, attention, and how states are taken apart.

A family is a class, never an object, that says how one layer there is one block here:

    config(model, size)                   what its configuration has beyond that of all
    required(theirs)                      the values that keys of its configuration must have, to be ours
    model(theirs)                         what our Model has beyond that of all
    mixer(letter, block, model, size)     the mixer of our block, under its names
    mixer_back(letter, layer, model, size)    the mixer of its layer, under our names
    NORM                                  the name of its last norm
    FEED                                  where a layer there has its feed-forward
    NORMS                                 our names of the norms of a block, and its

Rotary positions turn pairs of a head's rows: neighbours here, (k, k + K/2) in Llama. Reordering the rows
of queries and keys alike leaves every score as it is.

Shapes: D width, F feed-forward width, H heads, K width of a head.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from ablate.run.settings import Model, Size

State = dict[str, Tensor]


class Family:
    """The answers that most families give."""

    NORM = "model.norm.weight"
    FEED = "mlp."
    NORMS: ClassVar[dict[str, str]] = {
        "mixer_norm.weight": "input_layernorm.weight",
        "feed_norm.weight": "post_attention_layernorm.weight",
    }

    @staticmethod
    def model(theirs: Any) -> dict[str, Any]:
        return {}

    @staticmethod
    def prepared(theirs: Any) -> Any:
        """The model that weights are loaded into, from the one that its configuration gives."""
        return theirs

    @classmethod
    def layer(cls, letter: str, block: State, model: Model, size: Size) -> State:
        """Our block under its names."""
        feed = feed_to_hf(below("feed.", block))
        return renamed(block, cls.NORMS) | at(cls.FEED, feed) | cls.mixer(letter, block, model, size)

    @classmethod
    def block(cls, letter: str, layer: State, model: Model, size: Size) -> State:
        """Its layer under our names."""
        names, feed = {new: old for old, new in cls.NORMS.items()}, feed_from_hf(below(cls.FEED, layer))
        return renamed(layer, names) | at("feed.", feed) | cls.mixer_back(letter, layer, model, size)

    @classmethod
    def mixer(cls, letter: str, block: State, model: Model, size: Size) -> State:
        return at("self_attn.", attention_to_hf(below("mixer.", block), size))

    @classmethod
    def mixer_back(cls, letter: str, layer: State, model: Model, size: Size) -> State:
        return at("mixer.", attention_from_hf(below("self_attn.", layer), size))


def below(prefix: str, state: State) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def at(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def renamed(state: State, names: dict[str, str]) -> State:
    return {new: state[old] for old, new in names.items()}


def feed_to_hf(ours: State) -> State:
    gate, up = ours["gate_up.weight"].chunk(2)
    return {"gate_proj.weight": gate, "up_proj.weight": up, "down_proj.weight": ours["down.weight"]}


def feed_from_hf(theirs: State) -> State:
    gate_up = torch.cat((theirs["gate_proj.weight"], theirs["up_proj.weight"]))
    return {"gate_up.weight": gate_up, "down.weight": theirs["down_proj.weight"]}


def attention_to_hf(ours: State, size: Size) -> State:
    qkv_HKD = ours["qkv.weight"].unflatten(0, (-1, size.width // size.heads))
    q, k, v = qkv_HKD.split((size.heads, size.kv_heads, size.kv_heads))
    return {
        "q_proj.weight": halves_from_pairs(q).flatten(0, 1),
        "k_proj.weight": halves_from_pairs(k).flatten(0, 1),
        "v_proj.weight": v.flatten(0, 1),
        "o_proj.weight": ours["out.weight"],
    }


def attention_from_hf(theirs: State, size: Size) -> State:
    q, k, v = (theirs[f"{name}_proj.weight"].unflatten(0, (-1, size.width // size.heads)) for name in "qkv")
    qkv = torch.cat((pairs_from_halves(q), pairs_from_halves(k), v)).flatten(0, 1)
    return {"qkv.weight": qkv, "out.weight": theirs["o_proj.weight"]}


def halves_from_pairs(weight_HKD: Tensor) -> Tensor:
    """Rows of each head from (0, 1), (2, 3), ... to 0, 2, ... then 1, 3, ..."""
    return weight_HKD.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)


def pairs_from_halves(weight_HKD: Tensor) -> Tensor:
    return weight_HKD.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


def head_width(theirs: Any) -> int:
    """The one width of a head that we can express."""
    return theirs.hidden_size // theirs.num_attention_heads
