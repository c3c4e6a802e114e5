"""What a layer is fitted to: its own inputs as they are by then, and what the model as it was gives there."""

import pytest
import torch
from compressible import given, model, random, rows

from ablate.compress.inputs import layers
from ablate.model.language import matrices


def all_of(language):
    return {name.removesuffix(".weight") for name in matrices(language)}


@pytest.mark.parametrize("pattern", ["AM", "L"])
def test_in_a_model_that_is_as_it_was_nothing_else_is_wanted(pattern):
    language = model(pattern)
    found = list(layers(language, all_of(language), rows(), language))
    assert {seen.name for seen in found} == all_of(language)
    for seen in found:
        assert torch.equal(given(seen.wanted_OI), seen.weight_OI)


def test_second_moments_by_hand():
    language, tokens_RT = model(), rows(20)  # more rows than go through at once
    seen = next(seen for seen in layers(language, all_of(language), tokens_RT, language) if seen.name.endswith("qkv"))
    x_NI = language.get_submodule("blocks.0.mixer_norm")(language.embedding(tokens_RT)).flatten(0, 1).double()
    torch.testing.assert_close(seen.gram_II, x_NI.T @ x_NI / len(x_NI), rtol=1e-5, atol=1e-7)


def test_weights_make_up_for_what_was_lost_before():
    """By least squares: with them the residual stream is nearer to what it was than with the weights as they are."""
    language, whole, tokens_RT = model(), model(), rows(30)
    value = language.get_parameter("blocks.0.mixer.qkv.weight")
    value += 0.3 * value.std() * random(*value.shape)
    wanted = {seen.name: given(seen.wanted_OI) for seen in layers(language, all_of(language), tokens_RT, whole)}

    def lost():
        x_BTD = whole.embedding(tokens_RT)  # which both have
        return float((language.blocks[0](x_BTD) - whole.blocks[0](x_BTD)).square().mean())

    before = lost()
    for name in ("blocks.0.mixer.out", "blocks.0.feed.gate_up", "blocks.0.feed.down"):
        language.get_parameter(f"{name}.weight").copy_(wanted[name])
    assert lost() < 0.9 * before


def test_layers_come_in_the_order_of_a_forward_pass():
    language = model("L")
    names = [seen.name.removeprefix("blocks.0.mixer.") for seen in layers(language, all_of(language), rows(), language)]
    assert names.index("kv_down") < names.index("kv_up") < names.index("out") < names.index("blocks.0.feed.down")
