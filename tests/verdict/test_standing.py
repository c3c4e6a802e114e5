"""From records on disk to the decisions of a race."""

import math

import pytest

from ablate.run.study import Budget, Study
from ablate.scores.metrics import METRICS, Metric
from ablate.verdict.evidence import read
from ablate.verdict.race import decide
from ablate.verdict.standing import standing
from tests.verdict.worlds import STEP_TOKENS, World, write

STEPS = 100
ARMS = ("base", "qa_20", "qa_40", "qa_12")
OUTCOMES = {("qa_40", 1): "diverged", ("qa_12", 2): "killed", ("qa_20", 3): "running", ("qa_12", 3): "not started"}


@pytest.fixture
def world():
    return World(outcomes=OUTCOMES, tokens=STEPS * STEP_TOKENS, evaluations=10)


def test_standing_is_what_became_of_each_run(tmp_path, world):
    evidence = read(write(tmp_path, world))
    finals = standing(evidence)
    assert tuple(finals) == ARMS  # the null arm is the base
    assert finals["base"] == evidence.finals("base", "macro")
    assert set(finals["qa_20"]) == {0, 1, 2}
    assert finals["qa_40"][1] == math.inf
    assert math.isnan(finals["qa_12"][2])
    assert 3 not in finals["qa_12"]


def test_where_more_is_better_a_race_gets_all_values_with_a_minus(tmp_path, world, monkeypatch):
    """Of one set of runs, and a metric that reads the same number but of which more is better."""
    record, macro = write(tmp_path, world), METRICS["macro"]
    monkeypatch.setitem(METRICS, "toy", Metric("toy", "share", "higher", macro.read))
    less = standing(read(record))
    record.write(record.read() | {"metric": "toy"})
    finals = standing(read(record))
    assert finals["base"] == {seed: -value for seed, value in less["base"].items()}
    assert finals["qa_40"][1] == math.inf  # a run that diverged is no better for it


def test_a_race_is_decided_from_records(tmp_path):
    world = World(effects={"qa_20": -0.05, "qa_40": 0.06}, seeds=tuple(range(8)), tokens=STEPS * STEP_TOKENS)
    study = Study(seeds=list(world.seeds), budget=Budget(race="best"))
    decisions = decide(standing(read(write(tmp_path, world))), study)
    assert decisions["qa_20"].word == "better"
    assert decisions["qa_40"].reason in ("worse", "beaten")
