"""A whole model made smaller: every architecture, format and method, on disk, and what is computed with it."""

import dataclasses
import json
from itertools import product

import pytest
import torch
from compressible import PAIRS, SIZE, VOCABULARY, model, rows
from safetensors.torch import load_file

from ablate.compress import packed as files
from ablate.compress.forms import Form, Recipe
from ablate.compress.smaller import apply, planned, smaller
from ablate.model.language import build, matrices
from ablate.model.linear import Ternary, ternary
from ablate.model.mixers import MIXERS
from ablate.run.settings import Model, SettingsError, Size

ALL = [(pattern, tied) for pattern in (*sorted(MIXERS), "AM") for tied in (True, False)]


SPARSE = Form("2:4-int4", 16)


def logits(language):
    return language.logits(rows(seed=9))


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name].view(torch.uint8), other[name].view(torch.uint8)) for name in one)


@pytest.mark.parametrize(("to", "method"), PAIRS)
def test_what_is_read_from_disk_computes_to_the_bit_what_was_simulated(to, method, tmp_path):
    """And nothing of it depends on the model that it is read into."""
    for symmetric, (pattern, tied) in product((True, False), [("AM", False), ("L", True)]):
        if symmetric or to.startswith("int"):
            recipe = Recipe(to=to, method=method, group=16, symmetric=symmetric, keep=())
            made = smaller(model(pattern, tied=tied), recipe, rows())
            files.write(made, tmp_path / "packed")
            there = apply(files.read(tmp_path / "packed"), model(pattern, tied=tied, seed=1))
            assert torch.equal(logits(there), logits(apply(made, model(pattern, tied=tied, seed=2))))
            assert made.kept == {}


@pytest.mark.parametrize(("pattern", "tied"), ALL)
@pytest.mark.parametrize("linear", ["dense", "ternary"])
def test_every_matrix_of_every_architecture_is_stored_once(pattern, tied, linear, tmp_path):
    language = model(pattern, linear, tied=tied)
    made = smaller(language, Recipe(to="int8", method="gptq", group=16), rows())
    assert {f"{name}.weight" for name in made.stored} == matrices(language).keys()
    assert made.kept == dict.fromkeys(["embedding"] if tied else ["embedding", "head"], "was asked to stay")
    assert files.unpacked(made).keys() == language.state_dict().keys()
    size = files.write(made, tmp_path / "packed")
    header = int.from_bytes((tmp_path / "packed").read_bytes()[:8], "little")
    assert size == (tmp_path / "packed").stat().st_size == 8 + header + made.bytes
    same(files.read(tmp_path / "packed").tensors, made.tensors)


def test_what_it_computes_is_what_the_methods_left_in_the_model():
    """One by one, as they are read, and not only all together."""
    language = model("AM")
    made = smaller(language, Recipe(to="int4", method="round", group=16))
    layer = language.get_parameter("blocks.1.mixer.in_proj.weight")
    largest = layer.unflatten(1, (-1, 16)).abs().amax(-1)
    lost = (files.unpacked(made)["blocks.1.mixer.in_proj.weight"] - layer).unflatten(1, (-1, 16)).abs().amax(-1)
    assert (lost <= largest / 8 * 1.01).all()
    assert (lost > 0).all()


@pytest.mark.parametrize(
    ("form", "method"),
    [(Form("int8", 16), "gptq"), (Form("int3", 0), "round"), (Form("int4", 16, False), "gptq"), (SPARSE, "sparsegpt")],
)
def test_bytes_are_known_before(form, method):
    made = smaller(model(), Recipe(to=form.to, group=form.group, symmetric=form.symmetric, method=method), rows())
    for name, stored in made.stored.items():
        assert made.bytes_of(name) == stored.form.bytes(*stored.shape)


def test_bits_of_a_weight_have_scales_and_places_in_them():
    def bits(**changes):
        return smaller(model(), Recipe(method="round", group=16, **changes)).bits

    assert bits(to="bf16") == 16
    assert bits(to="int4") == 4 + 16 / 16
    assert bits(to="int4", symmetric=False) == 4 + 20 / 16
    assert bits(to="fp8") == 8 + 16 / 16
    sparse = {to: smaller(model(), Recipe(to=to, method="magnitude", group=16)).bits for to in ("2:4", "2:4-int4")}
    assert sparse == {"2:4": 8 + 1, "2:4-int4": 2 + 1 + 16 / 16}


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_of_2_to_4_exactly_two_of_four_stay_everywhere(method):
    made = smaller(model("AM"), Recipe(to="2:4", method=method), rows())
    for name, weight_OI in files.unpacked(made).items():
        if name.removesuffix(".weight") in made.stored:
            assert ((weight_OI != 0).unflatten(1, (-1, 4)).sum(-1) == 2).all(), name


def test_the_model_that_is_given_stays_and_the_same_gives_the_same_bytes():
    language = model("AM")
    before = {name: value.clone() for name, value in language.state_dict().items()}
    for method in ("gptq", "awq"):
        first, second = (smaller(language, Recipe(method=method, group=16), rows()).tensors for _ in range(2))
        same(first, second)
    same(dict(language.state_dict()), before)


def test_other_calibration_text_gives_other_weights_and_no_other_sizes():
    one, other = (smaller(model(), Recipe(group=16), rows(seed=seed)) for seed in range(2))
    assert one.bytes == other.bytes
    assert not torch.equal(
        one.tensors["blocks.0.feed.down.weight.codes"], other.tensors["blocks.0.feed.down.weight.codes"]
    )


@pytest.mark.parametrize("pattern", ["A", "AM", "L"])
def test_ternary_matrices_lose_nothing_and_packing_them_again_is_exact(pattern):
    language = model(pattern, "ternary")
    made = smaller(language, Recipe(to="int4", method="round"))
    there = apply(made, model(pattern, "ternary", seed=1))
    for name in made.stored:
        before, after = language.get_submodule(name), there.get_submodule(name)
        assert isinstance(before, Ternary)
        assert isinstance(after, Ternary)
        for a, b in zip(ternary(before.weight, before.splits), ternary(after.weight, after.splits), strict=True):
            assert torch.equal(a, b)
    assert 2 < made.bits < 2.2
    same(smaller(there, Recipe(to="int4", method="round")).tensors, made.tensors)


@pytest.mark.parametrize("to", ["int8", "int4", "fp8", "2:4"])
def test_compressing_again_is_exact(to):
    recipe = Recipe(to=to, method="magnitude" if to == "2:4" else "round", group=16)
    made = smaller(model(), recipe)
    same(smaller(apply(made, model()), recipe).tensors, made.tensors)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("to", ["int8", "int4", "int3", "2:4-int4"])
def test_what_gptq_has_left_loses_nothing_again(to, symmetric):
    """Of a group whose largest integer is not the lowest there is, too."""
    language = model("AM")
    plain, best = ("magnitude", "sparsegpt") if to.startswith("2:4") else ("round", "gptq")
    recipe = Recipe(to=to, method=best, group=16, symmetric=symmetric)
    made = apply(smaller(language, recipe, rows()), model("AM"))
    for method in (plain, best):
        again = smaller(made, dataclasses.replace(recipe, method=method), rows(seed=3))
        for name, weight in files.unpacked(again).items():
            assert torch.equal(weight, made.get_parameter(name)), (name, method)


def test_a_tied_embedding_is_one_matrix_counted_once():
    made = smaller(model(), Recipe(to="int8", method="round", group=16, keep=()))
    assert made.bytes_of("embedding") == VOCABULARY * SIZE.width * 9 // 8
    assert "head" not in made.stored
    untied = smaller(model(tied=False), Recipe(to="int8", method="gptq", group=16, keep=()), rows())
    assert {"embedding", "head"} < untied.stored.keys()


def test_what_is_kept_is_named_and_why():
    odd = Size(width=32, depth=2, heads=4, kv_heads=2, hidden=50)
    language = build(Model(), odd, VOCABULARY, seed=0)
    _, kept = planned(language, Recipe(method="round", group=16, keep=("embedding", "blocks.0.mixer.*")))
    assert kept == {
        "embedding": "was asked to stay",
        "blocks.0.mixer.qkv": "was asked to stay",
        "blocks.0.mixer.out": "was asked to stay",
        "blocks.0.feed.down": "stays: its rows of 50 are not whole groups of 16",
        "blocks.1.feed.down": "stays: its rows of 50 are not whole groups of 16",
    }
    sparse, kept = planned(language, Recipe(to="2:4", method="magnitude"))
    assert "blocks.0.feed.down" in kept
    assert "blocks.0.feed.gate_up" in sparse


def test_forms_of_their_own():
    forms = {"blocks.0.feed.down": Form("int8", 0)}
    made = smaller(model(), Recipe(to="int3", group=16, method="gptq", forms=forms), rows())
    assert made.stored["blocks.0.feed.down"].form == Form("int8", 0)
    assert made.stored["blocks.1.feed.down"].form == Form("int3", 16)


REFUSED = {
    "to=int5": (Recipe(to="int5"), "compress.to=int5: must be one of bf16, int8"),
    "method=x": (Recipe(method="x"), "compress.method=x: must be one of round, gptq"),
    "group": (Recipe(group=-1), "compress.group=-1: must be 0, for one scale a row, or more"),
    "dense method": (
        Recipe(to="2:4", method="gptq"),
        "compress.method=gptq: must be one of magnitude, wanda, sparsegpt",
    ),
    "sparse method": (Recipe(to="int4", method="wanda"), "compress.method=wanda: must be one of round, gptq, awq"),
    "zeros": (Recipe(to="fp8", symmetric=False), "compress.symmetric=false: must be true with to=fp8"),
    "keep": (Recipe(keep=("blocks.7.*",)), "compress.keep=blocks.7.*: no such matrix; there are embedding, blocks.0"),
    "nothing": (Recipe(keep=("*",)), "compress.to=int4: nothing to compress; embedding was asked to stay"),
    "no rows": (Recipe(method="awq"), "compress.method=awq: needs calibration rows"),
}


@pytest.mark.parametrize(("recipe", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused(recipe, said):
    with pytest.raises(SettingsError, match=said.replace("*", r"\*").replace(".", r"\.")):
        smaller(model(), recipe)


def test_rows_that_nothing_can_be_learnt_from_are_refused():
    with pytest.raises(SettingsError, match="at least one"):
        smaller(model(), Recipe(group=16), rows()[:0])
    with pytest.raises(SettingsError, match="below the vocabulary of 64"):
        smaller(model(), Recipe(group=16), rows() + 64)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("blocks.0.feed.gate_up.weight", "blocks.0.feed.gate_up: its weights are not finite: the run diverged"),
        ("blocks.0.feed_norm.weight", "blocks.0.feed.gate_up: its inputs on calibration text are not finite"),
    ],
)
def test_what_is_not_finite_is_named(name, said):
    broken = model()
    broken.get_parameter(name)[3] = torch.nan
    with pytest.raises(SettingsError, match=said.replace(".", r"\.")):
        smaller(broken, Recipe(method="awq", group=16), rows())
    with pytest.raises(SettingsError, match="not finite: the run diverged"):
        smaller(broken, Recipe(method="gptq", group=16), rows())


def test_one_row_of_calibration_text_is_enough():
    assert logits(apply(smaller(model(), Recipe(group=16), rows(1, 2)), model())).isfinite().all()


def test_inputs_in_8_bits_cost_something_and_only_where_asked():
    plain, eight = (smaller(model(), Recipe(to=to, method="round", group=16)) for to in ("int4", "int4-fp8"))
    same(plain.tensors, eight.tensors)
    there = apply(eight, model())
    assert not torch.equal(logits(there), logits(apply(plain, model())))
    assert json.loads(json.dumps(eight.stored))["blocks.0.mixer.qkv"][0][0] == "int4-fp8"


def test_layers_see_what_the_smaller_ones_before_them_give():
    language, made = model(), {}
    for forms in ({}, {"blocks.0.mixer.qkv": Form("int2", 0)}):
        recipe = Recipe(to="int4", method="gptq", group=16, forms=forms)
        made[len(forms)] = smaller(language, recipe, rows()).tensors["blocks.0.mixer.out.weight.codes"]
    assert not torch.equal(made[0], made[1])


def test_a_file_holds_tensors_that_anybody_reads(tmp_path):
    made = smaller(model(), Recipe(group=16), rows())
    files.write(made, tmp_path / "packed")
    same(load_file(tmp_path / "packed"), made.tensors)
    assert made.tensors["norm.weight"].dtype == torch.float32
    assert made.tensors["embedding.weight"].dtype == torch.bfloat16
