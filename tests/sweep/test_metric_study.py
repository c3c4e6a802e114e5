"""Studies of trained runs: each reads them by its own metric and its own declaration."""

import dataclasses
import json

import pytest
from rich.console import Console

from ablate.run.record import run_record
from ablate.run.study import Budget, Controls, Study
from ablate.run.study_record import study_record
from ablate.scores.metrics import METRICS, Metric, bits_per_byte
from ablate.sweep import conduct
from ablate.sweep.launcher import prepared
from ablate.sweep.study import Plan, plan
from ablate.train import train
from ablate.verdict.compare import verdicts
from ablate.verdict.evidence import read

NONE = Controls(null_seeds=0, positive=[])


def carried_out(whole: Plan) -> str:
    console = Console(record=True, width=100)
    conduct.run(whole, console)
    return console.export_text()


def evidence_of(whole: Plan):
    return read(study_record(whole.arms[0].settings.where.outputs, whole.study.name))


@pytest.fixture
def study(tiny):
    """study("s", focus="qa", metric="rest"): a base, and an arm that hardly learns."""

    def make(name: str, focus: str = "qa", **declared) -> Plan:
        base = tiny(data={"focus": focus})
        frozen = dataclasses.replace(base, optimizer=dataclasses.replace(base.optimizer, eps=10.0))
        whole = Study(name=name, factor=["optimizer.eps"], controls=NONE, **declared)
        return prepared(plan(whole, base, {"frozen": frozen}))

    return make


@pytest.mark.slow
def test_two_studies_of_the_same_runs_leave_out_their_own_focus(study):
    """`data.focus` is no part of what a run is: it once decided the number that the first study stored for all."""
    first, second = (study(f"on_{focus}", focus, seeds=[0, 1], metric="rest") for focus in ("qa", "code"))
    carried_out(first)
    done = [run_record(run.settings.where.outputs, run.id).folder / "result.json" for run in first.runs]
    before = [path.stat().st_mtime_ns for path in done]
    carried_out(second)
    assert [run.id for run in second.runs] == [run.id for run in first.runs]
    assert [path.stat().st_mtime_ns for path in done] == before  # nothing was trained again
    for whole, others in ((first, ("general", "code")), (second, ("general", "qa"))):
        evidence = evidence_of(whole)
        sums = evidence.by_arm["base"][0].result["sums"]
        expected = sum(bits_per_byte(sums[domain]["nats"], sums[domain]["bytes"]) for domain in others) / 2
        assert evidence.finals("base", "rest")[0] == expected
        assert verdicts(evidence)[0].base_value == pytest.approx(sum(evidence.finals("base", "rest").values()) / 2)
    assert evidence_of(first).finals("base", "rest") != evidence_of(second).finals("base", "rest")


def _accuracy(scores, scope) -> float:
    return sum(2 ** -bits_per_byte(part["nats"], part["bytes"]) for part in scores["sums"].values()) / len(
        scope.domains
    )


@pytest.mark.slow
def test_a_race_of_a_metric_that_is_better_when_higher(study, monkeypatch):
    monkeypatch.setitem(METRICS, "accuracy", Metric("accuracy", "share of bytes", "higher", _accuracy))
    carried_out(study("before", seeds=[0, 1, 2, 3]))  # whose workers know no such metric
    whole = study("s", seeds=[0, 1, 2, 3], metric="accuracy", margin=0.001, budget=Budget(race="best", looks=[4]))
    printed = carried_out(whole)
    (frozen,) = verdicts(evidence_of(whole))
    assert (frozen.word, frozen.provisional) == ("worse", False)
    assert frozen.effect.mean < 0
    assert frozen.effect.interval[0] < frozen.effect.mean < frozen.effect.interval[1] < 0
    assert "accuracy: share of bytes, higher is better" in printed
    assert "`frozen` is worse than `base` by" in printed
    decision = study_record(whole.arms[0].settings.where.outputs, "s").decisions()["frozen"]
    assert decision["mean"] == frozen.effect.mean
    assert decision["word"] == "worse"


@pytest.mark.slow
def test_a_metric_that_no_evaluation_holds_is_read_at_the_end(tiny, monkeypatch):
    """Every run once crashed at its first evaluation."""

    def hardest(scores, _) -> float:
        return max(max(rows["nats"]) for rows in scores["validation"].values())

    monkeypatch.setitem(METRICS, "hardest", Metric("hardest", "nats", "lower", hardest))
    assert train(dataclasses.replace(tiny(), study=Study(metric="hardest"))) > 1


@pytest.mark.slow
def test_a_record_of_before_is_read_as_it_was(study):
    whole = study("s", seeds=[0], metric="rest")
    carried_out(whole)
    path = evidence_of(whole).by_arm["base"][0].record.folder / "result.json"
    result = json.loads(path.read_text())
    del result["sums"], result["sha256"]  # records of before had neither
    path.write_text(json.dumps(result | {"bpb": {"general": 3.0, "code": 2.0, "qa": 1.0, "micro": 2.0, "rest": 9.0}}))
    assert evidence_of(whole).finals("base", "rest") == {0: 2.5}
