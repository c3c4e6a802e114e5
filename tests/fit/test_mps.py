"""NVIDIA's service for several runs on a GPU, by a control program that only notes what it is told."""

import os
from pathlib import Path

import pytest
from runs import train_run

from ablate.fit import mps
from ablate.run.settings import SettingsError
from ablate.run.where import Where


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program, notes = tmp_path / mps.CONTROL, tmp_path / "told"
    program.write_text(f"#!/bin/sh\necho $@ >> {notes}\nexit 1\n")  # as one that runs already
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return notes


def test_it_is_started_for_several_runs_a_gpu(told):
    assert mps.start(Where(runs_per_device=4, device="cuda"))
    assert told.read_text() == "-d\n"


@pytest.mark.parametrize("where", [Where(), Where(runs_per_device=4, device="cpu")])
def test_it_is_left_alone_otherwise(told, where):
    assert not mps.start(where)
    assert not told.exists()


def test_without_it_runs_take_turns(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not mps.start(Where(runs_per_device=4, device="cuda"))


def test_graphs_are_refused_on_a_cpu_and_without_compilation(tiny):
    with pytest.raises(SettingsError, match=r"where\.graphs=true: must be false on a CPU"):
        train_run(tiny(where={"graphs": True, "compile": True, "device": "cpu"}))
    with pytest.raises(SettingsError, match=r"where\.graphs=True: must be false with where\.compile=false"):
        tiny(where={"graphs": True})
