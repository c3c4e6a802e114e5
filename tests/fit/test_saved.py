"""Saved weights score what their run reported, to the bit on the machine that trained them, and once."""

import json
import shutil

import pytest
import torch
from runs import KINDS, elsewhere, record_of, train_run
from safetensors.torch import load_file, save_file

from ablate.data.tokenizer import train
from ablate.data.tokens import prepared
from ablate.data.windows import IGNORED
from ablate.fit import saved
from ablate.fit.module import Pretraining
from ablate.model.language import build
from ablate.run.files import write_json
from ablate.run.identity import SEMANTICS
from ablate.run.record import run_record
from ablate.run.settings import Model, Size, UserError
from ablate.run.study_record import study_record
from ablate.sweep import audit
from ablate.verdict.evidence import Evidence, Run
from ablate.verdict.validity import scores

SHORT = {"tokens": 2048, "evaluation": {"times": 1, "spans": 3}, "length": {"lengths": [64], "starts": [0]}}


def wrong(record) -> str:
    """What is found of one run once its weights are scored again."""
    saved.rescore([record])
    run = Run("arm", 0, record, "finished", None, record.result() or {})
    return scores._wrong(run)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hybrid", "ternary", "bf16", "latent attention", "average, ema", "muon"])
def test_the_same_numbers_to_the_bit(tiny, kind):
    settings = tiny(**SHORT | KINDS[kind])
    result, record = train_run(settings), record_of(settings)
    assert wrong(record) == ""
    again = record.rescored()
    assert {name: again[name] for name in ("weights_sha256", "sums", "validation")} == {
        name: result[name] for name in ("weights_sha256", "sums", "validation")
    }
    torch.set_num_threads(2)  # as another machine would
    try:
        assert wrong(record) == ""
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("scorer", ["bytes", "first tokens", "last row"])
def test_a_scorer_that_goes_wrong_while_a_run_trains_is_found(tiny, monkeypatch, scorer):
    right = Pretraining.evaluate

    def off(self, rows, beat):
        if scorer == "first tokens":
            rows = rows._replace(targets_BL=rows.targets_BL.clone())
            rows.targets_BL[:, :8] = IGNORED
        if scorer == "last row" and len(rows.domain_B) > 1:  # the probe evaluates a single one
            rows = rows._replace(tokens_BL=rows.tokens_BL.clone(), targets_BL=rows.targets_BL.clone())
            rows.tokens_BL[-1], rows.targets_BL[-1] = rows.tokens_BL[-2], rows.targets_BL[-2]
        sums_D3, rows_R3 = right(self, rows, beat)
        if scorer == "bytes":
            sums_D3[:, 2] *= 1.01
        return sums_D3, rows_R3

    monkeypatch.setattr(Pretraining, "evaluate", off)
    settings = tiny(**SHORT)
    train_run(settings)
    monkeypatch.undo()
    said = {"bytes": "general bytes is reported as", "first tokens": "general ", "last row": "qa "}[scorer]
    assert wrong(record_of(settings)).startswith(f"seed 0: {said}")


@pytest.fixture
def asked(tiny, tmp_path, monkeypatch):
    """A finished run; and whether a report scores it again."""
    settings = elsewhere(tiny(**SHORT), tmp_path / "here")
    train_run(settings)
    record = record_of(settings)
    run = Run("arm", 0, record, "finished", None, record.result() or {})
    study = Evidence(study_record("", "s"), {"base": "arm", "runs": {"arm": {"0": record.id}}}, (run,))
    scored, rescore = [], saved.rescore
    monkeypatch.setattr(saved, "rescore", lambda records: (scored.extend(records), rescore(records)))

    def again(**how) -> bool:
        scored.clear()
        audit.rescore(study, **how)
        return scored == [record]

    return record, again


def test_other_weights_are_found_and_a_second_look_computes_nothing(asked):
    record, again = asked
    assert again()
    assert wrong(record) == ""
    assert not again()
    weights = load_file(record.weights)
    weights["embedding.weight"][0, 0] += 1e-6
    save_file(weights, record.weights)
    assert again()
    assert "not those that the run ended with" in wrong(record)
    record.weights.write_bytes(b"no weights")
    assert "not those that the run ended with" in wrong(record)
    record.weights.unlink()
    assert not again()


def test_other_text_or_another_scorer_are_a_reason_to_score_again_and_text_that_is_gone_is_none(asked, monkeypatch):
    record, again = asked
    assert again()
    data = record.folder.parents[1] / "data"
    original = prepared(record.folder.parents[1], record.fingerprint).folder.resolve()
    data.unlink()
    shutil.copytree(original, text := data / original.name)  # alone: another folder of equal content would do as well
    shard = text / "qa.validation.bin"
    whole = shard.read_bytes()
    shard.write_bytes(whole[2:] + whole[:2])  # which is found before it is read: it is as if it was gone
    assert not again()
    assert wrong(record) == ""
    shard.write_bytes(whole)
    assert again()
    assert wrong(record) == ""
    environment = record.environment()
    write_json(record.folder / "environment.json", environment | {"threads": environment["threads"] + 1})
    assert again()
    monkeypatch.setattr("ablate.fit.basis.SEMANTICS", SEMANTICS + 1)
    assert again()
    text.rename(text.with_name("gone"))
    (text.with_name("gone") / "manifest.json").unlink()
    assert not again()
    assert "sums" in record.rescored()


def test_a_score_that_was_edited_is_refuted_when_all_are_scored_again(asked):
    record, again = asked
    assert again()
    noted = record.rescored()
    record.keep_rescored(noted | {"sums": {}})
    assert not again()
    assert again(again=True)
    assert record.rescored() == noted


def test_what_was_scored_on_a_gpu_is_not_scored_without_one(tiny, monkeypatch):
    settings = tiny(**SHORT)
    train_run(settings)
    record = record_of(settings)
    path = record.folder / "environment.json"
    path.write_text(json.dumps(record.environment() | {"device": "NVIDIA H200"}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    saved.rescore([record])
    assert record.rescored() == {"why": "a GPU scored them, and there is none here"}


def test_a_run_is_scored_where_its_folder_has_been_moved_to(tiny, tmp_path):
    settings = elsewhere(tiny(**SHORT), tmp_path / "before")
    result, name = train_run(settings), record_of(settings).id
    (tmp_path / "before").rename(tmp_path / "after")
    record = run_record(tmp_path / "after", name)
    assert wrong(record) == ""
    assert record.rescored()["weights_sha256"] == result["weights_sha256"]


def test_of_a_record_that_cannot_be_read_any_more_the_reason_is_noted(tiny):
    settings = tiny(**SHORT)
    train_run(settings)
    record = record_of(settings)
    config, environment = record.folder / "config.yaml", record.folder / "environment.json"
    whole = config.read_text()
    config.write_text(f"{whole}\nforgotten: 1\n")
    assert wrong(record) == ""
    assert "config.yaml: " in record.rescored()["why"]
    config.write_text(whole)
    environment.unlink()
    assert wrong(record) == ""
    assert "environment.json: " in record.rescored()["why"]


def test_a_folder_whose_tokenizer_has_more_tokens_than_its_model_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "tokenizer.json").write_text(train(["some text"], 300).to_str())
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 64}')
    monkeypatch.setattr(saved, "from_folder", lambda _: build(Model(), Size(width=8, depth=1, heads=2), 200, 0))
    with pytest.raises(UserError, match=r"its tokenizer has \d+ tokens, and its model 200"):
        saved.of_folder(tmp_path)
