"""Ready by the lists of vLLM, or not by name of the setting that is in the way."""

import pytest
from interchange.leaving import GROUPS, compressed, whole

from ablate.compress.forms import Recipe
from ablate.interchange import vllm

WIDE = {"depth": 2, "width": 128, "heads": 4, "kv_heads": 2, "hidden": 128}  # heads of 32, and whole tiles
LATENT = {"pattern": "L", "latent": {"kv_rank": 512, "rope_width": 64}}
INT4 = {"to": "int4", "method": "round", "group": 64}
READY = {
    "llama": ({}, WIDE, None, "hf"),
    "latent attention": (LATENT, WIDE, None, "hf"),
    "hybrid": (GROUPS["hybrid"], WIDE | {"depth": 4}, None, "hf"),
    "int4": ({}, WIDE, INT4, "compressed-tensors"),
    "int4, a scale a row": ({}, WIDE, INT4 | {"group": 0}, "compressed-tensors"),
    "fp8": ({}, WIDE, {"to": "fp8-fp8", "method": "round", "group": 0}, "compressed-tensors"),
    "int4, fp8 inputs": ({}, WIDE, INT4 | {"to": "int4-fp8", "group": 128}, "compressed-tensors"),
    "2:4, as zeros": ({}, WIDE, {"to": "2:4", "method": "magnitude"}, "hf"),
    "three bits, as float32": ({}, WIDE, INT4 | {"to": "int3"}, "hf"),
}
NOT_READY = {
    "narrow heads": ({}, WIDE | {"heads": 8}, None, "size.heads=8: heads are 16 wide"),
    "narrow latent": (GROUPS["mla"], WIDE, None, "model.latent: kv_rank + rope_width is 32, and must be 320 or 576"),
    "states alone": (GROUPS["hybrid"], WIDE | {"depth": 3}, None, "model.pattern=MMMA: a hybrid there has a layer of"),
    "ternary": (GROUPS["bitnet"], WIDE, None, "model.linear=ternary: bitnet is not among the architectures"),
    "squared relu": ({"feed": "relu2"}, WIDE, None, "model.feed=relu2: must be swiglu"),
    "small groups": ({}, WIDE, INT4 | {"group": 16}, "blocks.0.mixer.qkv: groups of 16; they must be of 32, 64, 128"),
    "fp8 in groups": ({}, WIDE, INT4 | {"to": "fp8"}, "blocks.0.mixer.qkv: fp8 in groups of 64; it must have a scale"),
    "int8, fp8 inputs": ({}, WIDE, INT4 | {"to": "int8-fp8"}, "blocks.0.mixer.qkv: int8-fp8 must be int4-fp8"),
    "no whole tiles": ({}, WIDE | {"hidden": 96}, INT4 | {"group": 32}, "blocks.0.feed.down: is 128 x 96, and must be"),
}


def leaving(tiny, model, size, asked):
    settings = tiny(model=model, size=size)
    return compressed(settings, Recipe(**asked)) if asked else whole(settings)


@pytest.mark.parametrize("name", READY)
def test_what_the_lists_have_is_ready(tiny, name):
    *model, form = READY[name]
    found = leaving(tiny, *model)
    assert vllm.why_not(found) == ""
    assert vllm.form_of(found) == form


@pytest.mark.parametrize("name", NOT_READY)
def test_what_they_have_not_is_named(tiny, name):
    *model, line = NOT_READY[name]
    assert vllm.why_not(leaving(tiny, *model)).startswith(line)
