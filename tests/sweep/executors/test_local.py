"""A sweep survives its runs: whatever one does, the others are trained, and the reason is told."""

import dataclasses
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from runs import caught

from ablate.run.settings import Study
from ablate.sweep.executors.local import Local
from ablate.sweep.launcher import prepared
from ablate.sweep.study import plan

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tiny):
    """runs(tokens=...): the runs of a study of two arms and two seeds."""

    def make(**changes):
        base = tiny(**changes)
        other = dataclasses.replace(base, optimizer=dataclasses.replace(base.optimizer, lr=1e-3))
        study = plan(Study(name="s", factor=["optimizer"], seeds=[0, 1]), base, {"slow": other})
        return prepared(study).distinct()

    return make


def train(local: Local, during=lambda: None) -> list[str]:
    local.train(during)
    print(*(f"{o.run.id}: {o.state} after {o.tries} tries {o.failures}" for o in local.outcomes), sep="\n")
    return [outcome.state for outcome in local.outcomes]


def test_all_runs_are_trained_and_then_none(runs):
    todo = runs()
    where = todo[0].settings.where
    assert train(Local(todo, where)) == ["done"] * 4
    results = {run.id: (Path(where.outputs) / "runs" / run.id / "result.json").stat().st_mtime_ns for run in todo}
    again = Local(todo, where)
    assert train(again) == ["done"] * 4
    assert [outcome.tries for outcome in again.outcomes] == [0] * 4
    assert results == {i: (Path(where.outputs) / "runs" / i / "result.json").stat().st_mtime_ns for i in results}


def test_a_run_that_raises_is_listed_and_the_others_go_on(runs):
    todo = runs()
    blocked = Path(todo[0].settings.where.outputs) / "runs" / todo[1].id
    blocked.mkdir(parents=True)
    (blocked / "config.yaml").mkdir()  # the record cannot be written
    local = Local(todo, todo[0].settings.where)
    assert train(local) == ["done", "failed", "done", "done"]
    assert "config.yaml" in local.outcomes[1].reason


def test_a_killed_run_is_tried_again_and_then_reported(runs):
    todo = runs(tokens=163_840)
    killed = []

    def kill_first():
        if process := caught(local.record(local.outcomes[0])):
            killed.append(local.outcomes[0].tries)
            os.kill(process, signal.SIGKILL)

    local = Local(todo, todo[0].settings.where)
    states = train(local, kill_first)
    assert states == ["failed", "done", "done", "done"]
    assert len(set(killed)) == 2  # once, and once more: where.retries=1
    assert "SIGKILL" in local.outcomes[0].reason
    # started again it goes on from its checkpoint and is done
    assert train(Local(todo[:1], todo[0].settings.where)) == ["done"]


def test_two_launchers_never_train_the_same_run_twice(runs):
    todo = runs(tokens=40_960)
    where = todo[0].settings.where
    first, second = Local(todo, where), Local(list(reversed(todo)), where)
    thread = threading.Thread(target=train, args=(first,))
    thread.start()
    assert train(second) == ["done"] * 4
    thread.join()
    assert [outcome.state for outcome in first.outcomes] == ["done"] * 4
    for one in todo:
        log = (Path(where.outputs) / "runs" / one.id / "log.txt").read_text()
        rows = [
            json.loads(r) for r in (Path(where.outputs) / "runs" / one.id / "metrics.jsonl").read_text().splitlines()
        ]
        steps = [row["step"] for row in rows if row["kind"] == "train"]
        assert steps == sorted(set(steps)), f"trained twice: {one.id}\n{log}"
        assert (Path(where.outputs) / "runs" / one.id / "result.json").exists()


def test_workers_stop_with_a_checkpoint_when_the_launcher_is_gone(runs, forkserver):
    todo = runs(tokens=1_024_000)
    launcher = forkserver.Process(target=_launch, args=(todo,))
    launcher.start()
    record = Local(todo, todo[0].settings.where).record(Local(todo, todo[0].settings.where).outcomes[0])
    while not record.last_row():
        time.sleep(0.05)
        assert launcher.is_alive(), launcher.exitcode
    launcher.kill()
    launcher.join()
    while not (failure := record.failure()):  # until the worker has saved, however slow the machine is
        time.sleep(0.1)
    assert failure["outcome"] == "interrupted"
    assert list(record.checkpoints.glob("step-*"))


def _launch(runs):
    Local(runs, runs[0].settings.where).train(lambda: None)
