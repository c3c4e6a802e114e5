"""Attention and SwiGLU of ternary linears: BitNet, quantised as it runs (`AutoBitLinear`, online).

As Llama but for the norms: here each ternary linear has its own inside, there the same four stand outside:

    mixer.qkv.norm    input_layernorm              feed.gate_up.norm    post_attention_layernorm
    mixer.out.norm    self_attn.attn_sub_norm      feed.down.norm       mlp.ffn_sub_norm

Weights are stored in float32 and both sides make them ternary in the same way: round(w / mean |w|),
the mean clamped at 1e-5, over each logical matrix. Inputs are rounded to 255 steps of max |x| / 127 on
both sides, but they divide by the step before the product and we multiply after it, so float32 noise
differs. Rounding jumps: an input on the edge between two steps may fall on either side, and then all
tokens after it differ by the size of a step, not of the noise. So the share grows with the row: in random
models of three layers at most 1.4 % of 37 tokens moved, and 25 to 87 % of 257, by up to 1.2 % of the
largest logit. Embeddings moved by 3e-7 do the same to one of the two sides alone. The loss agrees to 5e-4 nats.

transformers loads it with `accelerate` alone.
"""

from typing import Any, ClassVar

from ablate.model.families.llama import Llama
from ablate.model.linear import NORM_EPS
from ablate.run.settings import Model, Size

QUANTIZATION = {
    "quant_method": "bitnet",
    "linear_class": "autobitlinear",
    "quantization_mode": "online",
    "use_rms_norm": False,
    "modules_to_not_convert": ["lm_head"],
}


class BitNet(Llama):
    NORMS: ClassVar[dict[str, str]] = {
        "mixer.qkv.norm.weight": "input_layernorm.weight",
        "mixer.out.norm.weight": "self_attn.attn_sub_norm.weight",
        "feed.gate_up.norm.weight": "post_attention_layernorm.weight",
        "feed.down.norm.weight": "mlp.ffn_sub_norm.weight",
    }

    @staticmethod
    def config(model: Model, size: Size) -> dict[str, Any]:
        return {
            "num_key_value_heads": size.kv_heads,
            "hidden_act": "silu",
            "quantization_config": dict(QUANTIZATION),
        }

    @staticmethod
    def required(theirs: Any) -> dict[str, Any]:
        return {"rms_norm_eps": NORM_EPS, "quantization_config": _online(theirs)}

    @staticmethod
    def model(theirs: Any) -> dict[str, Any]:
        return {"linear": "ternary"}

    @staticmethod
    def prepared(theirs: Any) -> Any:
        """What `from_pretrained` makes of a model whose configuration asks for it; `from_config` does not."""
        from transformers.integrations.bitnet import AutoBitLinear, replace_with_bitnet_linear
        from transformers.utils.quantization_config import BitNetQuantConfig

        wanted = BitNetQuantConfig(**QUANTIZATION)
        theirs = replace_with_bitnet_linear(theirs, wanted.modules_to_not_convert, wanted)
        for module in theirs.modules():
            if isinstance(module, AutoBitLinear):
                module.to_empty(device="cpu")
        return theirs


def _online(theirs: Any) -> Any:
    """Their own words for it, where they mean the same as ours; otherwise ours, which differ from theirs."""
    found = getattr(theirs, "quantization_config", None) or {}
    plain = found if isinstance(found, dict) else found.to_dict()
    keys = ("linear_class", "quantization_mode")
    same = all(plain.get(key) == QUANTIZATION[key] for key in keys) and not plain.get("use_rms_norm")
    return found if same else QUANTIZATION
