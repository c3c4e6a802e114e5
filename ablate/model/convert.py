"""To and from Hugging Face, weight for weight: the same logits to rounding.

    pattern "A"                   llama          LlamaForCausalLM
    pattern "A", qk_norm          qwen3          Qwen3ForCausalLM
    pattern "A", ternary          bitnet         BitNetForCausalLM, quantised as it runs
    pattern "L"                   deepseek_v3    DeepseekV3ForCausalLM, every layer dense: no experts
    pattern "M", "MMMA", ...      bamba          BambaForCausalLM

`families` has a file for each: the names of its parameters beside ours. Everything else (squared ReLU,
latent attention beside other mixers, ternary Mamba) has no class there, and a line says so. Nor has a part that is not
of this room: a mixer of yours may be called A, and its weights as those of attention are, and compute something else.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ablate.model.families import common
from ablate.model.families.bamba import Bamba
from ablate.model.families.bitnet import BitNet
from ablate.model.families.common import State
from ablate.model.families.deepseek import DeepseekV3
from ablate.model.families.llama import Llama, Qwen3
from ablate.model.language import LanguageModel, letters, std
from ablate.model.linear import NORM_EPS
from ablate.run.settings import Model, Size

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

FAMILIES = {"llama": Llama, "qwen3": Qwen3, "deepseek_v3": DeepseekV3, "bamba": Bamba, "bitnet": BitNet}
OURS = ("ablate.model.", "torch.nn.modules.")  # where the parts of a model are from


def to_hf(language: LanguageModel, positions: int = 2048, end: int | None = None) -> "PreTrainedModel":
    """The same model in float32, as the class that its mixers have in transformers.

    `positions` and `end`, the token that ends a document, are only recorded in its configuration. Raises
    ValueError, naming the key, for what no class there can express.
    """
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_config(config_to_hf(language, positions, end), dtype=torch.float32)
    theirs = FAMILIES[model_type(language.model)].prepared(theirs)
    theirs.load_state_dict(state_to_hf(language))
    return theirs.eval()


def from_folder(folder: Path) -> LanguageModel:
    """The model of a transformers folder, in float32. Raises ValueError or OSError for one that cannot be ours."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    careful = {"local_files_only": True, "trust_remote_code": False}
    settings_from_hf(AutoConfig.from_pretrained(folder, **careful))  # before weights are read
    theirs, found = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, use_safetensors=True, **careful
    )
    for kind in ("missing", "mismatched", "unexpected"):  # transformers draws such weights at random and goes on
        if names := sorted(map(str, found[f"{kind}_keys"])):
            raise ValueError(f"{kind} weights: {', '.join(names[:3])}")
    return from_hf(theirs)


def from_hf(theirs: "PreTrainedModel") -> LanguageModel:
    """The same model as a LanguageModel. Raises ValueError, naming the key, for what we cannot express."""
    config: Any = theirs.config
    model, size = settings_from_hf(config)
    language = LanguageModel(model, size, config.vocab_size)
    language.load_state_dict(state_from_hf(theirs.state_dict(), model, size))
    return language


def model_type(model: Model) -> str:
    """The key of FAMILIES for this architecture. Raises ValueError if it has none."""
    _expressible("model.feed", model.feed, model.feed == "swiglu", "swiglu")
    mixers = set(model.pattern)
    _expressible("model.pattern", repr(model.pattern), mixers <= set("ALM"), "made of A, L and M")
    _expressible("model.linear", model.linear, model.linear in ("dense", "ternary"), "dense or ternary")
    if model.linear == "ternary":
        _expressible("model.pattern", repr(model.pattern), mixers == {"A"}, "all A with model.linear=ternary")
        _expressible("model.qk_norm", model.qk_norm, not model.qk_norm, "false with model.linear=ternary")
        eps = model.norm_eps
        _expressible("model.norm_eps", eps, eps == NORM_EPS, f"{NORM_EPS} with model.linear=ternary")
        return "bitnet"
    _expressible("model.pattern", repr(model.pattern), mixers == {"L"} or "L" not in mixers, "all L, or without L")
    if mixers == {"L"}:
        return "deepseek_v3"
    if "M" in mixers:
        _expressible("model.qk_norm", model.qk_norm, not model.qk_norm, "false beside M")
        return "bamba"
    return "qwen3" if model.qk_norm else "llama"


def _expressible(key: str, value: Any, fits: bool, allowed: str) -> None:
    if not fits:
        raise ValueError(f"{key}={value}: must be {allowed} to have a form in transformers")


def foreign(language: LanguageModel, known: tuple[str, ...] = OURS) -> str:
    """The name of a part that is of none of these modules; empty if there is none."""
    kinds = {name: type(part) for name, part in language.named_modules()}
    others = {name: kind for name, kind in kinds.items() if not f"{kind.__module__}.".startswith(known)}
    return next((f"{name}: {kind.__qualname__} of {kind.__module__}" for name, kind in others.items()), "")


def config_to_hf(
    language: LanguageModel, positions: int = 2048, end: int | None = None, known: tuple[str, ...] = OURS
) -> "PreTrainedConfig":
    """`known`: the modules that its parts may be from. Raises ValueError as `to_hf` does."""
    from transformers import AutoConfig

    model, size, kind = language.model, language.size, model_type(language.model)
    if part := foreign(language, known):
        raise ValueError(f"{part} has no form in transformers")
    common_keys = {
        "vocab_size": len(language.head_weight),
        "hidden_size": size.width,
        "intermediate_size": size.hidden,
        "num_hidden_layers": size.depth,
        "num_attention_heads": size.heads,
        "max_position_embeddings": positions,
        "rms_norm_eps": model.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "tie_word_embeddings": model.tied,
        "initializer_range": std(model, size),
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": None,
    }
    return AutoConfig.for_model(kind, **common_keys | FAMILIES[kind].config(model, size))


def settings_from_hf(config: "PreTrainedConfig") -> tuple[Model, Size]:
    """Model and Size of one of their configurations."""
    theirs: Any = config
    if theirs.model_type not in FAMILIES:
        raise ValueError(f"model_type={theirs.model_type}: must be one of {', '.join(FAMILIES)}")
    family = FAMILIES[theirs.model_type]
    few = (getattr(theirs, "quantization_config", None) or {}) if family is not BitNet else {}
    if few:
        raise ValueError(f"quantization_config={few.get('quant_method')}: weights in few bits are no LanguageModel")
    _require(theirs.rope_parameters, {"rope_type": "default"})
    _require(vars(theirs), {"hidden_act": "silu", "attention_bias": False} | family.required(theirs))
    model = Model(
        norm_eps=theirs.rms_norm_eps,
        rope_theta=theirs.rope_parameters["rope_theta"],
        tied=theirs.tie_word_embeddings,
        init_scale=theirs.initializer_range * math.sqrt(theirs.hidden_size),
        **family.model(theirs),
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
        if theirs.get(key) != allowed:
            raise ValueError(f"{key}={theirs.get(key)}: must be {allowed} to become a LanguageModel")


def state_to_hf(language: LanguageModel) -> State:
    """Our parameters under their names and with their row order."""
    return renamed_to_hf(language.state_dict(), language.model, language.size)


def renamed_to_hf(ours: State, model: Model, size: Size) -> State:
    """The same of any tensors that have a row for each of the parameter: rows are all that moves."""
    family = FAMILIES[model_type(model)]
    theirs = {
        "model.embed_tokens.weight": ours["embedding.weight"],
        family.NORM: ours["norm.weight"],
        "lm_head.weight": ours["embedding.weight" if model.tied else "head.weight"],
    }
    for i, letter in enumerate(letters(model.pattern, size.depth)):
        layer = family.layer(letter, common.below(f"blocks.{i}.", ours), model, size)
        theirs |= common.at(f"model.layers.{i}.", layer)
    return theirs


def state_from_hf(theirs: State, model: Model, size: Size) -> State:
    """Their parameters under our names and with our row order."""
    family = FAMILIES[model_type(model)]
    ours = {"embedding.weight": theirs["model.embed_tokens.weight"], "norm.weight": theirs[family.NORM]}
    if not model.tied:
        ours["head.weight"] = theirs["lm_head.weight"]
    for i, letter in enumerate(letters(model.pattern, size.depth)):
        block = family.block(letter, common.below(f"model.layers.{i}.", theirs), model, size)
        ours |= common.at(f"blocks.{i}.", block)
    return ours
