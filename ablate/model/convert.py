"""To and from Hugging Face's Llama, weight for weight: the same logits to rounding.

    LanguageModel                LlamaForCausalLM
    embedding                    model.embed_tokens
    blocks.i.mixer_norm          model.layers.i.input_layernorm
    blocks.i.mixer.qkv           model.layers.i.self_attn.{q,k,v}_proj    rows of q and k reordered
    blocks.i.mixer.out           model.layers.i.self_attn.o_proj
    blocks.i.feed_norm           model.layers.i.post_attention_layernorm
    blocks.i.feed.gate_up        model.layers.i.mlp.{gate,up}_proj
    blocks.i.feed.down           model.layers.i.mlp.down_proj
    norm, head                   model.norm, lm_head

Rotary positions turn pairs of a head's rows: neighbours here, (k, k + K/2) there. Reordering the
rows of queries and keys alike leaves every score as it is.

Shapes: D width, V vocabulary, F feed-forward width, H heads, K width of a head.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ablate.model.language import LanguageModel, std
from ablate.settings import Model, Size

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM

PLAIN = {  # of one block; the names that differ in nothing but the name
    "mixer_norm.weight": "input_layernorm.weight",
    "mixer.out.weight": "self_attn.o_proj.weight",
    "feed_norm.weight": "post_attention_layernorm.weight",
    "feed.down.weight": "mlp.down_proj.weight",
}


def to_hf(language: LanguageModel, positions: int = 2048) -> "LlamaForCausalLM":
    """The same model as a LlamaForCausalLM in float32. `positions` is only recorded in its configuration."""
    from transformers import LlamaForCausalLM

    llama = LlamaForCausalLM(config_to_hf(language, positions))
    llama.load_state_dict(state_to_hf(language))
    return llama.eval()


def from_hf(llama: "LlamaForCausalLM") -> LanguageModel:
    """The same model as a LanguageModel. Raises ValueError, naming the key, for what we cannot express."""
    model, size = settings_from_hf(llama.config)
    language = LanguageModel(model, size, llama.config.vocab_size)
    language.load_state_dict(state_from_hf(llama.state_dict(), model, size))
    return language


def config_to_hf(language: LanguageModel, positions: int = 2048) -> "LlamaConfig":
    from transformers import LlamaConfig

    model, size = language.model, language.size
    if set(model.pattern) != {"A"}:
        raise ValueError(f"model.pattern={model.pattern!r}: only attention (A) has a form in LlamaForCausalLM")
    return LlamaConfig(
        vocab_size=len(language.head_weight),
        hidden_size=size.width,
        intermediate_size=size.hidden,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        max_position_embeddings=positions,
        rms_norm_eps=model.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_theta},
        tie_word_embeddings=model.tied,
        initializer_range=std(model, size),
    )


def settings_from_hf(config: "LlamaConfig") -> tuple[Model, Size]:
    """Model and Size of a Llama configuration."""
    rope: Any = config.rope_parameters
    kv_heads = config.num_key_value_heads or config.num_attention_heads
    expected = {
        "hidden_act": (config.hidden_act, "silu"),
        "attention_bias": (config.attention_bias, False),
        "mlp_bias": (config.mlp_bias, False),
        "head_dim": (config.head_dim, config.hidden_size // config.num_attention_heads),
        "rope_type": (rope["rope_type"], "default"),
    }
    for key, (value, allowed) in expected.items():
        if value != allowed:
            raise ValueError(f"{key}={value}: must be {allowed} to become a LanguageModel")
    model = Model(
        norm_eps=config.rms_norm_eps,
        rope_theta=rope["rope_theta"],
        tied=config.tie_word_embeddings,
        init_scale=config.initializer_range * math.sqrt(config.hidden_size),
    )
    return model, Size(
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=kv_heads,
        hidden=config.intermediate_size,
    )


def state_to_hf(language: LanguageModel) -> dict[str, Tensor]:
    """Our parameters under their names and with their row order."""
    ours, size = language.state_dict(), language.size
    theirs = {
        "model.embed_tokens.weight": ours["embedding.weight"],
        "model.norm.weight": ours["norm.weight"],
        "lm_head.weight": language.head_weight.detach(),
    }
    for i in range(size.depth):
        block, layer = f"blocks.{i}.", f"model.layers.{i}."
        theirs |= {layer + their: ours[block + our] for our, their in PLAIN.items()}
        q, k, v = ours[block + "mixer.qkv.weight"].split(_qkv_rows(size))
        theirs[layer + "self_attn.q_proj.weight"] = _halves_from_pairs(q, size)
        theirs[layer + "self_attn.k_proj.weight"] = _halves_from_pairs(k, size)
        theirs[layer + "self_attn.v_proj.weight"] = v
        gate, up = ours[block + "feed.gate_up.weight"].chunk(2)
        theirs |= {layer + "mlp.gate_proj.weight": gate, layer + "mlp.up_proj.weight": up}
    return theirs


def state_from_hf(theirs: dict[str, Any], model: Model, size: Size) -> dict[str, Tensor]:
    """Their parameters under our names and with our row order."""
    ours = {"embedding.weight": theirs["model.embed_tokens.weight"], "norm.weight": theirs["model.norm.weight"]}
    if not model.tied:
        ours["head.weight"] = theirs["lm_head.weight"]
    for i in range(size.depth):
        block, layer = f"blocks.{i}.", f"model.layers.{i}."
        ours |= {block + our: theirs[layer + their] for our, their in PLAIN.items()}
        q, k, v = (theirs[f"{layer}self_attn.{name}_proj.weight"] for name in "qkv")
        ours[block + "mixer.qkv.weight"] = torch.cat((_pairs_from_halves(q, size), _pairs_from_halves(k, size), v))
        gate_up = (theirs[layer + "mlp.gate_proj.weight"], theirs[layer + "mlp.up_proj.weight"])
        ours[block + "feed.gate_up.weight"] = torch.cat(gate_up)
    return ours


def _qkv_rows(size: Size) -> tuple[int, int, int]:
    head = size.width // size.heads
    return size.heads * head, size.kv_heads * head, size.kv_heads * head


def _halves_from_pairs(weight: Tensor, size: Size) -> Tensor:
    """Rows of each head from (0, 1), (2, 3), ... to 0, 2, ... then 1, 3, ..."""
    head = size.width // size.heads
    return weight.unflatten(0, (-1, head // 2, 2)).transpose(1, 2).flatten(0, 2)


def _pairs_from_halves(weight: Tensor, size: Size) -> Tensor:
    head = size.width // size.heads
    return weight.unflatten(0, (-1, 2, head // 2)).transpose(1, 2).flatten(0, 2)
