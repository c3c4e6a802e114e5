"""To and from Hugging Face, weight for weight: the same logits to rounding.

    pattern "A"             llama          LlamaForCausalLM
    pattern "A", qk_norm    qwen3          Qwen3ForCausalLM
    pattern "L"             deepseek_v3    DeepseekV3ForCausalLM, every layer dense: no experts

What all of them share (CONVERTERS knows the mixers):

    LanguageModel           theirs
    embedding               model.embed_tokens
    blocks.i.mixer_norm     model.layers.i.input_layernorm
    blocks.i.mixer.out      model.layers.i.self_attn.o_proj
    blocks.i.feed_norm      model.layers.i.post_attention_layernorm
    blocks.i.feed.gate_up   model.layers.i.mlp.{gate,up}_proj
    blocks.i.feed.down      model.layers.i.mlp.down_proj
    norm, head              model.norm, lm_head

Rotary positions turn pairs of a head's rows: neighbours here and in DeepSeek, (k, k + K/2) in
Llama. Reordering the rows of queries and keys alike leaves every score as it is.

Shapes: D width, V vocabulary, F feed-forward width, H heads, K width of a head.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ablate.model.language import LanguageModel, std
from ablate.settings import Latent, Model, Size

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

State = dict[str, Tensor]

PLAIN = {  # of one block; the names that differ in nothing but the name
    "mixer_norm.weight": "input_layernorm.weight",
    "mixer.out.weight": "self_attn.o_proj.weight",
    "feed_norm.weight": "post_attention_layernorm.weight",
    "feed.down.weight": "mlp.down_proj.weight",
}


def to_hf(language: LanguageModel, positions: int = 2048) -> "PreTrainedModel":
    """The same model in float32, as the class that its mixers have in transformers.

    `positions` is only recorded in its configuration. Raises ValueError, naming the key, for what
    no class there can express.
    """
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_config(config_to_hf(language, positions), dtype=torch.float32)
    theirs.load_state_dict(state_to_hf(language))
    return theirs.eval()


def from_hf(theirs: "PreTrainedModel") -> LanguageModel:
    """The same model as a LanguageModel. Raises ValueError, naming the key, for what we cannot express."""
    config: Any = theirs.config
    model, size = settings_from_hf(config)
    language = LanguageModel(model, size, config.vocab_size)
    language.load_state_dict(state_from_hf(theirs.state_dict(), model, size))
    return language


def model_type(model: Model) -> str:
    """The key of CONVERTERS for this architecture. Raises ValueError if it has none."""
    if model.feed != "swiglu":
        raise ValueError(f"model.feed={model.feed}: must be swiglu to have a form in transformers")
    if model.linear != "dense":
        raise ValueError(f"model.linear={model.linear}: must be dense to have a form in transformers")
    match "".join(sorted(set(model.pattern))):
        case "A":
            return "qwen3" if model.qk_norm else "llama"
        case "L":
            return "deepseek_v3"
    raise ValueError(f"model.pattern={model.pattern!r}: must be all A or all L to have a form in transformers")


def config_to_hf(language: LanguageModel, positions: int = 2048) -> "PreTrainedConfig":
    from transformers import AutoConfig

    model, size, kind = language.model, language.size, model_type(language.model)
    return AutoConfig.for_model(
        kind,
        vocab_size=len(language.head_weight),
        hidden_size=size.width,
        intermediate_size=size.hidden,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        max_position_embeddings=positions,
        rms_norm_eps=model.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_theta},
        tie_word_embeddings=model.tied,
        initializer_range=std(model, size),
        **CONVERTERS[kind].config(model, size),
    )


def settings_from_hf(config: "PreTrainedConfig") -> tuple[Model, Size]:
    """Model and Size of one of their configurations."""
    theirs: Any = config
    if theirs.model_type not in CONVERTERS:
        raise ValueError(f"model_type={theirs.model_type}: must be one of {', '.join(CONVERTERS)}")
    converter = CONVERTERS[theirs.model_type]
    _require(theirs.rope_parameters, {"rope_type": "default"})
    _require(vars(theirs), {"hidden_act": "silu", "attention_bias": False} | converter.required(theirs))
    model = Model(
        norm_eps=theirs.rms_norm_eps,
        rope_theta=theirs.rope_parameters["rope_theta"],
        tied=theirs.tie_word_embeddings,
        init_scale=theirs.initializer_range * math.sqrt(theirs.hidden_size),
        **converter.model(theirs),
    )
    return model, Size(
        width=theirs.hidden_size,
        depth=theirs.num_hidden_layers,
        heads=theirs.num_attention_heads,
        kv_heads=theirs.num_key_value_heads or theirs.num_attention_heads,
        hidden=theirs.intermediate_size,
    )


def _require(theirs: dict[str, Any], required: dict[str, Any]) -> None:
    for key, allowed in required.items():
        if theirs[key] != allowed:
            raise ValueError(f"{key}={theirs[key]}: must be {allowed} to become a LanguageModel")


def state_to_hf(language: LanguageModel) -> State:
    """Our parameters under their names and with their row order."""
    ours, converter = language.state_dict(), CONVERTERS[model_type(language.model)]
    theirs = {
        "model.embed_tokens.weight": ours["embedding.weight"],
        "model.norm.weight": ours["norm.weight"],
        "lm_head.weight": language.head_weight.detach(),
    }
    for i in range(language.size.depth):
        block = _below(f"blocks.{i}.", ours)
        layer = {their: block[our] for our, their in PLAIN.items()}
        gate, up = block["feed.gate_up.weight"].chunk(2)
        layer |= {"mlp.gate_proj.weight": gate, "mlp.up_proj.weight": up}
        layer |= _at("self_attn.", converter.to_hf(_below("mixer.", block), language.model, language.size))
        theirs |= _at(f"model.layers.{i}.", layer)
    return theirs


def state_from_hf(theirs: State, model: Model, size: Size) -> State:
    """Their parameters under our names and with our row order."""
    converter = CONVERTERS[model_type(model)]
    ours = {"embedding.weight": theirs["model.embed_tokens.weight"], "norm.weight": theirs["model.norm.weight"]}
    if not model.tied:
        ours["head.weight"] = theirs["lm_head.weight"]
    for i in range(size.depth):
        layer = _below(f"model.layers.{i}.", theirs)
        block = {our: layer[their] for our, their in PLAIN.items()}
        block["feed.gate_up.weight"] = torch.cat((layer["mlp.gate_proj.weight"], layer["mlp.up_proj.weight"]))
        block |= _at("mixer.", converter.from_hf(_below("self_attn.", layer), model, size))
        ours |= _at(f"blocks.{i}.", block)
    return ours


def _below(prefix: str, state: State) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _at(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


class Llama:
    """Attention.

    qkv    {q,k,v}_proj    rows of q and k reordered
    """

    @staticmethod
    def config(model: Model, size: Size) -> dict[str, Any]:
        """What their configuration has beyond that of all."""
        return {"num_key_value_heads": size.kv_heads, "head_dim": size.width // size.heads}

    @staticmethod
    def required(theirs: Any) -> dict[str, Any]:
        """The values that keys of their configuration must have, for us to have the same model."""
        return {"mlp_bias": False, "head_dim": theirs.hidden_size // theirs.num_attention_heads}

    @staticmethod
    def model(theirs: Any) -> dict[str, Any]:
        """What our Model has beyond that of all."""
        return {}

    @staticmethod
    def to_hf(ours: State, model: Model, size: Size) -> State:
        q, k, v = (
            ours["qkv.weight"]
            .unflatten(0, (-1, size.width // size.heads))
            .split((size.heads, size.kv_heads, size.kv_heads))
        )
        return {
            "q_proj.weight": _halves_from_pairs(q).flatten(0, 1),
            "k_proj.weight": _halves_from_pairs(k).flatten(0, 1),
            "v_proj.weight": v.flatten(0, 1),
        }

    @staticmethod
    def from_hf(theirs: State, model: Model, size: Size) -> State:
        q, k, v = (theirs[f"{name}_proj.weight"].unflatten(0, (-1, size.width // size.heads)) for name in "qkv")
        return {"qkv.weight": torch.cat((_pairs_from_halves(q), _pairs_from_halves(k), v)).flatten(0, 1)}


class Qwen3(Llama):
    """Attention with normed queries and keys.

    {q,k}_norm    {q,k}_norm    reordered as the rows are
    """

    @staticmethod
    def required(theirs: Any) -> dict[str, Any]:
        return {"use_sliding_window": False, "head_dim": theirs.hidden_size // theirs.num_attention_heads}

    @staticmethod
    def model(theirs: Any) -> dict[str, Any]:
        return {"qk_norm": True}

    @staticmethod
    def to_hf(ours: State, model: Model, size: Size) -> State:
        norms = (f"{x}_norm.weight" for x in "qk")
        rows = {norm: _halves_from_pairs(ours[norm][None, :, None]).flatten() for norm in norms}
        return Llama.to_hf(ours, model, size) | rows

    @staticmethod
    def from_hf(theirs: State, model: Model, size: Size) -> State:
        norms = (f"{x}_norm.weight" for x in "qk")
        rows = {norm: _pairs_from_halves(theirs[norm][None, :, None]).flatten() for norm in norms}
        return Llama.from_hf(theirs, model, size) | rows


class DeepseekV3:
    """Latent attention; its norms have the same epsilon on both sides, whatever `rms_norm_eps`.

    q                     q_proj
    q_{down,norm,up}      q_{a_proj,a_layernorm,b_proj}
    kv_down and k_rope    kv_a_proj_with_mqa
    kv_{norm,up}          kv_{a_layernorm,b_proj}
    """

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
        head = theirs.hidden_size // theirs.num_attention_heads
        return {
            "num_key_value_heads": theirs.num_attention_heads,
            "qk_nope_head_dim": head,
            "v_head_dim": head,
            "rope_interleave": True,
            "first_k_dense_replace": max(theirs.first_k_dense_replace, theirs.num_hidden_layers),
        }

    @staticmethod
    def model(theirs: Any) -> dict[str, Any]:
        latent = Latent(kv_rank=theirs.kv_lora_rank, q_rank=theirs.q_lora_rank or 0, rope_width=theirs.qk_rope_head_dim)
        return {"pattern": "L", "latent": latent}

    @staticmethod
    def to_hf(ours: State, model: Model, size: Size) -> State:
        theirs = {their: ours[our] for our, their in _plain_latent(model).items()}
        return theirs | {"kv_a_proj_with_mqa.weight": torch.cat((ours["kv_down.weight"], ours["k_rope.weight"]))}

    @staticmethod
    def from_hf(theirs: State, model: Model, size: Size) -> State:
        ours = {our: theirs[their] for our, their in _plain_latent(model).items()}
        kv_down, k_rope = theirs["kv_a_proj_with_mqa.weight"].split((model.latent.kv_rank, model.latent.rope_width))
        return ours | {"kv_down.weight": kv_down, "k_rope.weight": k_rope}


def _plain_latent(model: Model) -> dict[str, str]:
    """Names of latent attention that differ in nothing but the name."""
    keys_and_values = {"kv_norm.weight": "kv_a_layernorm.weight", "kv_up.weight": "kv_b_proj.weight"}
    if not model.latent.q_rank:
        return keys_and_values | {"q.weight": "q_proj.weight"}
    down_and_up = {"q_down.weight": "q_a_proj.weight", "q_up.weight": "q_b_proj.weight"}
    return keys_and_values | down_and_up | {"q_norm.weight": "q_a_layernorm.weight"}


CONVERTERS = {"llama": Llama, "qwen3": Qwen3, "deepseek_v3": DeepseekV3}  # by their `model_type`


def _halves_from_pairs(weight_HKD: Tensor) -> Tensor:
    """Rows of each head from (0, 1), (2, 3), ... to 0, 2, ... then 1, 3, ..."""
    return weight_HKD.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)


def _pairs_from_halves(weight_HKD: Tensor) -> Tensor:
    return weight_HKD.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
