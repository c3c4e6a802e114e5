"""Latent attention with SwiGLU: DeepSeek-V3, every layer dense.

    mixer.q                     self_attn.q_proj
    mixer.q_{down,norm,up}      self_attn.q_{a_proj,a_layernorm,b_proj}
    mixer.kv_down and k_rope    self_attn.kv_a_proj_with_mqa
    mixer.kv_{norm,up}          self_attn.kv_{a_layernorm,b_proj}

Everything else as in Llama, but rotary pairs are neighbours on both sides. The norms of the latents have
the same epsilon on both sides, whatever `rms_norm_eps`.
"""

from typing import Any

import torch

from ablate.model.families import common
from ablate.model.families.common import State
from ablate.run.settings import Latent, Model, Size


class DeepseekV3(common.Family):
    @staticmethod
    def config(model: Model, size: Size) -> dict[str, Any]:
        latent, head = model.latent, size.width // size.heads
        return {
            "num_key_value_heads": size.heads,
            "q_lora_rank": latent.q_rank or None,
            "kv_lora_rank": latent.kv_rank,
            "qk_rope_head_dim": latent.rope_width,
            "qk_nope_head_dim": head,
            "v_head_dim": head,
            "first_k_dense_replace": size.depth,
            "num_mtp_layers": 0,
        }

    @staticmethod
    def required(theirs: Any) -> dict[str, Any]:
        return {
            "num_key_value_heads": theirs.num_attention_heads,
            "qk_nope_head_dim": common.head_width(theirs),
            "v_head_dim": common.head_width(theirs),
            "rope_interleave": True,
            "first_k_dense_replace": max(theirs.first_k_dense_replace, theirs.num_hidden_layers),
        }

    @staticmethod
    def model(theirs: Any) -> dict[str, Any]:
        latent = Latent(kv_rank=theirs.kv_lora_rank, q_rank=theirs.q_lora_rank or 0, rope_width=theirs.qk_rope_head_dim)
        return {"pattern": "L", "latent": latent}

    @classmethod
    def mixer(cls, letter: str, block: State, model: Model, size: Size) -> State:
        kv_down = torch.cat((block["mixer.kv_down.weight"], block["mixer.k_rope.weight"]))
        return common.renamed(block, _names(model)) | {"self_attn.kv_a_proj_with_mqa.weight": kv_down}

    @classmethod
    def mixer_back(cls, letter: str, layer: State, model: Model, size: Size) -> State:
        ranks = (model.latent.kv_rank, model.latent.rope_width)
        kv_down, k_rope = layer["self_attn.kv_a_proj_with_mqa.weight"].split(ranks)
        block = common.renamed(layer, {theirs: ours for ours, theirs in _names(model).items()})
        return block | {"mixer.kv_down.weight": kv_down, "mixer.k_rope.weight": k_rope}


def _names(model: Model) -> dict[str, str]:
    """What differs in nothing but the name."""
    names = {"kv_norm": "kv_a_layernorm", "kv_up": "kv_b_proj", "out": "o_proj"}
    if model.latent.q_rank:
        names |= {"q_down": "q_a_proj", "q_norm": "q_a_layernorm", "q_up": "q_b_proj"}
    else:
        names |= {"q": "q_proj"}
    return {f"mixer.{our}.weight": f"self_attn.{their}.weight" for our, their in names.items()}
