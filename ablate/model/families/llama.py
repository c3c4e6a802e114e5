"""Attention with SwiGLU: Llama, and Qwen3 where queries and keys are normed.

mixer_norm      input_layernorm                 feed_norm    post_attention_layernorm
mixer.qkv       self_attn.{q,k,v}_proj, rows of q and k reordered
mixer.out       self_attn.o_proj                mixer.{q,k}_norm    self_attn.{q,k}_norm, reordered alike
feed.gate_up    mlp.{gate,up}_proj              feed.down           mlp.down_proj
"""

from typing import Any

from ablate.model.families import common
from ablate.model.families.common import State
from ablate.run.settings import Model, Size


class Llama(common.Family):
    @staticmethod
    def config(model: Model, size: Size) -> dict[str, Any]:
        return {"num_key_value_heads": size.kv_heads, "head_dim": size.width // size.heads}

    @staticmethod
    def required(theirs: Any) -> dict[str, Any]:
        return {"mlp_bias": False, "head_dim": common.head_width(theirs)}


class Qwen3(Llama):
    @staticmethod
    def required(theirs: Any) -> dict[str, Any]:
        return {"use_sliding_window": False, "head_dim": common.head_width(theirs)}

    @staticmethod
    def model(theirs: Any) -> dict[str, Any]:
        return {"qk_norm": True}

    @classmethod
    def mixer(cls, letter: str, block: State, model: Model, size: Size) -> State:
        norms = {
            f"self_attn.{x}_norm.weight": common.halves_from_pairs(block[f"mixer.{x}_norm.weight"][None, :, None])
            for x in "qk"
        }
        return super().mixer(letter, block, model, size) | {name: norm.flatten() for name, norm in norms.items()}

    @classmethod
    def mixer_back(cls, letter: str, layer: State, model: Model, size: Size) -> State:
        norms = {
            f"mixer.{x}_norm.weight": common.pairs_from_halves(layer[f"self_attn.{x}_norm.weight"][None, :, None])
            for x in "qk"
        }
        return super().mixer_back(letter, layer, model, size) | {name: norm.flatten() for name, norm in norms.items()}
