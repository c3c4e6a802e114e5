"""What an executor begins before a study is shown, and when it has nothing to begin."""

import dataclasses
from pathlib import Path

import pytest

from ablate.data.tokens import Corpus
from ablate.run.parse import from_config
from ablate.run.record import run_record
from ablate.run.settings import Study, Where
from ablate.sweep import conduct
from ablate.sweep.executors.local import Local
from ablate.sweep.study import Plan, plan, with_corpora

TEXT = Corpus(Path(), {"fingerprint": "data"})  # that nobody reads


@pytest.fixture
def begun(monkeypatch):
    """Output folders for which the server was asked to start."""
    asked: list[str] = []
    monkeypatch.setattr(Local, "prepare", classmethod(lambda _cls, where: asked.append(where.outputs)))
    return asked


def planned(tmp_path: Path, **where) -> Plan:
    base = from_config({"where": {"outputs": str(tmp_path)} | where})
    arm = dataclasses.replace(base, optimizer=dataclasses.replace(base.optimizer, lr=1e-3))
    study = Study(name="s", factor=["optimizer"], seeds=[0, 1])
    return with_corpora(plan(study, base, {"slow": arm}), [TEXT] * 2)


def finish(where: Where, ids: list[str]) -> None:
    for run in ids:
        folder = run_record(where.outputs, run).folder
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")


def test_while_a_run_is_missing(tmp_path, begun):
    whole = planned(tmp_path)
    finish(whole.arms[0].settings.where, [run.id for run in whole.runs][:-1])
    conduct.begin(whole)
    assert begun == [str(tmp_path)]


def test_nothing_once_all_are_done(tmp_path, begun):
    whole = planned(tmp_path)
    finish(whole.arms[0].settings.where, sorted({run.id for run in whole.runs}))
    conduct.begin(whole)
    assert not begun


def test_nothing_for_a_plan_that_is_only_shown(tmp_path, begun):
    conduct.begin(planned(tmp_path, dry_run=True))
    assert not begun
