"""An arm rolls back, the study says so, and the study that it offers tells all arms the same."""

import dataclasses
import re

import pytest
import yaml
from rich.console import Console

from ablate.run.identity import in_words
from ablate.run.parse import from_plain
from ablate.run.record import plain
from ablate.run.settings import SettingsError
from ablate.run.study import Controls, Study
from ablate.run.study_record import study_record
from ablate.sweep import conduct
from ablate.sweep.controls import with_controls
from ablate.sweep.launcher import prepared
from ablate.sweep.study import Plan, declare, plan
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.validity import trust

MONITOR = {"act": "rollback", "least": 8, "window": 16, "limit": 0.5}
NOISE = {"kind": "noise", "start": 18, "steps": 1}


@pytest.fixture
def planned(tiny):
    """planned(skips): a base, and an arm of which one step is spoilt, with a monitor each."""

    def make(name: str, skips: dict[int, list[str]], seeds: tuple[int, ...] = (0,)) -> Plan:
        controls = Controls(null_seeds=1, positive=[])
        study = Study(name=name, factor=["trouble"], seeds=list(seeds), skips=skips, controls=controls)
        base = tiny(
            monitor=MONITOR, length={"lengths": [64], "starts": [0]}, tokens=512 * 24, study=dataclasses.asdict(study)
        )
        spoilt = from_plain(plain(base) | {"trouble": plain(base)["trouble"] | NOISE})
        return with_controls(plan(base.study, base, {"spoilt": spoilt}), lambda *_: base)

    return make


def told(whole: Plan) -> dict[tuple[str, int], list[str]]:
    return {(run.arm, run.seed): run.settings.monitor.skip for run in whole.runs}


def test_all_runs_of_a_seed_leave_out_what_the_study_says(planned):
    alone, told_one = planned("s", {}, (0, 1)), planned("s", {1: ["7-8", "3-5"]}, (0, 1))
    assert set(map(tuple, told(alone).values())) == {()}
    skip = {0: [], 1: ["3-5", "7-8"]}
    assert told(told_one) == {(arm, seed): skip[seed] for arm in ("base", "spoilt") for seed in (0, 1)}
    same = [ours.id == theirs.id for ours, theirs in zip(told_one.runs, alone.runs, strict=True)]
    assert same == [run.seed == 0 for run in alone.runs]  # those of seed 0 are not trained again
    assert in_words(told_one.arms[1].difference) == in_words(alone.arms[1].difference)


@pytest.mark.parametrize(
    ("skips", "said"),
    [
        ({5: ["3-4"]}, r"study.skips.5=\['3-4'\]: must be for a seed of the study: 0, 1"),
        ({1: ["4-3"]}, r"study.skips.1=\[4-3\]: must be windows of steps"),
    ],
)
def test_windows_of_no_seed_and_of_no_steps_are_refused(planned, skips, said):
    with pytest.raises(SettingsError, match=said):
        planned("s", skips, (0, 1))


def carried_out(whole: Plan) -> Evidence:
    conduct.run(whole, Console(quiet=True))
    return read(study_record(whole.arms[0].settings.where.outputs, whole.study.name))


@pytest.mark.slow
def test_what_is_offered_makes_all_arms_leave_out_the_same(planned):
    first = carried_out(prepared(planned("s", {})))
    assert first.by_arm["base"][0].result["skipped"]["steps"] == 0
    conclusion = trust.conclude(first)
    assert not conclusion.broken
    assert conclusion.verdicts[0].notes[-1] == "learnt 21 % fewer tokens (seed 0: steps 14-19)"
    [offer] = [one.text for one in conclusion.findings if one.check == "skips"]
    found = re.search(r"study\.name=(\w+) '\+study\.skips=(.*)'", offer)
    assert found
    assert found[1] == "s_told"
    skips = yaml.safe_load(found[2].replace(":", ": "))
    second = carried_out(prepared(planned(found[1], skips)))
    runs = [second.by_arm[arm][0] for arm in ("base", "spoilt")]
    assert [run.result["skipped"]["windows"] for run in runs] == [[[14, 19]]] * 2
    assert second.itself("spoilt") == [0]  # the step that was spoilt is learnt by neither
    assert runs[1].result["weights_sha256"] == first.by_arm["spoilt"][0].result["weights_sha256"]  # the law
    conclusion = trust.conclude(second)
    assert not conclusion.broken
    assert not [one for one in conclusion.findings if one.check == "skips"]
    assert "is the same to the bit" in next(one.text for one in conclusion.findings if one.check == "null control")


def test_a_study_that_says_nothing_of_skips_is_declared_as_before(planned, tmp_path):
    record = study_record(tmp_path, "s")
    declare(planned("s", {}), record)
    assert "skips" not in record.read()
    declare(planned("s", {0: ["3-4"]}), record)
    assert record.read()["skips"] == {"0": ["3-4"]}
    assert dataclasses.asdict(planned("s", {}).study)["skips"] == {}
