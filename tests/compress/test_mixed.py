"""The best forms under a budget, against all there are; and damages that are measured one matrix at a time."""

from itertools import product

import pytest
import torch
from compressible import model, rows
from hypothesis import given
from hypothesis import strategies as st

from ablate.compress.forms import Form, Recipe
from ablate.compress.mixed import Cost, best, moved, sensitivities
from ablate.compress.smaller import apply, smaller

FORMS = [Form("int2", 16), Form("int3", 16), Form("int4", 16), Form("int8", 16)]
COSTS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 20)), min_size=1, max_size=4)


@given(st.lists(COSTS, min_size=1, max_size=4), st.integers(0, 30))
def test_the_best_of_all(classes, budget):
    table = {
        f"matrix {number}": {form: Cost(size, damage) for form, (size, damage) in zip(FORMS, costs, strict=False)}
        for number, costs in enumerate(classes)
    }
    fits = [
        way for way in product(*(costs.values() for costs in table.values())) if sum(c.bytes for c in way) <= budget
    ]
    if not fits:
        with pytest.raises(ValueError, match=f"budget={budget}: must be at least"):
            best(table, budget)
        return
    chosen = best(table, budget)
    costs = [table[name][form] for name, form in chosen.items()]
    assert list(chosen) == list(table)
    assert sum(cost.bytes for cost in costs) <= budget
    assert sum(cost.damage for cost in costs) == min(sum(cost.damage for cost in way) for way in fits)


def test_damage_is_of_one_matrix_alone_and_bytes_are_those_of_the_file():
    language, tokens_RT = model("AM"), rows()
    recipe = Recipe(to="int4", method="round", group=16)
    table = sensitivities(language, recipe, FORMS, tokens_RT)
    assert list(table)[:2] == ["blocks.0.mixer.qkv", "blocks.0.mixer.out"]
    before = [language(tokens_RT)]
    for name in ("blocks.0.feed.down", "blocks.1.mixer.in_proj"):
        for form in FORMS:
            made = smaller(language, Recipe(to=form.to, method="round", group=16), tokens_RT)
            assert table[name][form].bytes == made.bytes_of(name)
            there = model("AM")
            there.get_parameter(f"{name}.weight").copy_(apply(made, model("AM")).get_parameter(f"{name}.weight"))
            assert table[name][form].damage == pytest.approx(moved(there, before, tokens_RT), rel=1e-3)
        damages = [table[name][form].damage for form in FORMS]
        assert damages == sorted(damages, reverse=True)
        assert damages[-1] > 0


def test_the_model_that_is_measured_stays():
    language = model()
    before = {name: value.clone() for name, value in language.state_dict().items()}
    sensitivities(language, Recipe(to="int4", group=16), FORMS[:1], rows())
    assert all(torch.equal(value, before[name]) for name, value in language.state_dict().items())


def test_the_feed_forward_that_matters_gets_the_bits():
    """Of a model in which all other matrices that write to the residual stream write next to nothing."""
    language, tokens_RT = model(), rows()
    language.get_parameter("blocks.1.feed.down.weight").mul_(10)
    for name in ("0.mixer.out", "0.feed.down", "1.mixer.out"):
        language.get_parameter(f"blocks.{name}.weight").mul_(0.1)
    recipe = Recipe(to="int3", method="gptq", group=16)
    table = sensitivities(language, recipe, FORMS, tokens_RT)
    budget = sum(costs[FORMS[1]].bytes for costs in table.values())
    chosen = best(table, budget)
    bits = {name: form.format.bits for name, form in chosen.items()}
    assert min(bits["blocks.1.feed.gate_up"], bits["blocks.1.feed.down"]) > 3 > bits["blocks.0.mixer.qkv"]
    mixed = smaller(language, Recipe(to="int3", method="gptq", group=16, forms=chosen), tokens_RT)
    uniform = smaller(language, recipe, tokens_RT)
    assert sum(mixed.bytes_of(name) for name in mixed.stored) <= budget
    before = [language(tokens_RT)]
    assert moved(apply(mixed, model()), before, tokens_RT) < 0.5 * moved(apply(uniform, model()), before, tokens_RT)


def test_inputs_are_rounded_where_the_form_rounds_them():
    language, tokens_RT = model("A"), rows()
    recipe = Recipe(to="int8-fp8", method="round", group=16)
    layer = language.get_submodule("blocks.0.feed.down")
    table = sensitivities(language, recipe, [Form("int8", 16), Form("int8-fp8", 16)], tokens_RT)
    for costs in table.values():
        plain, rounded = costs.values()
        assert rounded.bytes == plain.bytes
        assert rounded.damage > plain.damage > 0
    assert language.get_submodule("blocks.0.feed.down") is layer
