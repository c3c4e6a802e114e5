"""The ternary model as transformers' BitNet: equal to rounding, wherever rounding is not a coin toss.

An input of a linear that lies on the edge between two of its 255 steps goes to either side by float32
noise, and moves every logit after it by a step. So tokens are compared up to the first such input.
"""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ablate.model import linear
from ablate.model.convert import from_hf, settings_from_hf, to_hf
from ablate.model.families.bitnet import QUANTIZATION, BitNet
from ablate.model.language import build
from ablate.run.settings import Model, Size

SIZE = Size(width=48, depth=3, heads=6, kv_heads=2, hidden=80)
EDGE = 1e-4  # of a step: the float32 noise of 127 of them, after three layers


@pytest.fixture(autouse=True)
def eager():
    """transformers compiles its two roundings, which takes longer than all that is tested here."""
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.fixture
def tokens_BL():
    return torch.randint(97, (128, 10), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def ours(**changes):
    model = build(Model(linear="ternary", rope_theta=500.0, **changes), SIZE, 97, seed=3)
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
    return model


@torch.no_grad()
def logits_and_distance(model, tokens_BL, monkeypatch):
    """Our logits, and how near an edge any input of any linear was, up to each token of a row: (B, L)."""
    distances, plain = [], linear.int8

    def watched(x):
        rounded, scale = plain(x)
        distances.append((0.5 - (x / scale - (x / scale).round()).abs()).amin(-1))
        return rounded, scale

    with monkeypatch.context() as patch:
        patch.setattr(linear, "int8", watched)
        logits = model.logits(tokens_BL)
    return logits, torch.stack(distances).amin(0).cummin(1).values


def assert_equal_off_edges(model, its, tokens_BL, monkeypatch):
    logits, distance_BL = logits_and_distance(model, tokens_BL, monkeypatch)
    clear = distance_BL > EDGE
    assert clear.float().mean() > 0.3
    with torch.no_grad():
        torch.testing.assert_close(its(tokens_BL).logits[clear], logits[clear], atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_to_hf_gives_the_same_logits(tokens_BL, tied, monkeypatch):
    model = ours(tied=tied)
    assert_equal_off_edges(model, to_hf(model), tokens_BL, monkeypatch)


def test_from_hf_gives_the_same_logits(tokens_BL, monkeypatch):
    torch.manual_seed(0)
    shape = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2}
    config = AutoConfig.for_model(
        "bitnet", **shape, intermediate_size=80, vocab_size=97, hidden_act="silu", quantization_config=QUANTIZATION
    )
    drawn = AutoModelForCausalLM.from_config(config).state_dict()
    its = BitNet.prepared(AutoModelForCausalLM.from_config(config))
    its.load_state_dict(drawn)
    assert_equal_off_edges(from_hf(its), its.eval(), tokens_BL, monkeypatch)


def test_there_and_back_is_exact():
    there = ours()
    back = from_hf(to_hf(there))
    assert (back.model, back.size) == (there.model, there.size)
    for name, value in there.state_dict().items():
        assert torch.equal(value, back.state_dict()[name]), name


def test_saved_and_loaded_it_is_quantised_again(tokens_BL, tmp_path):
    pytest.importorskip("accelerate")
    its = to_hf(ours())
    its.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded(tokens_BL).logits, its(tokens_BL).logits)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("quantization_config", None),
        ("quantization_config", QUANTIZATION | {"quantization_mode": "offline"}),
        ("quantization_config", QUANTIZATION | {"use_rms_norm": True}),
        ("hidden_act", "relu2"),
        ("rms_norm_eps", 1e-6),
    ],
)
def test_what_has_no_form_here_is_named(key, value):
    shape = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2}
    given = {"quantization_config": QUANTIZATION, "hidden_act": "silu"} | {key: value}
    with pytest.raises(ValueError, match=f"^{key}=.*: must be .* to become a LanguageModel$"):
        settings_from_hf(AutoConfig.for_model("bitnet", **shape, **given))
