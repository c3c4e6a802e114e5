"""What errors of outputs cost, against the divergence of predictions that they make."""

import pytest
import torch
from compressible import model, rows

from ablate.compress.outputs import costs
from ablate.model.language import matrices


def all_of(language):
    return {name.removesuffix(".weight") for name in matrices(language)}


@pytest.mark.parametrize("name", ["blocks.1.feed.down", "blocks.1.mixer.out"])
def test_small_errors_cost_what_they_move_the_predictions(name):
    """e G e^T / 2, of an error that is the same at every token: what the last layers do at one token stays there."""
    language, tokens_RT = model(), rows(200)
    gram_OO = costs(language, {name}, tokens_RT.split(8))[name].gram_OO / tokens_RT.numel()
    layer = language.get_submodule(name)
    for seed in range(3):
        error_O = 0.02 * torch.randn(len(gram_OO), generator=torch.Generator().manual_seed(seed))
        handle = layer.register_forward_hook(lambda layer, x, y, e=error_O: y + e)
        after = language.logits(tokens_RT).double().log_softmax(-1)
        handle.remove()
        before = language.logits(tokens_RT).double().log_softmax(-1)
        there = float((before.exp() * (before - after)).sum(-1).mean())
        assert float(error_O @ gram_OO @ error_O) / 2 == pytest.approx(there, rel=0.25)


@pytest.mark.parametrize("pattern", ["AM", "L"])
def test_every_layer_of_the_blocks_has_one_and_tokens_count_as_one_on_average(pattern):
    language, tokens_RT = model(pattern, tied=False), rows(20)
    found = costs(language, all_of(language) | {"embedding", "head"}, tokens_RT.split(8))
    assert found.keys() == all_of(language)
    for name, cost in found.items():
        assert cost.gram_OO.shape == (len(language.get_parameter(f"{name}.weight")),) * 2
        assert torch.cat(cost.tokens).mean() == pytest.approx(1, abs=1e-5)
        assert [len(part) for part in cost.tokens] == [8 * 24, 8 * 24, 4 * 24]


def test_ternary_layers_and_none_cost_nothing_to_look_at():
    assert costs(model("A", "ternary"), all_of(model("A", "ternary")), rows().split(8)) == {}


def test_the_same_again_whatever_was_drawn_before():
    language = model()
    first = costs(language, {"blocks.0.feed.down"}, rows().split(8))
    torch.rand(7)
    again = costs(language.requires_grad_(), {"blocks.0.feed.down"}, rows().split(8))
    assert torch.equal(first["blocks.0.feed.down"].gram_OO, again["blocks.0.feed.down"].gram_OO)
    assert all(parameter.grad is None for parameter in language.parameters())
