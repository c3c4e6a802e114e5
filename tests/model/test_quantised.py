"""Weights that are rounded while they are trained: what they compute with, gradients, and that nothing is lost."""

import copy
from typing import Any

import pytest
import torch

from ablate.compress import packed
from ablate.compress.forms import FORMATS, Recipe
from ablate.compress.smaller import apply, planned, smaller
from ablate.model.budget import of
from ablate.model.language import build, settled
from ablate.model.linear import QUANTISED, Quantised, rounded_once
from ablate.run.parse import from_plain
from ablate.run.settings import Mamba, Model, SettingsError, Size

SIZE = Size(width=96, depth=2, heads=2, kv_heads=1, hidden=160)
MAMBA = Mamba(state=8, head_width=16, chunk=8)
TOKENS = torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(0))


def model(to: Any, pattern: str = "A"):
    return build(Model(pattern=pattern, linear=to, mamba=MAMBA), SIZE, 50, seed=1)


def recipe(to: str) -> Recipe:
    return Recipe(to=to, method="magnitude" if QUANTISED[to].sparse else "round")


@pytest.mark.parametrize("to", QUANTISED)
def test_numbers_are_those_of_compress(to):
    format = FORMATS[to]
    assert (format.numbers, format.bits, format.sparse) == QUANTISED[to]


def test_by_hand():
    layer = Quantised("int4", 8, 1)
    layer.weight.data = torch.tensor([[-8.0, 7.6, 0.4, 0.6, 3.3, -3.5, 0.0, 1.0]])
    assert layer.rounded().tolist() == [[-8, 7, 0, 1, 3, -4, 0, 1]]  # 7.6 is cut off: 8 is not there
    layer = Quantised("2:4-int4", 8, 1)
    layer.weight.data = torch.tensor([[4.0, 1.0, -8.0, 2.0, 0.0, 3.0, 1.0, -2.0]])
    assert layer.rounded().tolist() == [[4, 0, -8, 0, 0, 3, 0, -2]]


@pytest.mark.parametrize(("inputs", "group"), [(128, 64), (96, 32), (64, 64), (40, 8), (36, 36)])
def test_groups_are_of_a_power_of_two_that_divides_the_row(inputs, group):
    assert Quantised("int4", inputs, 4).group == group


def test_the_optimizer_sees_the_weights_behind():
    layer = Quantised("int3", 64, 4)
    layer(torch.ones(1, 64)).sum().backward()
    assert layer.weight.grad is not None
    assert torch.equal(layer.weight.grad, torch.ones(4, 64))
    sparse = Quantised("2:4", 64, 4)
    sparse(torch.ones(1, 64)).sum().backward()
    assert sparse.weight.grad is not None
    assert torch.equal(sparse.weight.grad != 0, sparse.rounded() != 0)
    assert (sparse.weight.grad.unflatten(1, (-1, 4)) != 0).sum(-1).eq(2).all()


@pytest.mark.parametrize("pattern", ["A", "L", "M"])
@pytest.mark.parametrize("to", ["int8", "int4", "int2", "fp8", "2:4", "2:4-int4"])
def test_made_smaller_in_its_own_form_it_loses_nothing(to, pattern):
    language = model(to, pattern)
    for parameter in language.parameters():  # what stays is stored in bfloat16
        if parameter.ndim > 1:
            parameter.data = parameter.bfloat16().float()
    found = smaller(language, recipe(to))
    again = apply(found, copy.deepcopy(language))
    assert torch.equal(again.logits(TOKENS), language.logits(TOKENS))
    layers = {name: layer for name, layer in language.named_modules() if isinstance(layer, Quantised)}
    assert set(found.stored) == set(layers)
    for name, layer in layers.items():
        assert torch.equal(packed.weight(packed.parts_of(found, name), found.stored[name]), layer.rounded())
    assert torch.equal(settled(copy.deepcopy(language)).logits(TOKENS), language.logits(TOKENS))


def test_once_more_is_the_same_once_more():
    language = model("int4")
    first = smaller(language, recipe("int4"))
    second = smaller(apply(first, copy.deepcopy(language)), recipe("int4"))
    assert all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (Recipe(to="int3", method="round"), "compress.to=int3: must be int4 or int4-fp8 with model.linear=int4"),
        (Recipe(to="int4", method="gptq"), "compress.method=gptq: must be round with model.linear=int4"),
        (Recipe(to="int4", method="round", symmetric=False), "compress.symmetric=false: must be true with"),
    ],
)
def test_another_form_than_it_was_trained_in_is_refused(asked, line):
    with pytest.raises(SettingsError) as error:
        planned(model("int4"), asked)
    assert str(error.value).startswith(line)


def test_costs_are_those_of_a_dense_model():
    dense, rounded = (of(from_plain({"model": {"linear": linear}})) for linear in ("dense", "int4"))
    assert (rounded.parameters, rounded.training_flops) == (dense.parameters, dense.training_flops)


def test_weights_begin_as_those_of_a_dense_model():
    dense, rounded = model("dense").state_dict(), model("int4").state_dict()
    assert dense.keys() == rounded.keys()
    assert all(torch.equal(tensor, rounded[name]) for name, tensor in dense.items())


def test_while_text_is_written_weights_are_rounded_once():
    layer, memory = Quantised("int4", 64, 4), {}
    with torch.no_grad(), rounded_once(memory):
        assert layer.rounded() is layer.rounded()
