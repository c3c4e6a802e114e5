"""Runs of no tokens: the weights of the start as they are, or made smaller with rows of the training text."""

import dataclasses

import pytest
import torch
from runs import record_of, train_run
from safetensors.torch import load_file

from ablate import export
from ablate.compress import packed
from ablate.data.batches import validation_rows
from ablate.data.tokens import prepare_for
from ablate.fit import parts, saved, smaller
from ablate.fit.parents import resolved
from ablate.model.language import matrices
from ablate.run.record import Record
from ablate.run.settings import SettingsError, UserError
from ablate.sweep import worker
from ablate.sweep.preview_run import UNTRAINED, preview_run
from ablate.verdict.evidence import Run
from ablate.verdict.validity import scores


@pytest.fixture
def parent(tiny) -> Record:
    settings = tiny()
    train_run(settings)
    return record_of(settings)


@pytest.fixture
def child(tiny, parent):
    """child(compress={...}): settings of a run of no tokens on the weights of a trained one."""

    def make(**changes):
        return resolved(tiny(**{"tokens": 0, "start": f"run:{parent.id}"} | changes))

    return make


def test_a_copy_scores_as_its_parent_does(child, parent):
    result = train_run(child())
    of_parent = parent.result() or {}
    assert result["sums"] == of_parent["sums"]
    assert result["weights_sha256"] == of_parent["weights_sha256"]
    assert (result["step"], result["tokens"], result["flops"], result["outcome"]) == (0, 0, 0.0, "finished")


@pytest.mark.parametrize("to", ["int4", "int4-fp8", "2:4"])
def test_packed_weights_compute_what_the_run_was_scored_with(child, parent, to):
    method = "sparsegpt" if to == "2:4" else "gptq"
    settings = child(compress={"to": to, "method": method, "rows": 8} | ({} if to == "2:4" else {"group": 16}))
    result, record = train_run(settings), record_of(settings)
    language, found = saved.load(record), packed.read(record.packed)
    again = smaller.apply(found, saved.load(parent))
    tokens_BL = torch.arange(24).view(2, 12)
    assert torch.equal(language(tokens_BL), again(tokens_BL))
    assert result["compressed"]["file_bytes"] == record.packed.stat().st_size
    assert result["sums"] != (parent.result() or {})["sums"]
    saved.rescore([record])
    assert not scores._wrong(Run("small", 0, record, "finished", "", result))


def test_packed_weights_that_are_others_now_are_not_handed_on(child, tmp_path):
    train_run(settings := child(compress={"to": "int4", "group": 16}))
    record = record_of(settings)
    assert saved.packed(record)
    whole = record.packed.read_bytes()
    record.packed.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match=r"packed\.safetensors: not the weights that the run had, by their sha256$"):
        export.export(record, "compressed-tensors", tmp_path / "out")
    record.packed.write_bytes(whole[:100])
    with pytest.raises(UserError, match=r"packed\.safetensors: damaged"):
        saved.packed(record)


def test_calibration_reads_training_text_as_the_seed_draws_it(child):
    settings = child(compress={"to": "int4", "method": "gptq", "group": 16, "rows": 8})
    corpus = prepare_for(settings)
    rows_RT = smaller.calibration(settings, corpus)
    assert rows_RT.shape == (8, settings.data.span)
    held_out = {tuple(row) for row in validation_rows(corpus, settings).tokens_BL.tolist()}
    assert not held_out & {tuple(row) for row in rows_RT.tolist()}
    other = smaller.calibration(dataclasses.replace(settings, seed=settings.seed + 1), corpus)
    assert not torch.equal(rows_RT, other)


def test_bits_on_average_are_kept(child, parent):
    settings = child(compress={"to": "int4", "method": "gptq", "group": 16, "rows": 8, "bits": 4.5})
    result = train_run(settings)
    assert result["compressed"]["bits"] <= 4.5
    weights = load_file(record_of(settings).weights)
    assert set(weights) == set(load_file(parent.weights))


def test_a_model_that_rounds_its_inputs_is_not_taken_for_its_weights(child, tiny, tmp_path):
    settings = child(compress={"to": "int4-fp8", "group": 16}, evaluate={"samples": ["One"], "sample_tokens": 2})
    train_run(settings)
    record = record_of(settings)
    assert list(record.rows("sample"))
    with pytest.raises(UserError, match=r"compress\.to=int4-fp8 its inputs are rounded, which no weights say"):
        resolved(tiny(start=f"run:{record.id}"))
    with pytest.raises(UserError, match=r"^compress\.to=int4-fp8: its inputs are rounded, which no weights"):
        export.export(record, "hf", tmp_path / "out")


REFUSED = {
    "a start is missing": ({"tokens": 0, "start": "none"}, "start=none: must be"),
    "steps": ({"tokens": 4096, "compress": {"to": "int4"}}, "tokens=4096: must be 0 with compress.to=int4"),
    "a method of nothing": ({"compress": {"method": "gptq"}}, "compress.method=gptq: must be left out"),
    "no such form": ({"tokens": 0, "compress": {"to": "int5"}}, "compress.to=int5: must be one of"),
    "rows that nothing reads": (
        {"tokens": 0, "compress": {"to": "int4", "rows": 8}},
        "compress.rows=8: must be left out with method=round",
    ),
    "scales that there are not": (
        {"tokens": 0, "compress": {"to": "2:4", "method": "magnitude", "group": 32}},
        "compress.group=32: must be left out with to=2:4",
    ),
    "a form that bits choose": (
        {"tokens": 0, "compress": {"to": "int8", "bits": 3.5}},
        "compress.to=int8: must be int4 or int4-fp8 with compress.bits=3.5",
    ),
    "no such matrix, before there are weights": (
        {"tokens": 0, "compress": {"to": "int4", "keep": ["blok.*"]}},
        "compress.keep=blok.*: no such matrix; there are embedding, blocks.0.mixer.qkv",
    ),
    "bits that there are not": (
        {"tokens": 0, "compress": {"to": "int4", "group": 16, "bits": 2.5}},
        "compress.bits=2.5: must be from 3.000 to 9.000, scales and all",
    ),
    "bits of which nothing comes": (
        {"tokens": 0, "compress": {"to": "int4", "bits": 20}},
        "compress.bits=20: must be from",
    ),
    "bits of ternary matrices": (
        {"tokens": 0, "model": {"linear": "ternary"}, "compress": {"to": "int4", "bits": 3.5}},
        "compress.bits=3.5: must be left out: all matrices are ternary",
    ),
    "a sparse method": ({"tokens": 0, "compress": {"to": "int4", "method": "wanda"}}, "compress.method=wanda: must be"),
    "processes": ({"tokens": 0, "where": {"strategy": "ddp"}}, "where.strategy=ddp: must be single with tokens=0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_nothing_smaller_is_refused(tiny, name):
    changes, line = REFUSED[name]

    def run():
        settings = tiny(**changes)
        parts.check(settings)
        train_run(settings)

    with pytest.raises(SettingsError) as error:
        run()
    assert str(error.value).startswith(line)


def test_a_plan_of_a_run_that_trains_nothing_says_so(child, capsys):
    preview_run(child())
    assert UNTRAINED in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("linear", "method"), [("int4", "round"), ("2:4", "magnitude")])
def test_a_run_that_was_trained_in_a_form_loses_nothing_in_it(tiny, linear, method):
    settings = tiny(model={"linear": linear})
    train_run(settings)
    parent = record_of(settings)
    asked = {"to": linear, "method": method}
    changes = {"tokens": 0, "start": f"run:{parent.id}", "model": {"linear": linear}}
    train_run(child := resolved(tiny(**changes, compress=asked)))
    was, now = saved.load(parent), saved.load(record_of(child))
    was.embedding.weight.data = was.embedding.weight.bfloat16().float()  # it stays, in bfloat16
    tokens_BL = torch.arange(24).view(2, 12)
    assert torch.equal(was.logits(tokens_BL), now.logits(tokens_BL))
    again = resolved(tiny(**changes | {"start": f"run:{record_of(child).id}"}, compress=asked))
    assert train_run(again)["sums"] == (record_of(child).result() or {})["sums"]


def test_a_mask_stays_while_a_model_is_repaired(tiny, parent):
    sparse = resolved(tiny(tokens=0, start=f"run:{parent.id}", compress={"to": "2:4", "method": "magnitude"}))
    train_run(sparse)
    taught = {"objective": "distill", "distill": {"teacher": f"run:{parent.id}"}, "model": {"linear": "2:4"}}
    repaired = worker.looked_up(tiny(tokens=4096, start=f"run:{record_of(sparse).id}", **taught))
    train_run(repaired)
    before, after = saved.load(record_of(sparse)), saved.load(record_of(repaired))
    for name in matrices(after):
        was, now = before.get_parameter(name), after.get_parameter(name)
        assert torch.equal(was != 0, now != 0)
        assert (now.unflatten(1, (-1, 4)) != 0).sum(-1).eq(2).all()
        assert not torch.equal(was, now)


def test_a_dense_start_is_rounded_only_where_that_is_asked(tiny, parent):
    resolved(tiny(start=f"run:{parent.id}", model={"linear": "int4"}))
    train_run(trained := tiny(model={"linear": "int4"}))
    with pytest.raises(SettingsError, match=r"it does with model\.linear=int4$"):
        resolved(tiny(start=f"run:{record_of(trained).id}"))
