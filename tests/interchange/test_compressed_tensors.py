"""Compressed runs as vLLM and transformers read them: the same logits, or a line that names what has no form."""

import json
import math
from typing import Any

import pytest
import torch
from interchange.leaving import GROUPS, SIZE, compressed, whole
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from ablate.compress.forms import Form, Recipe
from ablate.compress.packed import FACTORS
from ablate.interchange import checked
from ablate.interchange.compressed_tensors import FORM, stored
from ablate.model.convert import from_folder

INT4: dict[str, Any] = {"to": "int4", "method": "gptq", "group": 16}
AWQ: dict[str, Any] = {"to": "int4", "method": "awq", "group": 16}
KEEP = ("embedding", "head")
MANY = {"kv_heads": 4}  # as many as heads
MIXED = {"blocks.0.mixer.qkv": Form("int8", 16), "blocks.1.feed.down": Form("int8", 0)}
# What is asked of a model of a group, and changes of its size
LEAVES: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "int8": ("llama", {"to": "int8", "method": "round", "group": 16}, {}),
    "int4": ("llama, normed queries and keys, untied", INT4, {}),
    "int4, a scale a row": ("llama", {"to": "int4", "method": "round", "group": 0}, {}),
    "int4 with zeros": ("llama", INT4 | {"symmetric": False}, {}),
    "fp8": ("llama", {"to": "fp8", "method": "round", "group": 16}, {}),
    "fp8, a scale a row": ("llama", {"to": "fp8", "method": "round", "group": 0}, {}),
    "fp8 inputs": ("llama", {"to": "fp8-fp8", "method": "round", "group": 0}, {}),
    "int4, fp8 inputs": ("llama", INT4 | {"to": "int4-fp8"}, {}),
    "2:4 and int4": ("llama", INT4 | {"to": "2:4-int4", "method": "sparsegpt"}, {}),
    "latent attention": ("mla", INT4 | {"group": 4}, {}),
    "mamba": ("mamba2", INT4, {}),
    "several forms": ("llama", INT4 | {"forms": MIXED}, {}),
    "a block that stays": ("llama", INT4 | {"keep": (*KEEP, "blocks.0.*")}, {}),
    "awq": ("llama", AWQ | {"symmetric": False}, MANY),
    "awq but where values are shared": ("llama", AWQ | {"keep": (*KEEP, "*.mixer.out")}, {}),
    "awq of a hybrid": ("hybrid", AWQ, MANY | {"depth": 4}),
}


@pytest.mark.parametrize("name", LEAVES)
def test_what_is_read_again_computes_the_same(tiny, tmp_path, name):
    group, asked, size = LEAVES[name]
    leaving = compressed(tiny(model=GROUPS[group], size=SIZE | size), Recipe(**asked))
    assert FORM.misfit(leaving, "") == ""
    FORM.write(leaving, "", tmp_path)
    found = checked.check(leaving, FORM, "", tmp_path)
    assert set(found["greatest"]) == {"1", "32", "64"}
    assert found["same_likeliest"] == found["places"]
    # Rounded inputs jump (`contract.Leaving.jumps`): there the loss alone is asked for
    assert (found["of"], found["allowed"]) == (("loss", 1e-3) if leaving.jumps else ("logits", 1e-5))
    if asked["method"] == "awq":
        assert any(name.endswith(FACTORS) for name in leaving.packed.tensors)  # pyrefly: ignore


def test_scales_may_be_negative_and_take_no_more_room_than_ours(tiny, tmp_path):
    leaving = compressed(tiny(size=SIZE), Recipe(**INT4))
    FORM.write(leaving, "", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    scales = [tensor for name, tensor in weights.items() if name.endswith("weight_scale")]
    assert len(scales) == 2 * 7
    assert all((scale < 0).any() for scale in scales)
    assert leaving.packed
    codes = sum(tensor.nbytes for name, tensor in weights.items() if name.endswith(("packed", "scale")))
    assert codes == sum(leaving.packed.bytes_of(name) for name in leaving.packed.stored)


def test_eight_numbers_of_four_bits_are_one_of_thirty_two():
    number_OI = torch.tensor([[-8, -7, 0, 7, 1, -1, 2, 3]])
    parts = stored(Form("int4", 8), number_OI, torch.tensor([[0.5]]), torch.zeros(1, 1))
    expected = sum((number + 8) << (4 * place) for place, number in enumerate(number_OI[0].tolist()))
    assert parts["weight_packed"].tolist() == [[expected - 2**32 if expected >= 2**31 else expected]]
    assert parts["weight_shape"].tolist() == [1, 8]


REFUSED: dict[str, tuple[str, Any, dict[str, int], str]] = {
    "not compressed": ("llama", None, {}, "compress.to=none: must be a run with compress for --to compressed-tensors"),
    "three bits": ("llama", INT4 | {"to": "int3"}, {}, "blocks.0.mixer.qkv: int3 has no form"),
    "one matrix of two bits": (
        "llama",
        INT4 | {"forms": {"blocks.1.feed.down": Form("int2", 16)}},
        {},
        "blocks.1.feed.down: int2 has no form",
    ),
    "2:4 alone": ("llama", {"to": "2:4", "method": "magnitude"}, {}, "compress.to=2:4: blocks.0.mixer.qkv stays bfl"),
    "the embedding": ("llama", INT4 | {"keep": ()}, {}, "embedding: must stay (compress.keep)"),
    "ternary": ("bitnet", INT4, {}, "model.linear=ternary: must be dense"),
    "shared values": (
        "llama",
        AWQ,
        {},
        "blocks.0.mixer.out: has nothing before it to take AWQ's factors",
    ),
    "latent awq": ("mla", AWQ | {"group": 4}, {}, "blocks.0.mixer.q_down: has nothing before it"),
    "rounded, then divided": (
        "llama",
        AWQ | {"to": "int4-fp8"},
        MANY,
        "blocks.0.mixer.qkv: compress.method=awq",
    ),
    "one matrix torn": (
        "mla",
        INT4 | {"group": 4, "keep": (*KEEP, "*.k_rope")},
        {},
        "blocks.0.mixer.kv_down and blocks.0.mixer.k_rope: are one matrix there",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_named(tiny, name):
    group, asked, size, line = REFUSED[name]
    settings = tiny(model=GROUPS[group], size=SIZE | size)
    leaving = compressed(settings, Recipe(**asked)) if asked else whole(settings)
    assert FORM.misfit(leaving, "").startswith(line)


def test_few_bits_are_no_start(tiny, tmp_path):
    FORM.write(compressed(tiny(size=SIZE), Recipe(**INT4)), "", tmp_path)
    with pytest.raises(ValueError, match=r"^quantization_config=compressed-tensors: weights in few bits are no"):
        from_folder(tmp_path)


def test_what_others_read_first_says_what_it_is(tiny, tmp_path):
    leaving = compressed(tiny(size=SIZE), Recipe(**INT4 | {"keep": (*KEEP, "*.down")}))
    FORM.write(leaving, "", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    asked = config["quantization_config"]
    assert (asked["quant_method"], asked["format"]) == ("compressed-tensors", "pack-quantized")
    assert asked["ignore"] == ["lm_head", "model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"]
    assert asked["config_groups"]["group_0"]["targets"] == ["Linear"]
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert theirs.generation_config.pad_token_id == theirs.generation_config.eos_token_id == leaving.end
    assert math.isfinite(float(theirs(torch.tensor([[1, 2, 3]])).logits.sum()))
