"""A study of students: arms of one teacher or none, in a phase of a chain, shared by those of one teacher alone."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console
from runs import composing, record_of, train_run
from tiny import TINY, merged

from ablate.run.record import run_record
from ablate.run.settings import SettingsError
from ablate.run.study_record import study_record
from ablate.sweep import conduct
from ablate.sweep.cost import prospect
from ablate.sweep.launcher import plan_of, prepared
from ablate.sweep.study import Plan
from ablate.verdict.evidence import read
from ablate.verdict.validity import trust

SHORT = {"length": {"lengths": [64], "starts": [0]}, "evaluation": {"times": 1}}


def plan_in(outputs: Path, study: dict, **changes) -> Plan:
    where = {"where": TINY["where"] | {"outputs": str(outputs)}, "study": {"name": "taught", "metric": "macro"} | study}
    return prepared(plan_of([["precision=fp32"]], composing(merged(merged(TINY, SHORT), where | changes))))


@pytest.fixture
def teacher(tiny) -> str:
    """As `distill.teacher` names it; of the text of the studies here."""
    train_run(settings := tiny(tokens=4096, **SHORT, size={"width": 48, "heads": 3}, model={"pattern": "MA"}))
    return f"run:{record_of(settings).id}"


def study(teacher: str, **changes) -> dict:
    return {
        "factor": ["objective", "distill"],
        "seeds": [0, 1],
        "phases": {
            "learn": ["tokens=2048"],
            "tune": ["tokens=2048", "objective=distill", f"distill.teacher={teacher}"],
        },
        "arms": {
            "plain": {"tune": ["objective=next_token", "distill.teacher=none"]},
            "sharp": {"tune": ["distill.temperature=0.5"]},
        },
    } | changes


@pytest.mark.slow
def test_a_phase_of_students_is_judged_like_any_other(outputs, teacher):
    plan = plan_in(outputs, study(teacher))
    conduct.run(plan, Console(file=io.StringIO(), width=200))
    evidence = read(study_record(outputs, plan.study.name))
    assert evidence.complete
    assert not trust.conclude(evidence).broken
    plan = plan.refreshed()
    flops = {arm.name: (run_record(outputs, plan.run(arm, 0).id).result() or {})["flops"] for arm in plan.arms}
    assert flops["base"] == flops["sharp"] > flops["plain"]
    assert prospect(plan).flops[plan.run(plan.arms[0], 0).id][-1] == flops["base"]


def test_only_students_of_one_teacher_share_their_beginning(outputs, tiny, teacher):
    """Of arms that differ in their rates at the end, and of another teacher."""
    train_run(other := tiny(tokens=2048, **SHORT, seed=5))
    changed = {
        "factor": ["distill.teacher", "schedule"],
        "phases": {},
        "seeds": [0],
        "arms": {
            "falls": ["schedule.final=0.5"],
            "other": [f"distill.teacher=run:{record_of(other).id}"],
        },
    }
    asked = {"objective": "distill", "distill": {"teacher": teacher}, "tokens": 8192}
    plan = plan_in(outputs, study(teacher, **changed), **asked)
    trees = prospect(dataclasses.replace(plan, controls=[])).trees
    ids = {arm.name: plan.run(arm, 0).id for arm in plan.arms}
    assert sorted(map(sorted, (tree.runs for tree in trees))) == sorted(
        [sorted([ids["base"], ids["falls"]]), [ids["other"]]]
    )


def test_a_teacher_of_other_tokens_than_the_phase_before_is_refused(outputs, tiny):
    train_run(other := tiny(tokens=2048, data={"domains": ["code", "qa"]}))
    name = f"run:{record_of(other).id}"
    with pytest.raises(SettingsError) as error:
        plan_in(outputs, study(name))
    assert str(error.value).startswith(f"distill.teacher={name}: has another tokenizer than phase learn")
