"""ONNX Runtime computes what our network does, at any length, with what it keeps and without."""

import re

import numpy as np
import onnx as protobuf
import pytest
import torch

from ablate.compress.forms import Form, Recipe
from ablate.compress.grid import rounded
from ablate.compress.packed import Packed
from ablate.compress.smaller import apply, smaller
from ablate.interchange import onnx, onnx_graph
from ablate.interchange.contract import Leaving
from ablate.interchange.onnx_network import graph_of
from ablate.model.attention import Attention
from ablate.model.language import LanguageModel, build, matrices
from ablate.model.mixers import MIXERS
from ablate.run.compress import Compress
from ablate.run.settings import Latent, Mamba, Model, Settings, Size

SIZE, VOCABULARY, SPAN = Size(width=64, depth=2, heads=4, kv_heads=2, hidden=96), 160, 40
MAMBA = Mamba(state=12, head_width=16, groups=2, chunk=16)
MODELS = {
    "llama": Model(),
    "qk_norm": Model(qk_norm=True, tied=False),
    "mla": Model(pattern="L", latent=Latent(kv_rank=24, rope_width=8)),
    "mla, latent queries": Model(pattern="L", latent=Latent(kv_rank=24, q_rank=16, rope_width=8)),
    "mamba2": Model(pattern="M", mamba=MAMBA),
    "hybrid": Model(pattern="MA", mamba=Mamba(head_width=32, conv=3, chunk=64)),
    "all": Model(pattern="LM", mamba=MAMBA, feed="relu2"),
}
TERNARY = {
    "bitnet": Model(linear="ternary"),
    "bitnet, hybrid": Model(linear="ternary", pattern="MA", mamba=MAMBA),
}


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def network(model: Model, valued: bool = False) -> LanguageModel:
    return build(model, SIZE, VOCABULARY, seed=3, valued=valued).eval()


def runtime(tmp_path, language: LanguageModel, type: str = "fp32", packed: Packed | None = None) -> onnx.Runtime:
    path = tmp_path / "model.onnx"
    graph_of(language, type, packed).save(path)
    return onnx.Runtime(path)


def exactly(path) -> onnx.Runtime:
    """The same file, with inputs of products in float32."""
    model = protobuf.load(path)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 1
    path.write_bytes(model.SerializeToString())
    return onnx.Runtime(path)


def text(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, VOCABULARY, shape)


def expected(language: LanguageModel, tokens_BL: np.ndarray) -> np.ndarray:
    return language.logits(torch.from_numpy(tokens_BL)).numpy()


def apart(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a - b).max())


@pytest.mark.parametrize("length", [1, SPAN // 2, SPAN, 3 * SPAN + 1])
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_ours_at_any_length(name, length, tmp_path):
    language, tokens_BL = network(MODELS[name]), text(2, length)
    found = runtime(tmp_path, language)
    logits_BLV, _ = found.read(tokens_BL, np.ones_like(tokens_BL), found.nothing(2))
    assert apart(logits_BLV, expected(language, tokens_BL)) < 5e-6
    assert apart(found.logits(tokens_BL[1].tolist()), logits_BLV[1]) < 5e-6


@pytest.mark.parametrize("type", ["fp32", "int8"])
@pytest.mark.parametrize("name", TERNARY)
def test_ternary_logits_are_ours_where_no_rounding_jumps(name, type, tmp_path):
    """An input that lies in the middle between two whole numbers may be rounded to either."""
    language, tokens_1L = network(TERNARY[name]), text(1, SPAN)
    if type == "int8":
        language.embedding.weight.copy_(rounded(language.embedding.weight, Form("int8")).weight())
    runtime(tmp_path, language, type)
    found_LV = exactly(tmp_path / "model.onnx").logits(tokens_1L[0].tolist())
    assert np.median(np.abs(found_LV - expected(language, tokens_1L)[0]).max(-1)) < 5e-6


@pytest.mark.parametrize("name", [*MODELS, *TERNARY])
def test_decoding_with_what_is_kept_is_reading_all_at_once(name, tmp_path):
    language, tokens_BL = network((MODELS | TERNARY)[name]), text(2, SPAN)
    found = runtime(tmp_path, language)
    wanted_BLV, end = found.read(tokens_BL, np.ones_like(tokens_BL), found.nothing(2))
    past, parts, read = found.nothing(2), [], 0
    for length in (17, 1, 1, 5, SPAN - 24):
        new_BL = tokens_BL[:, read : read + length]
        read += length
        logits_BLV, past = found.read(new_BL, np.ones((2, read), np.int64), past)
        parts.append(logits_BLV)
    assert apart(np.concatenate(parts, axis=1), wanted_BLV) < 5e-6
    assert past.keys() == end.keys()
    assert max(apart(past[name], end[name]) for name in past) < 5e-6


@pytest.mark.parametrize("name", MODELS)
def test_rows_are_filled_up_on_the_left(name, tmp_path):
    language, (one, other) = network(MODELS[name]), text(2, SPAN)
    found = runtime(tmp_path, language)
    tokens_BL, counted_BL = np.stack([one, other]), np.ones((2, SPAN), np.int64)
    tokens_BL[0, 13:], tokens_BL[0, :13], counted_BL[0, :13] = one[:-13], 7, 0
    logits_BLV, past = found.read(tokens_BL[:, :-1], counted_BL[:, :-1], found.nothing(2))
    last_B1V, _ = found.read(tokens_BL[:, -1:], counted_BL, past)
    wanted_LV = found.logits(one[:-13].tolist())
    assert apart(logits_BLV[0, 13:], wanted_LV[:-1]) < 5e-6
    assert apart(last_B1V[0], wanted_LV[-1:]) < 5e-6
    assert apart(last_B1V[1], found.logits(other.tolist())[-1:]) < 5e-6


RECIPES = {
    "int4": Recipe(group=32),
    "int8": Recipe(to="int8", group=16),
    "int3": Recipe(to="int3", group=64),
    "a scale a row": Recipe(group=0),
    "zeros": Recipe(symmetric=False, group=16),
    "zeros, 8 bits": Recipe(to="int8", symmetric=False, group=32),
    "awq": Recipe(method="awq", group=32),
    "2:4": Recipe(to="2:4-int4", method="sparsegpt", group=32),
    "embedding too": Recipe(group=16, keep=()),
    "mixed": Recipe(group=32, forms={"blocks.0.feed.down": Form("int8", 32), "blocks.1.feed.down": Form("int2", 32)}),
}


@pytest.mark.parametrize("name", ["llama", "qk_norm", "mla", "hybrid"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_compressed_run_leaves_with_its_own_numbers(recipe, name, tmp_path):
    language, how = network(MODELS[name]), RECIPES[recipe]
    packed = smaller(language, how, text(4, SPAN))
    apply(packed, language)
    bits = {one.form.format.bits for one in packed.stored.values()}
    runtime(tmp_path, language, "int4" if min(bits) <= 4 else "int8", packed)
    tokens_1L = text(1, SPAN)
    assert (
        apart(exactly(tmp_path / "model.onnx").logits(tokens_1L[0].tolist()), expected(language, tokens_1L)[0]) < 5e-6
    )


@pytest.mark.parametrize("type", ["int8", "int4"])
@pytest.mark.parametrize("name", MODELS)
def test_other_weights_are_rounded_to_nearest_in_blocks(name, type, tmp_path):
    """Of 64, or as many fewer as divide a row, which else stays; embedding and head to 8 bits."""
    language, tokens_1L = network(MODELS[name]), text(1, SPAN)
    runtime(tmp_path, language, type)
    for matrix in ("embedding.weight", *matrices(language), *(["head.weight"] if language.head is not None else [])):
        weight_OI = language.get_parameter(matrix)
        columns = [size for size in (64, 32, 16) if weight_OI.shape[1] % size == 0]
        if columns:
            form = Form(type if matrix.startswith("blocks.") else "int8", columns[0])
            weight_OI.copy_(rounded(weight_OI, form).weight())
    assert (
        apart(exactly(tmp_path / "model.onnx").logits(tokens_1L[0].tolist()), expected(language, tokens_1L)[0]) < 5e-6
    )


def test_a_tied_embedding_is_there_once(tmp_path):
    language = network(Model())
    sizes = {}
    for type in ("fp32", "int8", "int4"):
        runtime(tmp_path, language, type)
        sizes[type] = (tmp_path / "model.onnx").stat().st_size
    inside, outside = sum(p.numel() for p in language.blocks.parameters()), language.embedding.weight.numel()
    room = 24_000  # bytes of all nodes
    assert sizes["fp32"] < 4 * (inside + outside) + room
    assert sizes["int8"] < 1.1 * (inside + outside) + room
    assert sizes["int4"] < 0.6 * inside + 1.1 * outside + room


def test_what_a_compressed_run_kept_takes_two_bytes(tmp_path):
    language = network(Model())
    packed = smaller(language, Recipe(group=64, method="round"))
    apply(packed, language)
    runtime(tmp_path, language, "int4", packed)
    assert (tmp_path / "model.onnx").stat().st_size < packed.bytes * 1.1 + 24_000


@pytest.mark.parametrize("type", ["fp32", "int8", "int4"])
def test_the_same_model_is_the_same_bytes(type):
    files = [graph_of(network(MODELS["all"]), type).model().SerializeToString(deterministic=True) for _ in range(2)]
    assert files[0] == files[1]


def test_the_graph_is_whole_and_asks_for_nothing_beyond_the_standard():
    for model in (MODELS | TERNARY).values():
        made = graph_of(network(model)).model()
        protobuf.checker.check_model(made, full_check=True)
        assert [one.domain for one in made.opset_import] == [""]


def test_names_are_those_that_others_look_for():
    made = graph_of(network(Model(pattern="MA", mamba=MAMBA))).model().graph
    assert {one.name for one in made.input} == {
        *("input_ids", "attention_mask", "past_conv.0", "past_ssm.0"),
        *("past_key_values.1.key", "past_key_values.1.value"),
    }
    assert [one.name for one in made.output] == [
        *("present_conv.0", "present_ssm.0", "present.1.key", "present.1.value", "logits"),
    ]


def test_a_model_of_rewards_says_what_a_text_is_worth(tmp_path):
    language, tokens_1L = network(Model(), valued=True), text(1, SPAN)
    assert language.value is not None
    session = runtime(tmp_path, language).session
    nothing = onnx.Runtime(tmp_path / "model.onnx").nothing(1)
    [found_1L1] = session.run(
        ["rewards"], {"input_ids": tokens_1L, "attention_mask": np.ones_like(tokens_1L)} | nothing
    )
    assert apart(found_1L1, language.value(language(torch.from_numpy(tokens_1L))).numpy()) < 5e-6


def test_weights_that_are_too_large_for_one_file_have_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "LARGEST", 10_000)
    language, tokens_1L = network(Model()), text(1, SPAN)
    found = runtime(tmp_path, language)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx_data"]
    assert (tmp_path / "model.onnx").stat().st_size < 100_000
    assert apart(found.logits(tokens_1L[0].tolist()), expected(language, tokens_1L)[0]) < 5e-6


def leaving(tmp_path, language: LanguageModel, packed: Packed | None = None, to: str = "none") -> Leaving:
    settings = Settings(compress=Compress(to=to))
    return Leaving(language, packed, SPAN, 0, tmp_path, settings)


class Halved(Attention):
    def forward(self, x_BLD):
        return 0.5 * super().forward(x_BLD)


def test_a_mixer_of_ones_own_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(MIXERS, "A", Halved)
    said = onnx.misfit(leaving(tmp_path, network(Model())), "fp32")
    assert re.fullmatch(r"blocks\.0\.mixer: Halved of .*test_onnx has no form in ONNX", said)


@pytest.mark.parametrize(
    ("recipe", "type", "said"),
    [
        (Recipe(to="int4-fp8", method="round", group=32), "fp32", "blocks.0.mixer.qkv: RoundedInputs of "),
        (
            Recipe(to="int8", method="round", group=32),
            "int4",
            "--type int4: must be fp32 or int8 with compress.to=int8",
        ),
        (
            Recipe(to="fp8", method="round", group=32),
            "int8",
            "--type int8: must be fp32 with compress.to=fp8, which has no",
        ),
        (Recipe(to="int4", method="round", group=32), "int8", ""),
        (Recipe(to="fp8", method="round", group=32), "fp32", ""),
    ],
)
def test_what_a_compressed_run_is_not_is_named(recipe, type, said, tmp_path):
    language = network(Model())
    packed = smaller(language, recipe)
    apply(packed, language)
    found = onnx.misfit(leaving(tmp_path, language, packed, recipe.to), type)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_ternary_matrices_have_no_four_bits(tmp_path):
    given = leaving(tmp_path, network(TERNARY["bitnet"]))
    assert onnx.misfit(given, "int4") == "--type int4: must be fp32 or int8 with model.linear=ternary"
    assert [onnx.misfit(given, type) for type in ("fp32", "int8")] == ["", ""]
