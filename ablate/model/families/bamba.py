"""Mamba-2, alone or with attention in some layers, and SwiGLU in all: Bamba (IBM, Princeton, UIUC).

    M    mixer.*         mamba.*                    the same names: both are those of mamba_ssm
    A    mixer.*         self_attn.*                as in Llama
    feed_norm            pre_ff_layernorm
    feed.*               feed_forward.*             as in Llama's mlp
    norm                 model.final_layernorm

Bamba turns half of each head; ours turns all of it, hence `partial_rotary_factor` 1. Without a layer of
attention transformers 5.23 cannot use its cache (it asks the layers of attention how long it is), so such
a model is configured without: it generates the same text, reading all of it again for every token.
"""

import math
from typing import Any, ClassVar

from ablate.model.families import common
from ablate.model.families.common import State
from ablate.run.settings import Mamba, Model, Size


class Bamba(common.Family):
    NORM = "model.final_layernorm.weight"
    FEED = "feed_forward."
    NORMS: ClassVar[dict[str, str]] = {
        "mixer_norm.weight": "input_layernorm.weight",
        "feed_norm.weight": "pre_ff_layernorm.weight",
    }

    @staticmethod
    def config(model: Model, size: Size) -> dict[str, Any]:
        mamba, layers = model.mamba, (model.pattern * size.depth)[: size.depth]
        return {
            "num_key_value_heads": size.kv_heads,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": model.rope_theta,
                "partial_rotary_factor": 1.0,
            },
            "attn_layer_indices": [i for i, letter in enumerate(layers) if letter == "A"],
            "use_cache": "A" in layers,
            "mamba_n_heads": mamba.expand * size.width // mamba.head_width,
            "mamba_d_head": mamba.head_width,
            "mamba_n_groups": mamba.groups,
            "mamba_d_state": mamba.state,
            "mamba_d_conv": mamba.conv,
            "mamba_expand": mamba.expand,
            "mamba_chunk_size": mamba.chunk,
        }

    @staticmethod
    def required(theirs: Any) -> dict[str, Any]:
        whole = {"rope_type": "default", "rope_theta": theirs.rope_parameters["rope_theta"]}
        return {
            "mlp_bias": False,
            "mamba_conv_bias": True,
            "mamba_proj_bias": False,
            "time_step_limit": (0.0, math.inf),
            "rope_parameters": whole | {"partial_rotary_factor": 1.0},
        }

    @staticmethod
    def model(theirs: Any) -> dict[str, Any]:
        layers = "".join("A" if kind == "full_attention" else "M" for kind in theirs.layers_block_type)
        depth = len(layers)
        mamba = Mamba(
            state=theirs.mamba_d_state,
            expand=theirs.mamba_expand,
            head_width=theirs.mamba_d_head,
            groups=theirs.mamba_n_groups,
            conv=theirs.mamba_d_conv,
            chunk=theirs.mamba_chunk_size,
        )
        period = next(n for n in range(1, depth + 1) if (layers[:n] * depth)[:depth] == layers)
        return {"pattern": layers[:period], "mamba": mamba}

    @staticmethod
    def prepared(theirs: Any) -> Any:
        theirs.generation_config.use_cache = theirs.config.use_cache
        return theirs

    @classmethod
    def mixer(cls, letter: str, block: State, model: Model, size: Size) -> State:
        if letter == "M":
            return common.at("mamba.", common.below("mixer.", block))
        return super().mixer(letter, block, model, size)

    @classmethod
    def mixer_back(cls, letter: str, layer: State, model: Model, size: Size) -> State:
        if letter == "M":
            return common.at("mixer.", common.below("mamba.", layer))
        return super().mixer_back(letter, layer, model, size)
