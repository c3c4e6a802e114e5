"""AWQ has one reason to exist: channels whose inputs are far larger than all others."""

import pytest
import torch
from compressible import error, given, gram, model, random, rows

from ablate.compress import awq
from ablate.compress.forms import Form, Recipe
from ablate.compress.grid import rounded
from ablate.compress.smaller import apply, smaller


def planted(inputs=64, columns=(3, 40), size=30.0):
    large_I = torch.ones(inputs, dtype=torch.float64)
    large_I[list(columns)] = size
    return gram(inputs) * large_I * large_I[:, None]


@pytest.mark.parametrize("form", [Form("int4", 16), Form("int3", 16), Form("int4", 16, symmetric=False)], ids=str)
def test_where_outlier_channels_are_planted_it_beats_rounding(form):
    for seed in range(3):
        weight_OI, gram_II = random(32, 64, seed=seed), planted()
        plain = error(rounded(weight_OI, form).weight(), weight_OI, gram_II)
        assert error(awq.scaled(weight_OI, gram_II, form).weight(), weight_OI, gram_II) < 0.5 * plain


def test_it_is_never_worse_than_rounding_on_what_it_has_seen():
    """The first alpha is 0, and a group is cut off only where that helps it."""
    for seed in range(5):
        weight_OI, gram_II = random(16, 64, seed=seed), torch.diag(random(64, seed=seed).square()).double()
        plain = error(rounded(weight_OI, Form("int4", 16)).weight(), weight_OI, gram_II)
        assert error(awq.scaled(weight_OI, gram_II, Form("int4", 16)).weight(), weight_OI, gram_II) <= plain


def test_inputs_that_are_all_alike_need_no_factors():
    matrix = awq.scaled(random(8, 64), torch.eye(64).double(), Form("int4", 16))
    assert torch.equal(given(matrix.factor_I), torch.ones(64))


def test_dead_inputs_do_no_harm():
    gram_II = gram()
    gram_II[7], gram_II[:, 7] = 0, 0
    for dead_II in (gram_II, torch.zeros_like(gram_II)):
        assert awq.scaled(random(8, 64), dead_II, Form("int4", 16)).weight().isfinite().all()


def test_in_a_model_with_outlier_channels_it_beats_rounding():
    """The norm before the feed-forward makes two channels large, and the matrix behind it makes up for that."""
    language, tokens_RT = model(), rows(20)
    for block in ("blocks.0", "blocks.1"):
        language.get_parameter(f"{block}.feed_norm.weight")[:2] *= 50
        language.get_parameter(f"{block}.feed.gate_up.weight").mul_(20)[:, :2] /= 50
        language.get_parameter(f"{block}.feed.down.weight").mul_(20)
    lost = {}
    for method in ("round", "awq"):
        there = apply(smaller(language, Recipe(to="int4", method=method, group=16), tokens_RT), model())
        lost[method] = (there(rows(seed=5)) - language(rows(seed=5))).square().mean()
    assert lost["awq"] < 0.8 * lost["round"]
