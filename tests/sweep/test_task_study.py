"""A study of a task is asked, judged and asked again by one command, also of runs that were trained before."""

import dataclasses
import re
import shutil

import pytest
from rich.console import Console

from ablate.run.settings import SettingsError
from ablate.run.study import Controls, Study
from ablate.run.study_record import study_record
from ablate.sweep import conduct
from ablate.sweep.controls import with_controls
from ablate.sweep.launcher import prepared
from ablate.sweep.study import Plan, plan
from ablate.verdict.compare import verdicts
from ablate.verdict.evidence import read

TASKS = {"sums": {"kind": "questions", "items": 20}, "recall": {"kind": "recall", "items": 20}}


@pytest.fixture
def study(tiny):
    def make(name: str, metric: str, **changes) -> Plan:
        base = tiny(**changes)
        frozen = dataclasses.replace(base, optimizer=dataclasses.replace(base.optimizer, eps=10.0))
        few = Controls(null_seeds=0, positive=["tokens=5120"])  # wanted where the arm is not found to differ
        declared = Study(name=name, factor=["optimizer.eps"], controls=few, seeds=[0, 1], metric=metric)
        shorter = dataclasses.replace(base, tokens=5120)
        whole = plan(declared, base, {"frozen": frozen})
        return prepared(with_controls(whole, lambda phase, overrides: shorter))

    return make


def carried_out(whole: Plan) -> str:
    console = Console(record=True, width=120)
    conduct.run(whole, console)
    return console.export_text()


@pytest.mark.slow
def test_one_command_trains_asks_and_judges(study):
    whole = study("asked", "task:sums:bpb", evaluate={"tasks": TASKS})
    printed = carried_out(whole)
    record = study_record(whole.arms[0].settings.where.outputs, "asked")
    (frozen,) = verdicts(read(record))
    assert frozen.effect.mean > 0  # an arm that hardly learns
    assert "task:sums:bpb: bits per byte, lower is better" in printed
    ends = [line for line in printed.splitlines() if line.startswith("done")]
    assert len(ends) == 4
    assert all(re.search(r"task:sums:bpb \d\.\d{4} bits per byte", line) for line in ends)
    assert all(len(list(run.scores.glob("*.jsonl"))) == 2 for _, _, run in record.records())
    # runs that another study has trained have not been asked its tasks
    for _, _, run in record.records():
        shutil.rmtree(run.scores)
    again = carried_out(study("again", "task:sums:acc", evaluate={"tasks": TASKS}))
    assert "task:sums:acc: share of items, higher is better" in again


def test_arms_are_asked_the_same_tasks(tiny):
    base = tiny(evaluate={"tasks": TASKS})
    other = dataclasses.replace(tiny(), optimizer=dataclasses.replace(base.optimizer, eps=10.0))
    with pytest.raises(SettingsError, match=r"differs outside the factor .*: evaluate"):
        plan(Study(name="s", factor=["optimizer.eps"]), base, {"frozen": other})
