"""Files that llama.cpp loads, and the same log p: every group of models at every depth, or a reason by name."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ablate.compress.forms import Form, Recipe
from ablate.compress.packed import unpacked
from ablate.compress.smaller import smaller
from ablate.corpus import chat
from ablate.data import tokenizer
from ablate.interchange import checked
from ablate.interchange.contract import Leaving
from ablate.interchange.gguf import form, shapes, words
from ablate.interchange.gguf.layers import Rows
from ablate.interchange.texts import texts
from ablate.model.attention import Attention
from ablate.model.language import build
from ablate.model.mixers import MIXERS
from ablate.run.files import sums
from ablate.run.settings import Latent, Mamba, Model, Settings, Size

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

VOCABULARY = 320
SIZE = Size(width=64, depth=2, heads=4, kv_heads=2, hidden=96)
MODELS = {
    "llama": Model(),
    "untied": Model(tied=False, norm_eps=1e-4, rope_theta=700.0),
    "relu2": Model(feed="relu2"),
    "qwen3": Model(qk_norm=True),
    "mla": Model(pattern="L", latent=Latent(kv_rank=21, rope_width=6)),
    "mla, latent queries": Model(pattern="L", latent=Latent(kv_rank=32, q_rank=14, rope_width=10), norm_eps=1e-4),
    "mamba2": Model(pattern="M", mamba=Mamba(state=12, head_width=16, groups=2, conv=3)),
    "hybrid": Model(pattern="MMMA", mamba=Mamba(head_width=16)),
    "hybrid, every second": Model(pattern="AM"),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A folder with a tokenizer as training makes it."""
    folder = tmp_path_factory.mktemp("corpus")
    found = tokenizer.train(texts(100), VOCABULARY - 8)  # a few tokens of the model stand for nothing
    (folder / "tokenizer.json").write_text(found.to_str(), encoding="utf-8")
    return folder


@pytest.fixture
def leaving(corpus):
    """leaving(model, size, packed): untrained, but no norm is one and no matrix small: what is reordered shows."""

    def make(model: Model, size: Size = SIZE, recipe: Recipe | None = None, seed: int = 1) -> Leaving:
        language = build(model, size, VOCABULARY, seed).eval().requires_grad_(False)
        for number, parameter in enumerate(language.parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
            parameter += (0.3 if parameter.ndim < 2 else 0.02) * noise
        packed = None if recipe is None else smaller(language, recipe, _rows())
        if packed is not None:
            language.load_state_dict(unpacked(packed))
        settings = dataclasses.replace(Settings(), model=model)
        return Leaving(language, packed, 32, 0, corpus, settings)

    return make


def _rows(count: int = 4) -> torch.Tensor:
    return torch.randint(VOCABULARY - 8, (count, 24), generator=torch.Generator().manual_seed(2))


def differences(leaving: Leaving, type: str, folder: Path, of: str = "log p") -> float:
    folder.mkdir(exist_ok=True)
    form.FORM.write(leaving, type, folder)
    [tokens_T] = _rows(1).tolist()
    ours_TV = leaving.language.logits(torch.tensor([tokens_T]))[0].numpy()
    return checked.difference(of, ours_TV, form.FORM.reader(folder).logits(tokens_T), tokens_T)


def tensors(folder: Path) -> dict[str, tuple[str, np.ndarray]]:
    """Type and float32 numbers of every tensor of the file."""
    from gguf import GGUFReader, quants

    found = GGUFReader(folder / form.NAME).tensors
    return {one.name: (one.tensor_type.name, quants.dequantize(one.data, one.tensor_type)) for one in found}


@pytest.mark.parametrize("depth", [2, 4, 7])
@pytest.mark.parametrize("group", MODELS)
def test_llama_cpp_computes_the_same_at_every_depth(leaving, tmp_path, group, depth):
    given = leaving(MODELS[group], dataclasses.replace(SIZE, depth=depth))
    assert form.FORM.misfit(given, "f32") == ""
    assert differences(given, "f32", tmp_path) < 2e-5


def test_a_layer_of_zeros_is_told(leaving):
    assert form.FORM.note(leaving(MODELS["mamba2"]), "f32").startswith("it has one layer more, of zeros")
    assert form.FORM.note(leaving(MODELS["hybrid, every second"]), "f32") == ""


@pytest.mark.parametrize("group", ["llama", "mla", "hybrid"])
def test_sixteen_bits_are_within_five_thousandths_of_a_nat(leaving, tmp_path, group):
    assert differences(leaving(MODELS[group]), "f16", tmp_path, "loss") < form.CLOSE
    assert {kind for kind, numbers in tensors(tmp_path).values() if numbers.ndim > 1} <= {"F16", "F32"}


@pytest.mark.parametrize("depth", [2, 4, 7])
def test_ternary_weights_are_the_same_numbers_in_every_type(leaving, tmp_path, depth):
    """With blocks of 256 llama.cpp rounds inputs as we do, where rows are one block and float16 can hold the embedding.
    With the other types it rounds them otherwise, or not at all."""
    given = leaving(Model(linear="ternary"), Size(width=256, depth=depth, heads=4, kv_heads=2, hidden=256))
    given.language.embedding.weight.copy_(given.language.embedding.weight.half().float())
    assert differences(given, "tq2_0", tmp_path / "tq2_0", "divergence") < 5e-5
    found = tensors(tmp_path / "tq2_0")
    for type in ("f32", "f16", "q8_0", "q4_0"):
        assert differences(given, type, tmp_path / type, "divergence") < form.CLOSE
        for name, (_, numbers) in tensors(tmp_path / type).items():
            if name.startswith("blk."):
                np.testing.assert_array_equal(numbers, found[name][1], err_msg=f"{type} {name}")
    assert {kind for name, (kind, numbers) in found.items() if "blk" in name and numbers.ndim > 1} == {"TQ2_0"}


RECIPES = {  # and what its matrices are with --type q4_0
    "int4": (Recipe(to="int4", group=32), {"Q4_0"}),
    "int4, two blocks a group": (Recipe(to="int4", group=64), {"Q4_0"}),
    "int3": (Recipe(to="int3", group=32), {"Q4_0"}),
    "int8": (Recipe(to="int8", group=32), {"Q8_0"}),
    "with zeros": (Recipe(to="int4", group=32, symmetric=False), {"Q8_0"}),
    "2:4": (Recipe(to="2:4-int4", method="magnitude", group=32), {"Q4_0"}),
    "two widths": (Recipe(to="int4", group=32, forms={"blocks.0.feed.down": Form("int8", 32)}), {"Q4_0", "Q8_0"}),
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("group", ["qwen3", "mamba2"])
def test_compressed_weights_are_not_rounded_again(leaving, tmp_path, group, name):
    recipe, kinds = RECIPES[name]
    given = leaving(MODELS[group], recipe=recipe)
    form.FORM.write(given, "q4_0", tmp_path)
    found, seen = tensors(tmp_path), set()
    for tensor, taken in shapes.layout(given.language).items():
        kind, theirs = found[tensor]
        if isinstance(taken, Rows) and taken.name in given.packed.stored:
            ours = given.language.get_parameter(f"{taken.name}.weight").numpy()
            ours = ours if taken.order is None else ours[taken.order]
            rounded = kind == "F16"
            np.testing.assert_allclose(theirs, ours, rounded * 2**-11, rounded * 2**-25, err_msg=tensor)
            seen.add(kind)
    assert seen == kinds


def test_reading_compressed_weights_llama_cpp_computes_what_was_scored(leaving, tmp_path):
    given = leaving(MODELS["llama"], recipe=Recipe(to="int8", group=32))
    assert differences(given, "q8_0", tmp_path, "divergence") < form.CLOSE
    assert form.FORM.tolerance(given, "q8_0").most == form.CLOSE


def test_numbers_that_are_rounded_here_are_told_and_not_refused(leaving, tmp_path):
    given = leaving(MODELS["llama"])
    coarse, fine = (differences(given, type, tmp_path / type, "divergence") for type in ("q4_0", "q8_0"))
    assert coarse > 10 * fine > 0
    assert form.FORM.tolerance(given, "q4_0").most == np.inf


REFUSED = {
    "objective=reward": (Model(), SIZE, "f32"),
    "model.pattern='AL'": (Model(pattern="AL"), SIZE, "f32"),
    "model.pattern='LM'": (Model(pattern="LM"), SIZE, "f32"),
    "model.qk_norm=true: llama.cpp has it only without M": (Model(pattern="MA", qk_norm=True), SIZE, "f32"),
    "model.mamba.expand=4: must be 2": (Model(pattern="M", mamba=Mamba(expand=4)), SIZE, "f32"),
    "model.feed=relu2": (Model(pattern="L", feed="relu2"), SIZE, "f32"),
    "model.linear=ternary: llama.cpp has it only": (Model(pattern="M", linear="ternary"), SIZE, "f32"),
    "model.tied=false": (Model(linear="ternary", tied=False), SIZE, "f32"),
    "model.norm_eps=0.0001": (Model(linear="ternary", norm_eps=1e-4), SIZE, "f32"),
    "size.depth=26": (MODELS["mla, latent queries"], dataclasses.replace(SIZE, depth=26), "f32"),
    "model.linear=dense: --type tq2_0": (Model(), SIZE, "tq2_0"),
    "size.width=64: must be a multiple of 256": (Model(linear="ternary"), SIZE, "tq2_0"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_llama_cpp_lacks_is_refused_by_name(leaving, why):
    model, size, type = REFUSED[why]
    given = leaving(model, size)
    if "reward" in why:
        given.language.value = nn.Linear(64, 1)
    assert form.FORM.misfit(given, type).startswith(why)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (Recipe(to="fp8", group=32), "compress.to=int4, which has no whole numbers"),
        (Recipe(to="2:4", method="magnitude"), "compress.to=int4, which has no whole numbers"),
        (Recipe(to="int4", method="awq", group=32), "compress.to=int4 and its factors of inputs"),
    ],
    ids=["fp8", "2:4", "awq"],
)
def test_a_type_that_no_compressed_weight_has_is_refused(leaving, recipe, said):
    given = leaving(Model(), recipe=recipe)
    compress = dataclasses.replace(given.settings.compress, to="int4")
    given = given._replace(settings=dataclasses.replace(given.settings, compress=compress))
    assert form.FORM.misfit(given, "f16") == ""
    assert form.FORM.misfit(given, "q4_0") == f"--type q4_0: must be f32 or f16 with {said}"


def test_inputs_that_are_rounded_are_refused(leaving):
    given = leaving(Model())
    rounded = dataclasses.replace(given.settings.compress, to="int4-fp8")
    settings = dataclasses.replace(given.settings, compress=rounded)
    assert "inputs are rounded" in form.FORM.misfit(given._replace(settings=settings), "f32")


def test_a_mixer_of_the_user_s_is_refused_whatever_its_letter(leaving, monkeypatch):
    class Mine(Attention):
        pass

    monkeypatch.setitem(MIXERS, "A", Mine)
    assert "Mine of " in form.FORM.misfit(leaving(Model()), "f32")


def test_a_pattern_counts_as_far_as_the_layers_go(leaving):
    one = dataclasses.replace(SIZE, depth=1)
    assert shapes.architecture(Model(pattern="AM"), one) == "llama"
    assert shapes.architecture(Model(pattern="AL"), one) == "llama"
    assert shapes.architecture(Model(pattern="AM"), SIZE) == "granitehybrid"


def test_equal_models_give_equal_bytes(leaving, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        form.FORM.write(leaving(MODELS["hybrid"]), "q4_0", tmp_path / name)
    assert sums((tmp_path / "one").iterdir()) == sums((tmp_path / "two").iterdir())


def test_the_file_says_where_a_text_ends_and_puts_nothing_around_it(leaving, corpus, tmp_path):
    from gguf import GGUFReader

    (corpus / chat.NAME).write_text(chat.template(""), encoding="utf-8")
    form.FORM.write(leaving(MODELS["llama"]), "f32", tmp_path)
    (corpus / chat.NAME).unlink()
    keys = {name: field.contents() for name, field in GGUFReader(tmp_path / form.NAME).fields.items()}
    said = {key: keys[f"tokenizer.ggml.{key}"] for key in ("eos_token_id", "add_bos_token", "add_eos_token", "pre")}
    assert said == {"eos_token_id": 0, "add_bos_token": False, "add_eos_token": False, "pre": "smollm"}
    assert keys["tokenizer.ggml.tokens"][0] == "<|end|>"
    assert (keys["tokenizer.ggml.tokens"][-1], keys["tokenizer.ggml.token_type"][-1]) == ("[PAD319]", words.UNUSED)
    assert keys["llama.context_length"] == 33
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]
    written = form.reader(tmp_path)._ask("apply-template", messages=[*messages, messages[0]])["prompt"]
    assert written == "User: Hi\nAssistant: Yes.\nUser: Hi\nAssistant:"


@pytest.mark.parametrize("cut", words.CUTS)
def test_a_thousand_texts_are_cut_as_in_training(leaving, corpus, tmp_path, cut):
    (tmp_path / "tokenizer.json").write_text(_cut_by(corpus, cut), encoding="utf-8")
    given = leaving(Model(), dataclasses.replace(SIZE, depth=1))._replace(corpus_folder=tmp_path)
    form.FORM.write(given, "q4_0", tmp_path)
    found = checked._tokens(given, form.FORM.reader(tmp_path))
    assert found == {"texts": 1000, "same_tokens": 1000}


def test_another_name_for_how_text_is_cut_does_not_pass(leaving, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(words, "_cut", lambda parts: "gpt-2")
    given = leaving(Model(), dataclasses.replace(SIZE, depth=1))
    form.FORM.write(given, "f32", tmp_path)
    with pytest.raises(ValueError, match="is cut into other tokens there"):
        checked._tokens(given, form.FORM.reader(tmp_path))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"normalizer": {"type": "NFC"}}, "its normalizer NFC rewrites text"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "none of llama.cpp's ways to cut text is that of"),
        ({"pre_tokenizer": None}, "none of llama.cpp's ways to cut text is that of []"),
        ({"model": {"byte_fallback": True}}, "byte_fallback=True has no form"),
        ({"model": {"ignore_merges": True}}, "none of llama.cpp's ways"),
        ({"model": {"type": "Unigram"}}, "its model is Unigram"),
    ],
)
def test_a_tokenizer_that_llama_cpp_lacks_is_refused_by_name(corpus, change, why):
    parts = json.loads((corpus / "tokenizer.json").read_text())
    parts |= {key: parts[key] | value if key == "model" else value for key, value in change.items()}
    assert why in words.misfit(json.dumps(parts))


def _cut_by(corpus: Path, cut: str) -> str:
    """The tokenizer, cutting otherwise, with two tokens more, of which one is special."""
    steps, whole = words.CUTS[cut]
    parts = json.loads((corpus / "tokenizer.json").read_text())
    split = {"behavior": "Isolated", "invert": False}
    steps = [
        step | split | {"pattern": {"Regex": step["pattern"]}} if step["type"] == "Split" else step for step in steps
    ]
    steps = [step | {"trim_offsets": True} if step["type"] == "ByteLevel" else step for step in steps]
    parts["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    parts["model"]["ignore_merges"] = whole
    more = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    first = max(parts["model"]["vocab"].values()) + 1
    parts["added_tokens"] += [
        {"id": first, "content": "<|im_start|>", "special": True} | more,
        {"id": first + 1, "content": "http://", "special": False} | more,
    ]
    return json.dumps(parts)
