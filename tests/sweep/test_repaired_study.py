"""Teachers that are named by a phase: every run learns from what its own chain was."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console
from runs import composing
from tiny import TINY, merged

from ablate.fit import saved
from ablate.model.language import matrices
from ablate.run.record import run_record
from ablate.run.settings import SettingsError, UserError
from ablate.run.start import parse
from ablate.run.study_record import study_record
from ablate.sweep import conduct, worker
from ablate.sweep.launcher import plan_of, prepared
from ablate.sweep.study import Plan
from ablate.verdict.evidence import read
from ablate.verdict.validity import trust

SHORT = {"length": {"lengths": [64], "starts": [0]}, "evaluation": {"times": 1}}
TAUGHT = ["tokens=2048", "objective=distill", "model.linear='2:4'"]
STUDY = {
    "name": "repaired",
    "metric": "macro",
    "factor": ["objective", "distill", "model.linear", "tokens"],
    "seeds": [0, 1],
    "controls": {"positive": []},
    "phases": {"learn": ["tokens=4096"], "make": ["tokens=0", "compress.to='2:4'", "compress.method=magnitude"]},
    "arms": {"taught": {"repair": [*TAUGHT, "distill.teacher=phase:learn"]}},
}


def plan_in(outputs: Path, **study) -> Plan:
    changed = STUDY | {"phases": STUDY["phases"] | {"repair": ["tokens=0"]}} | study
    where = {"where": TINY["where"] | {"outputs": str(outputs)}, "study": changed}
    return plan_of([["precision=fp32"]], composing(merged(merged(TINY, SHORT), where)))


def test_the_teacher_of_a_run_is_of_its_own_seed_and_costs_what_it_costs(outputs):
    plan = prepared(plan_in(outputs))
    [arm] = [arm for arm in plan.arms if arm.name == "taught"]
    for seed in (0, 1):
        run = plan.run(arm, seed)
        assert run.parent
        assert run.parent.parent
        teacher = parse(run.settings.distill.teacher, "distill.teacher")
        assert teacher
        assert (teacher.place, teacher.known) == (run.parent.parent.id, False)
        assert run.settings.distill.parameters > 0
        assert not run.known


@pytest.mark.slow
def test_a_repair_is_carried_out_and_keeps_the_form(outputs):
    plan = prepared(plan_in(outputs))
    conduct.run(plan, Console(file=io.StringIO(), width=200))
    evidence = read(study_record(outputs, "repaired"))
    assert evidence.complete
    assert not trust.conclude(evidence).broken
    plan = plan.refreshed()
    for seed in (0, 1):
        run = plan.run(plan.named("taught"), seed)
        assert run.parent
        language, before = (saved.load(run_record(outputs, id)) for id in (run.id, run.parent.id))
        for name in matrices(language):
            assert torch.equal(language.get_parameter(name) != 0, before.get_parameter(name) != 0)


@pytest.mark.parametrize("phase", ["repair", "later"])
def test_a_teacher_is_of_a_phase_before(outputs, phase):
    with pytest.raises(SettingsError, match=f"distill.teacher=phase:{phase}: must be of a phase before repair: learn"):
        plan_in(outputs, arms={"taught": {"repair": [*TAUGHT, f"distill.teacher=phase:{phase}"]}})


def test_a_run_alone_has_no_phases(tiny):
    settings = tiny(objective="distill", distill={"teacher": "phase:learn"})
    with pytest.raises(UserError, match=r"^distill\.teacher=phase:learn: is of a study with phases"):
        worker.alone(settings)
    with pytest.raises(SettingsError, match="start=phase:learn: must be none, run:"):
        tiny(start="phase:learn")
