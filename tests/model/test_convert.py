"""The same logits as Hugging Face's Llama, Qwen3, DeepSeek-V3 and Bamba, in both directions."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from ablate.model.attention import Attention
from ablate.model.convert import from_hf, model_type, settings_from_hf, to_hf
from ablate.model.language import build
from ablate.model.mixers import MIXERS
from ablate.run.settings import Latent, Mamba, Model, Size

SIZE = Size(width=48, depth=3, heads=6, kv_heads=2, hidden=80)
LATENT = {"kv_lora_rank": 20, "q_lora_rank": None, "qk_rope_head_dim": 6, "qk_nope_head_dim": 8, "v_head_dim": 8}
DENSE = {"first_k_dense_replace": 3, "num_key_value_heads": 6, "n_routed_experts": 8, "num_mtp_layers": 0}
MAMBA = Mamba(state=12, head_width=16, groups=2, chunk=16)
BAMBA = {
    **{"mamba_n_heads": 6, "mamba_d_head": 16, "mamba_n_groups": 2, "mamba_d_state": 12, "mamba_chunk_size": 16},
    "rope_parameters": {"rope_type": "default", "rope_theta": 700.0, "partial_rotary_factor": 1.0},
    "pad_token_id": None,
}

OURS = {
    "llama": Model(),
    "qwen3": Model(qk_norm=True),
    "deepseek_v3": Model(pattern="L", latent=Latent(kv_rank=20, rope_width=6)),
    "deepseek_v3, latent queries": Model(pattern="L", latent=Latent(kv_rank=21, q_rank=14, rope_width=10)),
    "bamba": Model(pattern="M", mamba=MAMBA),
    "bamba, hybrid": Model(pattern="MA", mamba=MAMBA),
    "bamba, mostly attention": Model(pattern="MAA", mamba=Mamba(state=8, expand=3, head_width=9, conv=3, chunk=64)),
}
THEIRS = {
    "llama": {"model_type": "llama"},
    "qwen3": {"model_type": "qwen3", "head_dim": 8},
    "deepseek_v3": {"model_type": "deepseek_v3", **LATENT, **DENSE},
    "deepseek_v3, latent queries": {"model_type": "deepseek_v3", **LATENT, **DENSE, "q_lora_rank": 14},
    "bamba": {"model_type": "bamba", **BAMBA, "use_cache": False},
    "bamba, hybrid": {"model_type": "bamba", **BAMBA, "attn_layer_indices": [0, 2]},
}
every_model = pytest.mark.parametrize("model", OURS.values(), ids=OURS.keys())
every_class = pytest.mark.parametrize("shape", THEIRS.values(), ids=THEIRS.keys())
tied_or_not = pytest.mark.parametrize("tied", [True, False])


@pytest.fixture
def tokens_BL():
    return torch.randint(97, (2, 75), generator=torch.Generator().manual_seed(1))


def ours(model, **changes):
    """A model whose norms are not all ones."""
    built = build(Model(**vars(model) | {"rope_theta": 500.0, "norm_eps": 1e-4} | changes), SIZE, 97, seed=3)
    return stirred(built)


def theirs(shape, **changes) -> PreTrainedModel:
    torch.manual_seed(0)
    common = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2}
    config = AutoConfig.for_model(**common | {"intermediate_size": 80, "vocab_size": 97} | shape | changes)
    return stirred(AutoModelForCausalLM.from_config(config)).eval()


@torch.no_grad()
def stirred(model):
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
    return model


@every_model
@tied_or_not
def test_to_hf_gives_the_same_logits(tokens_BL, model, tied):
    model = ours(model, tied=tied)
    with torch.no_grad():
        torch.testing.assert_close(to_hf(model)(tokens_BL).logits, model.logits(tokens_BL), atol=1e-5, rtol=0)


@every_model
def test_saved_and_loaded_it_generates_what_ours_would(model, tokens_BL, tmp_path):
    """Greedily, through their cache where they have one."""
    mine = ours(model, init_scale=2.0)
    to_hf(mine).save_pretrained(tmp_path)
    its = AutoModelForCausalLM.from_pretrained(tmp_path)
    text = tokens_BL[:, :20]
    with torch.no_grad():
        for _ in range(12):
            text = torch.cat((text, mine.logits(text)[:, -1:].argmax(-1)), dim=1)
    assert torch.equal(its.generate(tokens_BL[:, :20], max_new_tokens=12, do_sample=False), text)


@every_class
@tied_or_not
def test_from_hf_gives_the_same_logits(tokens_BL, shape, tied):
    model = theirs(shape, tie_word_embeddings=tied, initializer_range=0.1)
    with torch.no_grad():
        torch.testing.assert_close(from_hf(model).logits(tokens_BL), model(tokens_BL).logits, atol=1e-5, rtol=0)


@every_class
def test_from_hf_gives_the_same_gradients(tokens_BL, shape):
    its = theirs(shape, tie_word_embeddings=False)
    mine = from_hf(its)
    its(tokens_BL).logits.square().mean().backward()
    mine.logits(tokens_BL).square().mean().backward()
    for parameter, other in ((mine.embedding.weight, its.model.embed_tokens), (mine.head_weight, its.lm_head)):
        torch.testing.assert_close(parameter.grad, other.weight.grad, atol=1e-6, rtol=1e-4)


@every_model
@tied_or_not
def test_there_and_back_is_exact(model, tied):
    size = Size(width=48, depth=3, heads=6, kv_heads=6 if model.pattern == "L" else 2, hidden=80)
    there = build(Model(**vars(model) | {"tied": tied}), size, 97, seed=3)
    back = from_hf(to_hf(there))
    assert (back.model, back.size) == (there.model, there.size)
    for name, value in there.state_dict().items():
        assert torch.equal(value, back.state_dict()[name]), name


def test_the_epsilon_of_latents_is_theirs(tokens_BL):
    """Latents so small that the epsilon of their norm matters; `rms_norm_eps` is not it."""
    model = theirs(THEIRS["deepseek_v3, latent queries"], rms_norm_eps=1e-3, initializer_range=0.1)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.kv_a_proj_with_mqa.weight.mul_(2e-3)
            layer.self_attn.q_a_proj.weight.mul_(2e-3)
        torch.testing.assert_close(from_hf(model).logits(tokens_BL), model(tokens_BL).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("llama", "hidden_act", "gelu"),
        ("llama", "attention_bias", True),
        ("llama", "head_dim", 16),
        ("llama", "mlp_bias", True),
        ("qwen3", "head_dim", 16),
        ("qwen3", "use_sliding_window", True),
        ("deepseek_v3", "v_head_dim", 16),
        ("deepseek_v3", "qk_nope_head_dim", 16),
        ("deepseek_v3", "rope_interleave", False),
        ("deepseek_v3", "first_k_dense_replace", 2),
        ("bamba", "mamba_proj_bias", True),
        ("bamba", "mamba_conv_bias", False),
        ("bamba", "mlp_bias", True),
    ],
)
def test_what_has_no_form_here_is_named(name, key, value):
    shape: Any = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6} | THEIRS[name] | {key: value}
    with pytest.raises(ValueError, match=f"^{key}={value}: must be "):
        settings_from_hf(AutoConfig.for_model(**shape))


def test_a_head_that_is_turned_in_part_is_named():
    """As in Bamba's own weights, which this would otherwise turn too far."""
    half = BAMBA["rope_parameters"] | {"partial_rotary_factor": 0.5}
    config = AutoConfig.for_model("bamba", hidden_size=48, num_attention_heads=6, **BAMBA | {"rope_parameters": half})
    with pytest.raises(ValueError, match=r"^rope_parameters=.*0\.5.*: must be .*1\.0.* to become a LanguageModel$"):
        settings_from_hf(config)


def test_a_class_that_is_not_known_is_named():
    with pytest.raises(ValueError, match=r"^model_type=gpt2: must be one of llama, qwen3, deepseek_v3, bamba, bitnet$"):
        settings_from_hf(AutoConfig.for_model("gpt2"))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"feed": "relu2"}, "model.feed=relu2"),
        ({"pattern": "M", "linear": "ternary"}, "model.pattern='M'"),
        ({"linear": "ternary", "qk_norm": True}, "model.qk_norm=True"),
        ({"linear": "ternary", "norm_eps": 1e-6}, "model.norm_eps=1e-06"),
        ({"pattern": "AL"}, "model.pattern='AL'"),
        ({"pattern": "LM"}, "model.pattern='LM'"),
        ({"pattern": "AM", "qk_norm": True}, "model.qk_norm=True"),
    ],
)
def test_what_has_no_form_there_is_named(changes, key):
    with pytest.raises(ValueError, match=f"^{key}: must be .* to have a form in transformers$"):
        model_type(Model(**changes))


class Halved(Attention):
    """Of the same name, the same settings and the same weights as attention."""

    def forward(self, x_BLD):
        return 0.5 * super().forward(x_BLD)


def test_a_mixer_of_ones_own_does_not_leave_as_attention(monkeypatch):
    monkeypatch.setitem(MIXERS, "A", Halved)
    with pytest.raises(ValueError, match=r"^blocks\.0\.mixer: Halved of .*test_convert has no form in transformers$"):
        to_hf(ours(Model()))
