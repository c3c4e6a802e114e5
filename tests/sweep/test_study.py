"""Arms differ from the base in the factor alone, and a null arm is the base."""

import dataclasses
from pathlib import Path

import pytest

from ablate.data.tokens import Corpus
from ablate.run.parse import from_config
from ablate.run.record import run_record
from ablate.run.settings import SettingsError, Study
from ablate.run.study_record import study_record
from ablate.sweep.contrast import within
from ablate.sweep.study import declare, plan, promises, with_corpora

TEXT = Corpus(Path(), {"fingerprint": "data"})  # that nobody reads

STUDY = Study(name="s", factor=["mixture"], seeds=[0, 1])


def settings(**changes):
    return from_config(changes)


def planned(**arms):
    result = plan(STUDY, settings(), arms)
    return with_corpora(result, [TEXT] * len(result.arms))


def test_an_arm_that_changes_another_key_is_refused_by_name():
    arm = settings(mixture={"share": 0.1}, optimizer={"lr": 1e-2, "weight_decay": 0.0})
    with pytest.raises(SettingsError) as error:
        planned(bad=arm)
    message = str(error.value)
    assert "study.arms.bad" in message
    assert "optimizer.lr (0.003 -> 0.01)" in message
    assert "optimizer.weight_decay (0.1 -> 0.0)" in message
    assert "weights@" not in message
    assert "\n" not in message


def test_a_factor_is_a_key_with_what_lies_below_it_and_no_key_that_begins_alike():
    assert all(within(key, "data.source") for key in ("data.source", "data.source.qa"))
    assert within("mixture.weights@0.qa", "mixture.weights")
    assert not within("data.sources.qa", "data.source")
    assert not within("size.width", "size.wid")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("size.wid", "study.factor=size.wid: no such setting; did you mean size.width?"),
        ("lr", "study.factor=lr: no such setting; did you mean optimizer.lr?"),
        ("mixtures", "study.factor=mixtures: no such setting; did you mean mixture?"),
        ("seed", "study.factor=seed: must be what a run is: all arms have the same seed"),
        ("where.threads", "study.factor=where.threads: must be what a run is"),
        ("study", "study.factor=study: must be what a run is"),
        ("data.focus", "study.factor=data.focus: must be what a run is"),
        ("optimizer.lr.high", "study.factor=optimizer.lr.high: no such setting"),
    ],
)
def test_a_factor_that_no_setting_is_called_is_refused(key, said):
    with pytest.raises(SettingsError) as refused:
        plan(Study(name="s", factor=[key]), settings(), {})
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    "key", ["model", "model.options.W.window", "mixture.weights@0.qa", "schedule.stages.late.peak"]
)
def test_a_factor_may_be_a_group_or_lie_below_names_of_the_users_own(key):
    plan(Study(name="s", factor=[key]), settings(), {})


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7},
        {"tokens": 100_000},
        {"precision": "bf16-mixed"},
        {"data": {"span": 512}, "length": {"lengths": [512]}},
    ],
)
def test_seed_budget_precision_and_data_are_no_part_of_a_mixture_factor(change):
    with pytest.raises(SettingsError, match=r"study\.arms\.bad"):
        planned(bad=settings(mixture={"share": 0.1}, **change))


def test_where_an_arm_runs_may_not_differ_either():
    with pytest.raises(SettingsError, match=r"where\.threads"):
        planned(bad=settings(mixture={"share": 0.1}, where={"threads": 2}))


def test_a_null_arm_is_the_base():
    result = planned(null=settings(mixture={"weights": {"general": 2, "code": 2, "science": 2, "qa": 2}}))
    assert result.arms[1].difference == {}
    ids = {run.arm: run.id for run in result.runs if run.seed == 0}
    assert ids["null"] == ids["base"]
    assert len(result.distinct()) == len(STUDY.seeds)
    assert [run.arm for run in result.distinct()] == ["base", "base"]


def test_runs_come_in_whole_seed_blocks():
    result = planned(a=settings(mixture={"share": 0.1}), b=settings(mixture={"share": 0.2}))
    assert [(run.seed, run.arm) for run in result.runs] == [(s, a) for s in (0, 1) for a in ("base", "a", "b")]
    assert len({run.id for run in result.runs}) == 6


def test_the_base_is_no_name_for_an_arm():
    with pytest.raises(SettingsError, match="is the name of the base"):
        planned(base=settings())


def test_a_changed_declaration_is_not_silent(tmp_path):
    record = study_record(tmp_path, "s")
    declare(planned(a=settings(mixture={"share": 0.1})), record)
    first = record.read()
    declare(planned(a=settings(mixture={"share": 0.1})), record)
    assert record.read() == first
    declare(planned(a=settings(mixture={"share": 0.2})), record)
    assert [row["declaration"] for row in record.ledger.rows()] == [first, record.read()]
    assert record.read()["digest"] != first["digest"]


def test_a_base_that_is_called_otherwise_is_the_same_base(tmp_path):
    record, arm = study_record(tmp_path, "s"), settings(mixture={"share": 0.1})
    declare(planned(a=arm), record)
    before = record.read()
    declare(with_corpora(plan(dataclasses.replace(STUDY, base="other"), settings(), {"a": arm}), [TEXT] * 2), record)
    assert record.read()["base"] == "other"
    assert record.read()["base_digest"] == before["base_digest"]


def test_runs_that_are_no_longer_declared_were_seen_all_the_same(tmp_path):
    record = study_record(tmp_path, "s")
    text = with_corpora(plan(STUDY, settings(where={"outputs": str(tmp_path)}), {}), [TEXT])
    declare(text, record)
    for run in text.runs:
        run_record(tmp_path, run.id).folder.mkdir(parents=True)
        run_record(tmp_path, run.id).finish({"outcome": "finished"})
    declare(dataclasses.replace(text, study=dataclasses.replace(STUDY, seeds=[7, 8])), record)
    assert [row["runs"] for row in record.ledger.rows()] == [0, len(text.runs)]


def test_what_was_promised_is_not_worked_out_again(monkeypatch):
    found, read = planned(some=settings(mixture={"share": 0.1})), []
    monkeypatch.setattr("ablate.data.promised.rows", lambda line, *_: read.append(line.settings.seed) or {})
    first = promises(found, {})
    assert sorted(read) == [0, 0, 1, 1]
    ids = [run.id for run in found.distinct()]
    known = {id: promise for id, promise in first.items() if id != ids[0]} | {"of another study": {}}
    assert promises(found, known) == first
    assert len(read) == 5
