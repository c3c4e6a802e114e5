import dataclasses

import pytest

from ablate.run.record import run_record
from ablate.verdict import spending
from ablate.verdict.evidence import read
from tests.verdict.worlds import World, write

QUICK = World(evaluations=5, tokens=500_000, seeds=(0, 1, 2, 3))
RUN = 6 * 1.1e6 * 500_000  # FLOPs


def test_without_trunks_and_races_all_of_it_is_spent(tmp_path):
    found = spending.of(read(write(tmp_path, QUICK)))
    assert found.shares == [("spent", pytest.approx(16 * RUN), 1.0)]


def test_what_a_trunk_saved_is_not_spent(tmp_path):
    study = write(tmp_path, QUICK)
    run = run_record(tmp_path, study.read()["runs"]["qa_20"]["1"])
    grown = {"run": "another", "trunk": "t", "step": 30, "flops": 0.75 * RUN, "seconds": 1.0}
    run.finish((run.result() or {}) | {"grown_from": grown})
    found = spending.of(read(study))
    assert (found.spent, found.trunks) == (pytest.approx(15.25 * RUN), pytest.approx(0.75 * RUN))
    assert sum(share for _, _, share in found.shares) == pytest.approx(1)


def test_a_race_saves_what_the_runs_it_left_out_would_have_cost(tmp_path):
    outcomes = {("qa_40", 2): "not started", ("qa_40", 3): "running"}  # one left out, one stopped at three fifths
    study = write(tmp_path, dataclasses.replace(QUICK, outcomes=outcomes))
    decision = {"arm": "qa_40", "reason": "worse", "look": 2, "rung": 0.0, "word": "worse", "mean": 0.01}
    study.decide({"qa_40": decision | {"interval": [0.0, 0.02]}})
    evidence = read(study)
    found = spending.of(evidence)
    assert list(spending.begun(evidence).values()) == [pytest.approx(0.6 * RUN)]
    assert found.left_out == 2
    assert found.races == pytest.approx(1.4 * RUN)
    assert found.spent == pytest.approx(14.6 * RUN)


def test_a_run_that_is_merely_missing_saves_nothing(tmp_path):
    found = spending.of(read(write(tmp_path, dataclasses.replace(QUICK, outcomes={("qa_40", 2): "not started"}))))
    assert (found.left_out, found.races) == (0, 0.0)


def test_costs_of_arms_count_a_shared_run_once_in_the_whole(tmp_path):
    *_, total = spending.by_arm(read(write(tmp_path, QUICK)))
    assert total[:3] == ("whole study", 16, pytest.approx(16 * RUN))
