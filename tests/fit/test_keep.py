"""Weights kept on the way are those that were evaluated, whole or not there, and another branch has them too."""

import dataclasses
import json

import pytest
from runs import Interruption, elsewhere, interrupt, record_of, train_run
from safetensors.torch import load_file, save_file

from ablate.fit import keep, saved
from ablate.fit.checkpoint import sha256
from ablate.plan.timeline import timeline
from ablate.run.settings import SettingsError, UserError
from ablate.run.trunks import Growth, trunk_record

TIMES = {"evaluation": {"times": 10, "spans": 1}}


@pytest.mark.parametrize(
    ("asked", "kept"),
    [(0, ()), (1, (10,)), (3, (4, 10, 16)), (9, tuple(range(2, 20, 2))), (50, tuple(range(2, 20, 2)))],
)
def test_so_many_divide_the_run_evenly(tiny, asked, kept):
    assert keep.steps(timeline(tiny(**TIMES, where={"keep": asked}))) == kept  # of 20 steps


def test_moments_are_parts_or_steps_and_the_last_weights_need_no_second_file(tiny):
    assert keep.steps(timeline(tiny(**TIMES, where={"keep": [0.25, 7, 1.0, 0.35]}))) == (5, 7)
    with pytest.raises(SettingsError, match=r"where.keep=\[30.0\]: must be moments of the run: its 20 steps"):
        tiny(where={"keep": [30]})
    with pytest.raises(SettingsError, match=r"^where.keep=-1: must be"):
        tiny(where={"keep": -1})


@pytest.mark.parametrize("averaging", [{}, {"averaging": {"kind": "ema", "start": 0.2, "decay": 0.8}}])
def test_kept_weights_score_what_the_run_reported_there_and_change_nothing(tiny, tmp_path, averaging):
    plain = tiny(**averaging, evaluation={"times": 4})
    kept = elsewhere(dataclasses.replace(plain, where=dataclasses.replace(plain.where, keep=1)), tmp_path / "kept")
    assert record_of(plain).id == record_of(kept).id
    assert train_run(plain)["weights_sha256"] == train_run(kept)["weights_sha256"]
    record = record_of(kept)
    evaluations = {row["step"]: row["sums"] for row in record.rows("evaluation")}
    assert list(record.kept()) == [10, 20]
    corpus = saved.prepared(record.folder.parents[1], record.fingerprint)
    weights = dict(saved.load(record, 10).state_dict())
    assert saved._scores(kept, weights, corpus, saved.torch.device("cpu"))["sums"] == evaluations[10]


def test_other_weights_and_steps_without_any_are_refused_by_name(tiny):
    train_run(settings := tiny(where={"keep": [10, 15]}))
    record = record_of(settings)
    with pytest.raises(UserError, match="no weights are kept of step 11; there are those of 10, 15, 20"):
        saved.load(record, 11)
    changed = load_file(record.weights_after(10))
    changed[next(iter(changed))] += 1
    save_file(changed, record.weights_after(10))
    with pytest.raises(UserError, match=r"step-00000010.safetensors: not the weights that the run had after step 10"):
        saved.load(record, 10)
    record.weights_after(15).write_bytes(b"half")
    with pytest.raises(UserError, match=r"step-00000015.safetensors: damaged"):
        saved.load(record, 15)


def test_a_killed_run_leaves_no_file_that_is_believed(tiny, monkeypatch):
    settings = tiny(where={"keep": [5], "saves": 20})
    append = saved.Record.append

    def killed(self, kind, **values):
        if kind == "kept":
            raise Interruption
        append(self, kind, **values)

    with monkeypatch.context() as patch:
        patch.setattr(saved.Record, "append", killed)
        with pytest.raises(Interruption):
            train_run(settings)
    record = record_of(settings)
    record.weights_after(5).write_bytes(b"half")
    assert record.kept() == {}
    train_run(settings)
    assert record.kept()[5] == sha256(load_file(record.weights_after(5)))


def test_a_branch_has_the_kept_weights_of_its_trunk(tiny, tmp_path):
    trunk = trunk_record(tmp_path / "trunks", "key")
    settings = tiny(where={"keep": [5, 15]})
    train_run(settings, Growth(leave={10: trunk}))
    assert trunk.whole()
    branch = elsewhere(settings, tmp_path / "branch")
    train_run(branch, Growth(start=trunk))
    ours, theirs = record_of(settings), record_of(branch)
    assert ours.kept() == theirs.kept()
    assert sha256(dict(saved.load(theirs, 5).state_dict())) == ours.kept()[5]
    assert [row["step"] for row in map(json.loads, (trunk.folder / "metrics.jsonl").read_text().splitlines())][-1] <= 10


def test_a_run_that_goes_on_keeps_what_is_left_to_keep(tiny):
    settings = tiny(where={"keep": [5, 15]})
    interrupt(settings, 12)
    assert list(record_of(settings).kept()) == [5]
    train_run(settings)
    assert list(record_of(settings).kept()) == [5, 15, 20]
