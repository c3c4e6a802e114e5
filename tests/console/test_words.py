"""One grammar for every command: flags in any place, and a mistake is one line with exit code 1."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from typed import typed

from ablate.__main__ import COMMANDS, module_of
from ablate.console.words import Parser, SettingsParser
from ablate.run.settings import UserError

ROOT = Path(__file__).parents[2]


def ablate(*words: str) -> subprocess.CompletedProcess[str]:
    return typed(*words)


@pytest.mark.parametrize(
    "typed",
    [
        ["-m", "+experiment=mine", "--config-dir", "my", "seed=0,1", "--outputs", "out"],
        ["+experiment=mine", "--config-dir=my", "seed=0,1", "where.outputs=out", "-m"],
        ["--outputs=out", "--config-dir", "my", "--multirun", "+experiment=mine", "seed=0,1"],
    ],
)
def test_flags_stand_anywhere(typed):
    line = SettingsParser("train", "").read(typed)
    assert line.words == ["+experiment=mine", "seed=0,1"]
    assert (line.multirun, line.config_dir, line.outputs) == (True, "my", "out")


def test_the_folder_of_the_records_is_spelled_alike_by_those_that_read():
    assert Parser("report", "").read(["where.outputs=out"]).outputs == "out"
    assert Parser("report", "").read([]).outputs == "outputs"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--config-dir", ""], "--config-dir: must not be empty"),
        (["where.outputs="], "--outputs: must not be empty"),
        (["--config-dri", "x"], "--config-dri: not understood; did you mean --config-dir?"),
        (["--wrong"], "--wrong: not understood; ablate train --help lists what there is"),
        (["--config-dir"], "--config-dir: expected one argument; see ablate train --help"),
    ],
)
def test_a_wrong_flag_is_one_line(typed, message):
    with pytest.raises(UserError) as error:
        SettingsParser("train", "").read(typed)
    assert str(error.value) == message


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_of_its_own(name, capsys):
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(module_of(name)).main(["--help"])
    assert not stop.value.code
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: ablate {name} ")
    assert "--outputs" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("typed", [[], ["--help"], ["help"]])
def test_the_commands_are_listed(typed):
    done = ablate(*typed)
    assert done.returncode == 0
    for name, what in COMMANDS.items():
        assert f"  {name:10}{what}" in done.stdout


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["tarin"], "error: tarin: no such command; did you mean train?"),
        (["export"], "error: RUN: must be given, or --verify FOLDER; see ablate export --help"),
        (["train", "--confg-dir", "x"], "error: --confg-dir: not understood; did you mean --config-dir?"),
        (["report", "--wrong"], "error: --wrong: not understood; ablate report --help lists what there is"),
    ],
)
def test_a_mistake_is_one_line_and_exit_1(typed, message):
    done = ablate(*typed)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message + "\n")


def test_who_stops_reading_the_output_sees_no_error():
    done = subprocess.run(f"{sys.executable} -m ablate | true", shell=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
