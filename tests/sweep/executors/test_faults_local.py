"""Faults of a single run, in one process with the launcher: it hangs, its trunk is half-written, damaged or gone."""

import dataclasses
import os
import shutil
import signal
import threading
from collections import deque
from pathlib import Path

import pytest
from runs import caught, elsewhere, steps_shared, train_run

from ablate.run import record as records
from ablate.run.record import Record, run_record
from ablate.run.settings import Settings, Study
from ablate.run.trunks import trunk_record, trunks
from ablate.sweep.executors import attempt
from ablate.sweep.executors.executor import Outcome
from ablate.sweep.executors.local import Local
from ablate.sweep.launcher import prepared
from ablate.sweep.study import Plan, plan
from ablate.sweep.trunk import Branch, beginnings, branches, forest, growth

pytestmark = pytest.mark.slow

FIXED = {"schedule": {"warmup": 2, "decay": 4}, "length": {"lengths": [64], "starts": [0]}}


@pytest.fixture
def whole(tiny) -> Plan:
    """Three runs of one seed that share the first half of their steps."""
    arms = {
        domain: tiny(**FIXED, mixture={"stages": {"late": {"start": 0.5, "weights": {domain: 1}}}})
        for domain in ("qa", "code")
    }
    base = tiny(**FIXED)
    study = plan(Study(name="s", factor=["mixture"], seeds=[0]), base, arms)
    return prepared(study)


def outputs_of(whole: Plan) -> str:
    return whole.arms[0].settings.where.outputs


def ways_of(whole: Plan) -> dict[str, list[Branch]]:
    return branches(beginnings(whole))


def trained(whole: Plan, order: int = 1, during=lambda local: None) -> list[Outcome]:
    local = Local(whole.distinct()[::order], whole.arms[0].settings.where, ways_of(whole))
    local.train(lambda: during(local))
    return local.outcomes


def weights(whole: Plan) -> dict[str, str]:
    found = {run.id: run_record(outputs_of(whole), run.id).result() for run in whole.distinct()}
    return {run: (result or {})["weights_sha256"] for run, result in found.items()}


def steps_taken(whole: Plan) -> int:
    results = [run_record(outputs_of(whole), run.id).result() or {} for run in whole.distinct()]
    return sum(one["step"] - (one["grown_from"] or {"step": 0})["step"] for one in results)


def moved(whole: Plan, folder: Path) -> Plan:
    """The same study, in another folder."""
    where = elsewhere(whole.arms[0].settings, folder).where
    arms = [dataclasses.replace(a, settings=dataclasses.replace(a.settings, where=where)) for a in whole.arms]
    return Plan(whole.study, arms)


@pytest.fixture
def expected(whole, tmp_path) -> dict[str, str]:
    """Weights of the runs trained one by one, each alone."""
    alone = moved(whole, tmp_path / "alone")
    Local(alone.distinct(), alone.arms[0].settings.where).train(lambda: None)
    return weights(alone)


def test_a_run_that_hangs_is_stopped_and_tried_again(tiny, monkeypatch):
    monkeypatch.setattr(attempt, "GRACE", 1.0)
    settings = tiny(tokens=163_840, where={"stall_minutes": 30})
    study = plan(Study(name="s", factor=[], seeds=[0, 1]), settings, {})
    runs = prepared(study).distinct()
    local, stopped = Local(runs, settings.where), []

    def stop_first():
        if not stopped and (process := caught(local.record(local.outcomes[0]))):
            os.kill(process, signal.SIGSTOP)
            stopped.append(process)
        for tried, _ in local.attempts:
            if tried.process.pid in stopped:
                tried.pulse.at -= 3600  # an hour goes by, at every look

    local.train(stop_first)
    assert stopped
    assert [outcome.state for outcome in local.outcomes] == ["done", "done"]
    assert [outcome.tries for outcome in local.outcomes] == [2, 1]
    assert local.outcomes[0].failures[0].startswith("hung: no step for ")
    assert not Path(f"/proc/{stopped[0]}").exists()


def test_patience_is_counted_from_the_last_step_and_longer_before_the_first(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(attempt.time, "monotonic", lambda: now[0])
    record = Record(tmp_path)
    pulse = attempt.Pulse(record)
    now[0] = 50.0
    assert pulse.silent() == 50
    record.beat()
    assert pulse.silent() == 0
    now[0] = 60.0
    assert pulse.silent() == 10
    record.checkpoints.mkdir()
    assert pulse.silent() == 0


def test_killed_in_the_midst_of_leaving_a_trunk(whole, expected, forkserver):
    first = whole.distinct()[0]
    process = forkserver.Process(target=_killed_leaving, args=(first.settings, ways_of(whole)[first.id]))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    trunk_folder = Path(outputs_of(whole), "trunks")
    assert [path.name[0] for path in trunk_folder.iterdir()] == ["."]  # half of one
    assert trunks(outputs_of(whole)) == []
    assert {outcome.state for outcome in trained(whole)} == {"done"}
    assert weights(whole) == expected
    assert steps_taken(whole) == steps_shared(forest(beginnings(whole)))
    assert [path for path in trunk_folder.iterdir() if path.name.startswith(".")] == []


def test_killed_between_saving_and_leaving_the_trunk_it_is_left_when_going_on(whole, expected, forkserver):
    first = whole.distinct()[0]
    process = forkserver.Process(target=_killed_leaving, args=(first.settings, ways_of(whole)[first.id]))
    process.start()
    process.join()
    branch = ways_of(whole)[first.id][0]
    assert run_record(outputs_of(whole), first.id).saved_step == branch.step
    assert not trunk_record(outputs_of(whole), branch.key).exists
    outcomes = trained(whole)
    assert [outcome.failures for outcome in outcomes] == [[], [], []]
    grown = [(run_record(outputs_of(whole), run.id).result() or {})["grown_from"] for run in whole.distinct()]
    assert [one and one["run"] for one in grown] == [None, first.id, first.id]


def test_a_run_that_was_just_killed_still_promises_its_trunk(whole):
    seen: list[Outcome | None] = []

    def kill_first(local):
        if not seen:
            attempt, _ = local.attempts[0]
            attempt.process.kill()
            attempt.process.join()  # dead, and the launcher has not taken note
            seen.append(local._next(deque(local.outcomes[1:])))

    outcomes = trained(whole, during=kill_first)
    assert seen == [None]
    assert [outcome.tries for outcome in outcomes] == [2, 1, 1]
    assert steps_taken(whole) == steps_shared(forest(beginnings(whole)))


DAMAGES = {
    "cut": lambda folder: os.truncate(folder / "checkpoint" / "optimizer.safetensors", 100),
    "a bit": lambda folder: _flip(folder / "checkpoint" / "weights.safetensors"),
    "rows": lambda folder: os.truncate(folder / "metrics.jsonl", 10),
    "a file gone": lambda folder: (folder / "checkpoint" / "trainer.json").unlink(),
    "no description": lambda folder: (folder / "trunk.json").write_text(""),
    "gone": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_trunk_damaged_or_removed_after_planning(whole, expected, damage):
    runs, ways, where = whole.distinct(), ways_of(whole), whole.arms[0].settings.where
    Local(runs[:1], where, ways).train(lambda: None)
    left = [trunk_record(where.outputs, branch.key) for branch in ways[runs[1].id] if branch in ways[runs[0].id]]
    assert left
    rest = Local(runs[1:], where, ways)  # planned: they will start from it
    for trunk in left:
        DAMAGES[damage](trunk.folder)
    rest.train(lambda: None)
    assert [(outcome.state, outcome.failures) for outcome in rest.outcomes] == [("done", [])] * 2
    assert weights(whole) == expected
    assert left[0].whole()  # left anew


def test_launchers_that_begin_at_opposite_ends_train_the_trunk_once(whole, expected):
    thread = threading.Thread(target=trained, args=(whole,))
    thread.start()
    outcomes = trained(whole, order=-1)
    thread.join()
    assert {outcome.state for outcome in outcomes} == {"done"}
    assert weights(whole) == expected
    assert steps_taken(whole) == steps_shared(forest(beginnings(whole)))


def _killed_leaving(settings: Settings, ways: list[Branch]) -> None:
    """Train, and be killed when the first trunk is about to appear."""
    records.Path.replace = lambda path, target: _die_at_trunk(path, target)  # pyrefly: ignore
    train_run(settings, growth(settings.where.outputs, ways))


def _die_at_trunk(path: Path, target: Path) -> None:
    if path.parent.name == "trunks":
        os.kill(os.getpid(), signal.SIGKILL)
    os.replace(path, target)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()  # not the file that other folders share
    path.write_bytes(content)
