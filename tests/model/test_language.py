"""What a language model must do whatever its mixers: causality, a fair start, initialisation by name."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from ablate.model.attention import Attention
from ablate.model.language import LanguageModel, build, decay_groups, initialise, letters
from ablate.model.mixers import MIXERS
from ablate.run.settings import Latent, Model, Size

SIZE = Size(width=64, depth=4, heads=4, kv_heads=2, hidden=96)
VOCABULARY = 512
MODELS = {
    "attention": Model(),
    "attention, normed": Model(qk_norm=True),
    "latent": Model(pattern="L"),
    "latent queries": Model(pattern="AL", latent=Latent(q_rank=24)),
    "relu2": Model(feed="relu2"),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def tokens(rows=4, length=70, seed=0):
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def mean_nats(model, tokens_BL):
    with torch.no_grad():
        logits = model.logits(tokens_BL[:, :-1])
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), tokens_BL[:, 1:].flatten()).item()


@pytest.mark.parametrize("tied", [True, False])
def test_first_loss_is_that_of_a_guess(tied):
    model = build(Model(tied=tied), SIZE, VOCABULARY, seed=0)
    assert mean_nats(model, tokens()) == pytest.approx(math.log(VOCABULARY), rel=0.05)


@pytest.mark.parametrize("letter", sorted(MIXERS))
@pytest.mark.parametrize("changed", [1, 37, 64, 69])
def test_no_token_sees_a_later_one(letter, changed):
    model = build(Model(pattern=letter, init_scale=1.2), SIZE, VOCABULARY, seed=0)
    before, after = tokens(), tokens()
    after[:, changed] = (after[:, changed] + 1) % VOCABULARY
    with torch.no_grad():
        x_BLD, y_BLD = model(before), model(after)
    assert torch.equal(x_BLD[:, :changed], y_BLD[:, :changed])
    assert not torch.equal(x_BLD[:, changed:], y_BLD[:, changed:])


@every_model
def test_no_token_sees_another_row(model):
    model = build(replace(model, init_scale=1.2), SIZE, VOCABULARY, seed=0)
    with torch.no_grad():
        together, alone = model(tokens()), model(tokens()[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


@every_model
def test_every_parameter_gets_a_gradient(model):
    model = build(replace(model, tied=False), SIZE, VOCABULARY, seed=0)
    model.logits(tokens()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_one_more_layer_changes_nothing_but_the_scale_of_residual_matrices():
    shallow = build(Model(), SIZE, VOCABULARY, seed=5).state_dict()
    deep = build(Model(), Size(width=64, depth=6, heads=4, kv_heads=2, hidden=96), VOCABULARY, seed=5).state_dict()
    assert set(shallow) < set(deep)
    for name, value in shallow.items():
        if name.endswith(("mixer.out.weight", "feed.down.weight")):
            torch.testing.assert_close(deep[name], value * math.sqrt(4 / 6))
        else:
            assert torch.equal(deep[name], value), name


def test_a_wider_feed_forward_leaves_the_mixers_alone():
    narrow = build(Model(), SIZE, VOCABULARY, seed=5).state_dict()
    wide = build(Model(), Size(width=64, depth=4, heads=4, kv_heads=2, hidden=128), VOCABULARY, seed=5).state_dict()
    for name in narrow:
        assert torch.equal(narrow[name], wide[name]) != ("feed." in name and "norm" not in name), name


def test_seeds_and_names_draw_different_numbers():
    a, b = (build(Model(), SIZE, VOCABULARY, seed=seed).state_dict() for seed in (0, 1))
    assert not torch.equal(a["embedding.weight"], b["embedding.weight"])
    assert not torch.equal(a["blocks.0.mixer.qkv.weight"], a["blocks.1.mixer.qkv.weight"])


def test_initial_scales():
    state = build(Model(init_scale=0.05 * math.sqrt(SIZE.width)), SIZE, VOCABULARY, seed=0).state_dict()
    assert state["embedding.weight"].std() == pytest.approx(0.05, rel=0.02)
    assert state["blocks.2.feed.gate_up.weight"].std() == pytest.approx(0.05, rel=0.02)
    assert state["blocks.2.feed.down.weight"].std() == pytest.approx(0.05 / math.sqrt(8), rel=0.03)
    assert torch.equal(state["blocks.2.mixer_norm.weight"], torch.ones(64))


def test_initialisation_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    build(Model(), SIZE, VOCABULARY, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_initialise_skips_meta():
    with torch.device("meta"):
        model = LanguageModel(Model(), SIZE, VOCABULARY)
    assert all(parameter.is_meta for parameter in initialise(model, 0).parameters())


def test_tied_head_is_the_embedding():
    tied, untied = (build(Model(tied=tied), SIZE, VOCABULARY, seed=0) for tied in (True, False))
    assert tied.head_weight is tied.embedding.weight
    assert untied.head_weight is not untied.embedding.weight
    assert untied.head_weight.shape == (VOCABULARY, 64)


@every_model
def test_decay_applies_to_matrices_only(model):
    model = build(replace(model, tied=False), SIZE, VOCABULARY, seed=0)
    decay, rest = decay_groups(model)
    assert sorted(decay + rest) == sorted(name for name, _ in model.named_parameters())
    assert rest == [name for name, _ in model.named_parameters() if "norm" in name]


def test_pattern_is_repeated_over_depth(monkeypatch):
    monkeypatch.setitem(MIXERS, "M", Attention)
    assert letters("MMA", 7) == "MMAMMAM"


def gradients(model, hidden_BLD):
    return torch.autograd.grad(hidden_BLD.square().sum(), tuple(model.parameters()))


@every_model
def test_bf16_autocast_is_close_to_float32(model):
    model = build(model, SIZE, VOCABULARY, seed=0)
    exact = model(tokens())
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(tokens())
    assert (rough - exact).norm() / exact.norm() < 0.02
    assert all(gradient.dtype == torch.float32 for gradient in gradients(model, rough))


@every_model
def test_the_same_step_twice_is_the_same_to_the_bit(model):
    model = build(model, SIZE, VOCABULARY, seed=0)
    for once, again in zip(*(gradients(model, model(tokens())) for _ in range(2)), strict=True):
        assert torch.equal(once, again)


@pytest.mark.slow
@every_model
def test_compiled_is_the_same_model(model):
    """Traced in one piece, forward and backward; a compiler for the result is not needed here."""
    model = build(model, Size(width=32, depth=1, heads=2, kv_heads=1, hidden=32), VOCABULARY, seed=0)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    y_BLD, expected = compiled(tokens()), model(tokens())
    torch.testing.assert_close(y_BLD, expected, atol=1e-4, rtol=1e-4)
    for ours, its in zip(gradients(model, y_BLD), gradients(model, expected), strict=True):
        torch.testing.assert_close(ours, its, atol=1e-2, rtol=1e-3)


def test_normed_queries_and_keys_do_not_feel_their_scale():
    model = build(Model(qk_norm=True, norm_eps=1e-12), SIZE, VOCABULARY, seed=0)
    state, before = model.state_dict(), model(tokens())
    state["blocks.0.mixer.qkv.weight"][: (4 + 2) * 16].mul_(100)
    torch.testing.assert_close(model(tokens()), before, atol=1e-4, rtol=1e-4)
    state["blocks.0.mixer.k_norm.weight"].mul_(5)
    assert (model(tokens()) - before).abs().max() > 1e-3


def test_the_feed_forward_leaves_the_mixers_alone():
    gated, squared = (build(Model(feed=feed), SIZE, VOCABULARY, seed=5).state_dict() for feed in ("swiglu", "relu2"))
    for name in gated.keys() & squared.keys():
        assert torch.equal(gated[name], squared[name]), name
    assert gated.keys() ^ squared.keys() == {
        f"blocks.{i}.feed.{matrix}.weight" for i in range(4) for matrix in ("gate_up", "up")
    }
