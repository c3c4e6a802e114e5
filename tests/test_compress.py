"""The command `ablate compress`: the run that `ablate train` would make, what is said of it, and what is refused."""

import argparse
import math
from pathlib import Path

import pytest
from runs import record_of, train_run

from ablate.compress import __main__ as compress
from ablate.fit import run
from ablate.run.record import Record
from ablate.sweep import worker
from ablate.verdict import compression

HEADS = "recipe", "on disk", "macro", "general", "code", "qa"


@pytest.fixture(scope="module")
def parent(shared_tiny) -> Record:
    # settings that are no defaults, which nobody has to repeat
    train_run(settings := shared_tiny(optimizer={"lr": 1e-3}, evaluation={"spans": 5}, seed=3, where={"tf32": True}))
    return record_of(settings)


def said(capsys, record: Record, *words: str) -> str:
    capsys.readouterr()
    compress.main([record.id, f"--outputs={record.folder.parents[1]}", *words])
    return capsys.readouterr().out


def test_the_run_is_the_one_that_train_makes(parent, shared_tiny, capsys):
    text = said(capsys, parent, "--to", "int4", "--method", "round", "--group", "16")
    asked = {"to": "int4", "method": "round", "group": 16}
    changes = {"tokens": 0, "start": f"run:{parent.id}", "compress": asked}
    record = worker.alone(shared_tiny(optimizer={"lr": 1e-3}, evaluation={"spans": 5}, seed=3, **changes)).record
    assert record.done
    assert f"int4 round       {record.folder}\n" in text
    assert record.settings().where.tf32


def test_what_is_lost_and_what_it_is_about(parent, capsys):
    text = said(capsys, parent, "--to", "int3,2:4", "--method", "round,magnitude", "--group", "16")
    head = next(line for line in text.splitlines() if line.startswith("recipe  "))
    assert [name for name in HEADS if name in head] == list(HEADS)
    assert "over 15 held-out rows" in text
    assert "about this model only and not about the recipe" in text
    assert "kept in bfloat16: embedding: was asked to stay" in text
    runs = [Record(parent.folder.parent / line.split("/")[-1]) for line in text.splitlines()[-2:]]
    for record in runs:
        result, before = record.result() or {}, parent.result() or {}
        lost = compression.damages(result, before, ["general", "code", "qa"])
        bits = {d: (result["sums"][d]["nats"] - before["sums"][d]["nats"]) / math.log(2) for d in lost if d != "macro"}
        each = {domain: value / before["sums"][domain]["bytes"] for domain, value in bits.items()}
        for domain, value in each.items():
            assert (found := lost[domain])
            assert found.mean == pytest.approx(value, abs=1e-6)
        assert lost["macro"]
        assert f"{lost['macro'].mean:+.4f}" in text
        assert f"{record.packed.stat().st_size / 1e6:.3f} MB" in text
    assert runs[0].settings().compress.to == "int3"
    assert runs[1].settings().compress.group == 64  # 2:4 has no scales


def test_the_same_again_computes_nothing(parent, capsys, monkeypatch):
    first = said(capsys, parent, "--to", "int8")
    assert first.startswith("recipe 1/1  int8 round\n")
    monkeypatch.setattr(run, "_train", None)
    again = said(capsys, parent, "--to", "int8")
    assert again == "nothing to compute: every run is there\n" + first.partition("\n")[2]


def test_matrices_that_do_not_fit_are_named(parent, capsys):
    text = said(capsys, parent, "--to", "int8,int4", "--method", "round", "--keep", "")
    assert "kept in bfloat16" not in text  # rows of 32 are one group
    text = said(capsys, parent, "--to", "int8,int4", "--method", "round", "--group", "48", "--keep", "*.qkv")
    assert "blocks.0.mixer.qkv, blocks.1.mixer.qkv: was asked to stay" in text
    assert "blocks.0.feed.down, blocks.1.feed.down: stays: its rows of 64 are not whole groups of 48" in text


REFUSED = {
    "no such form": (["--to", "int5"], "--to=int5: must be one of bf16, int8"),
    "no such method": (["--method", "best"], "--method=best: must be one of round, gptq"),
    "a method for other forms": (["--to", "int4", "--method", "round,wanda"], "--method wanda: is for forms of 2:4"),
    "a form beside bits": (["--to", "int4", "--bits", "3"], "--to int4: must be left out with --bits 3"),
    "rows that nobody reads": (["--to", "int8", "--rows", "9"], "--rows 9: must be left out"),
    "a group without scales": (["--to", "2:4", "--group", "9"], "--group 9: must be left out with --to 2:4"),
    "zeros of no integers": (["--to", "fp8", "--asymmetric"], "--asymmetric: must be left out with --to fp8"),
    "a group below 0": (["--group", "-1"], "compress.group=-1: must be greater than or equal to 0"),
    "too few bits": (["--bits", "1", "--group", "16"], "compress.bits=1: must be from 3.000 to 9.000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_one_line(name, parent, capsys):
    words, line = REFUSED[name]
    with pytest.raises(SystemExit) as stop:
        said(capsys, parent, *words)
    error = capsys.readouterr().err
    assert stop.value.code == 1
    assert error.startswith(f"error: {line}")
    assert error.count("\n") == 1


def test_every_form_has_a_method():
    forms = ",".join(compress.FORMATS)
    options = dict(to=forms, method="", bits=0.0, rows=4, group=32, asymmetric=True, keep=["head"])
    found = compress.recipes(argparse.Namespace(**options))
    assert [one.to for one in found] == list(compress.FORMATS)
    by = {one.to: one for one in found}
    assert (by["int4"].method, by["int8"].method, by["2:4-int4"].method) == ("gptq", "round", "sparsegpt")
    assert (by["fp8"].symmetric, by["int4"].symmetric, by["2:4"].group, by["int8"].rows) == (True, False, 64, 128)


def test_a_run_of_pairs_is_refused(tiny):
    length = {"lengths": [64], "starts": [0.0]}
    settings = tiny(objective="reward", data={"pairs": True, "domains": ["qa"], "focus": "qa"}, length=length)
    record = Record(Path(settings.where.outputs, "runs", "a"))
    record.begin(settings, "", {})
    with pytest.raises(compress.UserError, match=r"its held-out text is pairs \(objective=reward\)"):
        compress.derived(record, compress.Compress(to="int4"))
