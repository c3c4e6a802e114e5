"""A trained run, handed on: loaded by transformers it says what it says here."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from interchange.leaving import GROUPS, SIZE, whole
from runs import losses, train_run
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typed import typed

from ablate import export
from ablate.fit import parents, saved
from ablate.interchange import checked, hf
from ablate.interchange import plain as as_plain
from ablate.interchange.forms import FORMS
from ablate.interchange.texts import SCRIPTS, texts
from ablate.model import match
from ablate.model.attention import Attention
from ablate.model.language import LanguageModel
from ablate.model.linear import packed_bytes
from ablate.model.mixers import MIXERS
from ablate.run.files import sums
from ablate.run.identity import run_id
from ablate.run.parse import from_plain
from ablate.run.record import Record, run_record
from ablate.run.settings import Data, Settings

TEXT = "def naïve(n):\n    return 12 + n  # what is it?\n"
MODELS = {
    "llama": {},
    "latent": {"pattern": "L"},
    "hybrid": {"pattern": "MA", "mamba": {"head_width": 16}},
    "matched": {"pattern": "M", "mamba": {"head_width": 16}},
    "relu2": {"feed": "relu2"},
    "ternary": {"linear": "ternary"},
}


@pytest.fixture
def trained(tiny):
    def train(name: str) -> Record:
        size = {"match": "parameters" if name == "matched" else "none"}
        settings = tiny(model=MODELS[name], size=size, study={"name": "s", "question": "Which is best?"})
        train_run(settings)
        [folder] = (Path(settings.where.outputs) / "runs").iterdir()
        return Record(folder)

    return train


def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def command(*words: str) -> subprocess.CompletedProcess:
    return typed("export", *words)


@pytest.mark.parametrize("name", ["llama", "latent", "hybrid", "matched"])
def test_transformers_loads_the_same_model_and_tokenizer(trained, tmp_path, name):
    record, out = trained(name), tmp_path / "model"
    export.export(record, "hf", out)
    its, ours, words = AutoModelForCausalLM.from_pretrained(out), saved.load(record), tokenizer(out)
    tokens_BL = torch.tensor([words(TEXT).input_ids])
    assert words.decode(tokens_BL[0]) == TEXT
    assert tokens_BL.shape[1] > 20
    with torch.no_grad():
        torch.testing.assert_close(its(tokens_BL).logits, ours.logits(tokens_BL), atol=1e-5, rtol=0)
    assert its.generate(tokens_BL, max_new_tokens=4, do_sample=False).shape[1] > tokens_BL.shape[1]
    assert (its.config.eos_token_id, words.eos_token_id, words.pad_token_id) == (0, 0, 0)
    of_text = its.generation_config
    assert (of_text.bos_token_id, of_text.eos_token_id, of_text.pad_token_id) == (None, 0, 0)
    assert not list(tmp_path.glob(".model*"))


def test_settings_that_leave_name_no_folder_of_the_machine():
    data = Data(root="/home/me/text", tokenizer="/home/me/t.json", template="/home/me/chat.jinja", sources={"a": "~/x"})
    left = as_plain._what(Settings(data=data, start=f"folder:/home/me/big@{'0' * 64}"))
    assert (left["start"], left["data"]["template"]) == (f"folder:big@{'0' * 64}", "chat.jinja")
    assert "/" not in str(left["data"]) + left["start"]


def test_safetensors_hold_all_that_the_model_is_built_from(trained, tmp_path):
    record, out = trained("relu2"), tmp_path / "model"
    export.export(record, "safetensors", out)
    plain = yaml.safe_load((out / "config.yaml").read_text())
    built = plain.pop("built")
    settings = from_plain(plain)
    assert run_id(settings, "data") == run_id(record.settings(), "data")
    assert built["hidden"] == match.sized(settings).hidden
    model = LanguageModel(settings.model, match.sized(settings), settings.data.vocabulary)
    model.load_state_dict(load_file(out / "model.safetensors"))
    assert str(record.folder.parent.parent) not in (out / "config.yaml").read_text()


@pytest.mark.slow
def test_what_has_no_class_there_is_one_line_and_leaves_nothing(trained, tmp_path):
    record = trained("relu2")
    done = command(str(record.folder), "--out", str(tmp_path / "model"))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: model.feed=relu2: must be swiglu to have a form in transformers; --to safetensors writes every model"
    ]
    assert not list(tmp_path.glob("*model*"))


@pytest.mark.slow
def test_the_command_finds_a_run_by_the_beginning_of_its_id_and_tells_bytes(trained):
    record = trained("ternary")
    outputs = record.folder.parent.parent
    done = command("a32x2", "--outputs", str(outputs))
    assert done.returncode == 0, done.stderr
    out = outputs / "exports" / record.id / "hf"
    assert f"\n{out}: {record.id}, " in f"\n{done.stdout}"  # other packages may talk before
    assert "MB with ternary weights in 2 bits" in done.stdout
    card = (out / "README.md").read_text()
    assert "Which is best?" in card
    assert f"| macro | {losses(record.result() or {})['macro']:.4f} | bits per byte |" in card
    assert "accelerate" in card
    again = command(record.id, "--outputs", str(outputs))
    assert again.returncode == 1
    assert "exists; give another --out" in again.stderr


def test_a_ternary_model_comes_packed_too(trained, tmp_path):
    record, out = trained("ternary"), tmp_path / "model"
    export.export(record, "safetensors", out)
    small = load_file(out / "packed.safetensors")
    assert sum(tensor.nbytes for tensor in small.values()) == packed_bytes(saved.load(record))
    assert (out / "packed.safetensors").stat().st_size < (out / "model.safetensors").stat().st_size / 2


def test_edited_weights_are_not_handed_on(trained, tmp_path):
    record = trained("llama")
    weights = load_file(record.weights)
    weights["embedding.weight"][0, 0] += 1
    save_file(weights, record.weights)
    with pytest.raises(export.UserError, match=r"not the weights that the run had after step"):
        export.export(record, "hf", tmp_path / "model")
    assert not list(tmp_path.glob("*model*"))


def test_a_run_must_be_finished(tmp_path):
    folder = run_record(tmp_path, "a64x2-64-s0-01234567").folder
    folder.mkdir(parents=True)
    (folder / "config.yaml").touch()
    with pytest.raises(export.UserError, match=r"^a64x2-64-s0-01234567 is not finished"):
        export.find("0123", tmp_path)
    with pytest.raises(export.UserError, match=r"^b: no such run in "):
        export.find("b", tmp_path)


def test_help_explains():
    done = command("--help")
    assert done.returncode == 0
    for part in ("RUN", "--to", "--out", "safetensors"):
        assert part in done.stdout


@pytest.mark.parametrize("depth", [2, 4, 7])
@pytest.mark.parametrize("group", GROUPS)
def test_every_group_leaves_at_every_depth_and_computes_the_same(tmp_path, tiny, group, depth):
    leaving = whole(tiny(model=GROUPS[group], size=SIZE | {"depth": depth}))
    assert hf.FORM.misfit(leaving, "") == ""
    hf.FORM.write(leaving, "", tmp_path)
    found = checked.check(leaving, hf.FORM, "", tmp_path)
    assert set(found["greatest"]) == {"1", "32", "64"}
    assert found["same_tokens"] == found["texts"] == checked.TEXTS


def test_what_reads_otherwise_is_not_handed_on(trained, tmp_path, monkeypatch):
    """A form that loses something on the way, unnoticed by itself."""
    record, whole = trained("llama"), hf.write

    def write(leaving, type, folder):
        whole(leaving, type, folder)
        weights = load_file(folder / "model.safetensors")
        weights["model.layers.1.mlp.down_proj.weight"] *= 1.01
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    monkeypatch.setitem(FORMS, "hf", hf.FORM._replace(write=write))
    with pytest.raises(
        export.UserError, match=r"^not exported: read again, logits differ by at most .* and 5e-06 may be"
    ):
        export.export(record, "hf", tmp_path / "model")
    assert not list(tmp_path.glob("*model*"))
    export.export(record, "hf", tmp_path / "model", check=False)
    told = json.loads((tmp_path / "model" / "export.json").read_text())
    assert told["check"] == {"words": ["not checked: --no-check"]}


def test_a_flipped_bit_is_found_by_the_name_of_its_file(trained, tmp_path, tiny):
    record, out = trained("llama"), tmp_path / "model"
    export.export(record, "hf", out)
    assert export.verified(out).startswith(f"{out}: all 6 files are as exported, of {record.id}\n  logits differ by")
    for name in sorted(path.name for path in out.iterdir()):
        whole = (out / name).read_bytes()
        middle = len(whole) // 2
        (out / name).write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        with pytest.raises(export.UserError, match=f"^{out / name}(: | is )"):
            export.verified(out)
        if name != "README.md":  # which may be written by hand
            with pytest.raises(export.UserError, match=f"^start=folder:{out}: {out / name}(: | is )"):
                parents.resolved(tiny(start=f"folder:{out}"))
            with pytest.raises(export.UserError, match=f"^{out / name}(: | is )"):
                saved.of_folder(out)
        (out / name).write_bytes(whole)
    (out / ".gitattributes").touch()  # of a hub
    export.verified(out)
    (out / "adapter_config.json").touch()  # which transformers reads before all others
    with pytest.raises(export.UserError, match=r"adapter_config\.json: was not exported$"):
        export.verified(out)
    (out / "adapter_config.json").unlink()
    (out / "tokenizer_config.json").unlink()
    with pytest.raises(export.UserError, match=r"tokenizer_config\.json: is gone$"):
        export.verified(out)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("os error 28")])
def test_a_full_disk_is_one_line_and_leaves_nothing(trained, tmp_path, monkeypatch, error):
    def write(leaving, type, folder):
        (folder / "half").touch()
        raise error

    monkeypatch.setitem(FORMS, "hf", hf.FORM._replace(write=write))
    with pytest.raises(export.UserError, match=f"^cannot write {tmp_path / 'model'}: .*(space|28)"):
        export.export(trained("llama"), "hf", tmp_path / "model")
    assert not list(tmp_path.glob("*model*"))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["a", "--to", "vllm", "--type", "f16"], "--to vllm: writes no folder; --type and --out must be left out"),
        (["a", "--verify", "b"], "a: must be left out with --verify, which reads a folder alone"),
    ],
)
def test_flags_that_would_do_nothing_are_refused(capsys, words, line):
    with pytest.raises(SystemExit):
        export.main(words)
    assert capsys.readouterr().err == f"error: {line}\n"


def test_the_same_run_leaves_as_the_same_bytes(trained, tmp_path):
    record = trained("llama")
    for name in ("one", "two"):
        export.export(record, "hf", tmp_path / name)
    assert sums((tmp_path / "one").iterdir()) == sums((tmp_path / "two").iterdir())


def test_texts_of_every_script_are_the_same_every_time():
    assert len(SCRIPTS) == 8
    found = texts(200)
    assert found == texts(200)
    assert len(set(found)) > 190
    assert all(any(word in text for text in found) for script in SCRIPTS.values() for word in script.split())


def test_what_cannot_be_asked_or_is_not_installed_is_one_line(trained, tmp_path, monkeypatch, capsys):
    record = trained("llama")
    with pytest.raises(export.UserError, match=r"^--type f16: must be left out with --to hf$"):
        export.export(record, "hf", tmp_path / "model", "f16")
    monkeypatch.setattr(export, "find_spec", lambda module: None)
    with pytest.raises(
        export.UserError, match=r"compressed_tensors is missing; it needs `pip install 'ablate\[export\]'`"
    ):
        export.export(record, "compressed-tensors", tmp_path / "model")
    assert not list(tmp_path.glob("*model*"))
    export.main([str(record.folder), "--to", "vllm"])
    assert "not ready for vLLM 0.33: size.heads=2: heads are 16 wide" in capsys.readouterr().out


class Halved(Attention):
    """Of the same name, the same settings and the same weights as attention."""

    def forward(self, x_BLD):
        return 0.5 * super().forward(x_BLD)


def test_a_mixer_of_ones_own_is_refused_by_every_form_but_ours(tiny, monkeypatch):
    monkeypatch.setitem(MIXERS, "A", Halved)
    leaving = whole(tiny(size=SIZE))
    for name, form in FORMS.items():
        for type in form.types or ("",):
            assert bool(form.misfit(leaving, type)) == (name != "safetensors"), name
