"""Runs by a line of the shell each, which waits for the run or hands it over: the same weights, whoever is killed."""

import dataclasses
import functools
import os
import signal
import subprocess

import pytest
from runs import caught

from ablate.run.parse import SettingsError
from ablate.run.settings import Study
from ablate.sweep import trunk
from ablate.sweep.executors import one
from ablate.sweep.executors.command import Command, line_of
from ablate.sweep.executors.local import Local
from ablate.sweep.launcher import prepared
from ablate.sweep.study import plan
from ablate.sweep.worker import alone

WAITS, HANDS_OVER = "{run}", "setsid --fork sh -c {quoted}"


@pytest.fixture
def study(tiny):
    """study(command): two arms that share their first half, of two seeds."""
    return functools.partial(study_in, tiny)


def study_in(tiny, command: str, **where):
    base = tiny(tokens=81_920, where={"executor": "command", "command": command} | where)
    late = dataclasses.replace(base, schedule=dataclasses.replace(base.schedule, final=0.5))
    return prepared(plan(Study(name="s", factor=["schedule"], seeds=[0, 1]), base, {"high": late}))


def executor(todo, kind=Command):
    where = todo.distinct()[0].settings.where
    return kind(todo.distinct(), where, trunk.branches(trunk.beginnings(todo)))


@pytest.fixture(scope="module")
def here_alone(shared_tiny) -> list[str]:
    """The weights of the study's runs, trained on this machine."""
    there = executor(study_in(shared_tiny, WAITS, workers=2), Local)
    there.train(lambda: None)
    return weights(there)


def weights(one: Local) -> list[str]:
    return [(one.record(outcome).result() or {})["weights_sha256"] for outcome in one.outcomes]


@pytest.mark.slow
@pytest.mark.parametrize("command", [WAITS, HANDS_OVER])
def test_a_study_with_a_killed_run_ends_as_on_this_machine(study, here_alone, command):
    todo = study(command, workers=2)
    here = executor(todo)
    killed = []

    def kill_first():
        if not killed and (process := caught(here.record(here.outcomes[0]))):
            killed.append(process)
            os.kill(process, signal.SIGKILL)

    here.train(kill_first)
    assert [outcome.state for outcome in here.outcomes] == ["done"] * 4, [o.failures for o in here.outcomes]
    assert killed
    assert here.outcomes[0].tries == 2
    assert sum(bool((here.record(outcome).result() or {})["grown_from"]) for outcome in here.outcomes) == 2
    assert weights(here) == here_alone


@pytest.mark.slow
def test_a_line_that_fails_is_told_with_what_it_said(study):
    here = executor(study("echo no such node; exit 3; {run}"))
    here.train(lambda: None)
    assert {outcome.state for outcome in here.outcomes} == {"failed"}
    assert here.outcomes[0].reason == "failed: where.command ended with exit code 3: no such node"


@pytest.mark.slow
def test_a_run_that_nobody_begins_is_hung(study):
    here = executor(study("true {quoted}", stall_minutes=0.001, retries=0))
    here.train(lambda: None)
    assert {outcome.reason for outcome in here.outcomes} == {"hung: nobody has begun the run"}


@pytest.mark.parametrize("command", ["", "train", "{run} {node}", "{run} {", "{} {run}"])
def test_a_line_that_names_no_run_or_something_unknown_is_refused(tiny, command):
    with pytest.raises(SettingsError, match=r"^where\.command=.*: must be a line with \{run\}, \{quoted\} or \{file\}"):
        tiny(where={"executor": "command", "command": command})


def test_what_is_put_into_a_line_is_one_word_or_a_command(tmp_path):
    file, name = tmp_path / "a; rm -rf b" / "task.json", "$(reboot) s0"
    line = line_of("printf '%s\\n' {file} {id} {name} {quoted}", file, "x", name)
    said = subprocess.check_output(["bash", "-c", line])
    first, id, shown, run = said.decode().splitlines()
    assert (first, id, shown) == (str(file), "x", name)
    assert subprocess.check_output(["bash", "-c", f"printf '%s\\n' {run}"]).decode().splitlines()[:2] == ["sh", "-c"]


def test_a_task_is_read_as_it_was_written(tiny):
    task = alone(tiny(where={"executor": "command", "command": WAITS}))
    again = one.read(one.write(task))
    assert again.settings.where.executor == "local"
    assert (again.record, again.corpus.resolve(), again.ways) == (task.record, task.corpus.resolve(), task.ways)
