"""A study whose runs share their beginnings has the same weights as one whose runs do not, for fewer steps."""

import dataclasses
from pathlib import Path

import pytest
from runs import elsewhere, steps_shared

from ablate.run.record import run_record
from ablate.run.settings import Settings, Study
from ablate.run.trunks import trunks
from ablate.sweep.executors.local import Local
from ablate.sweep.launcher import prepared
from ablate.sweep.study import Plan, plan
from ablate.sweep.trunk import beginnings, branches, forest, stored

pytestmark = pytest.mark.slow

FIXED = {"schedule": {"warmup": 2, "decay": 4}, "length": {"lengths": [64], "starts": [0]}}


def late(tiny, start: float, domain: str) -> Settings:
    return tiny(**FIXED, mixture={"stages": {"late": {"start": start, "weights": {domain: 1}}}})


def study_in(folder: Path, tiny) -> Plan:
    arms = {f"{domain} {start}": late(tiny, start, domain) for domain in ("qa", "code") for start in (0.5, 0.7)}
    base = elsewhere(tiny(**FIXED), folder)
    arms = {name: dataclasses.replace(arm, where=base.where) for name, arm in arms.items()}
    study = plan(Study(name="s", factor=["mixture"], seeds=[0, 1]), base, arms)
    return prepared(study)


def results(whole: Plan, ways: dict) -> dict[str, dict]:
    where = whole.arms[0].settings.where
    local = Local(whole.distinct(), where, ways)
    local.train(lambda: None)
    assert {outcome.state for outcome in local.outcomes} == {"done"}
    return {run.id: run_record(where.outputs, run.id).result() or {} for run in whole.distinct()}


def test_grown_and_alone_end_with_the_same_weights(tiny, tmp_path):
    grown, alone = study_in(tmp_path / "grown", tiny), study_in(tmp_path / "alone", tiny)
    ways, trees = branches(beginnings(grown)), forest(beginnings(grown))
    found, expected = results(grown, ways), results(alone, {})
    assert {i: one["weights_sha256"] for i, one in found.items()} == {
        i: one["weights_sha256"] for i, one in expected.items()
    }
    assert all(one["grown_from"] is None for one in expected.values())
    origins = [(one["grown_from"] or {"step": 0})["step"] for one in found.values()]
    # every segment was trained once: not a step more than the forest has
    assert sum(one["step"] for one in found.values()) - sum(origins) == steps_shared(trees)
    assert {trunk.key for trunk in trunks(tmp_path / "grown")} == {b.key for way in ways.values() for b in way}
    # next week's arm, which nobody had planned, starts where the plateau ended
    longer = dataclasses.replace(grown.arms[0].settings, tokens=15_360)
    more = prepared(plan(grown.study, longer, {}))
    later = results(more, branches(beginnings(more), stored(str(tmp_path / "grown"))))
    assert {one["grown_from"]["step"] for one in later.values()} == {16}
