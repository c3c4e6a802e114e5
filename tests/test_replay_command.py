"""The command: what it says of a planted batch, and of what cannot be looked at."""

import dataclasses

import pytest
from runs import interrupt, record_of

from ablate import replay
from ablate.run.record import Record

LONG = {"length": {"lengths": [64], "starts": [0]}, "tokens": 512 * 60}


@pytest.fixture
def record(tiny) -> Record:
    """A run that has begun, and taken no step."""
    settings = tiny()
    begun = record_of(settings)
    begun.begin(settings, begun.folder.name, {"device": "cpu"})
    return begun


def refused(capsys, *words: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        replay.main([*words])
    assert stop.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--step", "20"], "error: --step 20: must be a step from 1 to 19"),
        (["--step", "0"], "error: --step 0: must be a step from 1 to 19"),
        (["--step", "x"], "error: --step: invalid int value: 'x'; see ablate replay --help"),
        (["--step", "5", "--rows", "-1"], "error: --rows -1: must be 0 or more"),
        ([], "has noted no spike; --step must be given, a step from 1 to 19"),
        (["--step", "5"], "has no text of fingerprint"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(record, capsys, words, said):
    outputs = f"--outputs={record.folder.parents[1]}"
    assert said in refused(capsys, record.id, *words, outputs)


def test_runs_that_there_are_not_and_that_no_process_takes_again(tiny, record, capsys):
    outputs = f"--outputs={record.folder.parents[1]}"
    assert "no such run" in refused(capsys, "nothing", outputs)
    settings = tiny()
    where = dataclasses.replace(settings.where, strategy="zero2")
    record.begin(dataclasses.replace(settings, where=where), "", {})
    assert "where.strategy=zero2: DeepSpeed took its steps" in refused(capsys, record.id, "--step", "5", outputs)


@pytest.mark.slow
def test_a_planted_batch_is_shown(tiny, capsys, monkeypatch):
    settings = tiny(**LONG, trouble={"kind": "noise", "start": 45, "domain": "code"}, precision="bf16-mixed")
    interrupt(settings, 48)
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()
    replay.main([record_of(settings).id, "--step", "45", "--rows", "3", f"--outputs={settings.where.outputs}"])
    said = capsys.readouterr().out
    assert f"{record_of(settings).id}, step 45: batch\n" in said
    assert "no checkpoint or trunk is left to go on from: 45 steps are trained again" in said
    assert "the weights are those that it had" in " ".join(said.split())
    assert "gradient norm in float32" in said
    assert "3 of 8 rows, the worst for their domain first, after 25 steps" in said
    assert max(map(len, said.splitlines())) <= 80
    assert said.partition("repeated  text")[2].splitlines()[1].startswith("code")
    assert "\x1b" not in said


@pytest.mark.slow
def test_a_step_with_nothing_to_compare_with_is_one_line(tiny, capsys):
    settings = tiny(length={"lengths": [32, 64], "starts": [0, 0.3]})
    interrupt(settings, 18)
    said = refused(capsys, record_of(settings).id, "--step", "4", f"--outputs={settings.where.outputs}")
    assert said.startswith("error: --step 4: there are 1 steps of the same stage, row length and number of rows")
