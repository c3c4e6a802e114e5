"""Runs are spread over what a machine has, and each sees its own device alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.run.settings import Where
from ablate.sweep.executors import local
from ablate.sweep.executors.attempt import Attempt
from ablate.sweep.executors.local import PRELOADED, Slots
from ablate.sweep.worker import alone


def test_places_are_devices_times_runs_of_each():
    assert Slots(["0", "1"], 3).total == 6
    assert Slots(["0", "1"], 3, limit=2).total == 2
    assert Slots(["0"], 1, limit=4).total == 1


@given(st.integers(1, 4), st.integers(1, 3), st.lists(st.integers(0, 99)))
def test_runs_are_spread_and_no_device_holds_too_many(devices, each, moves):
    """A move takes a place where one is free and the number is even, and gives one back otherwise."""
    places, taken = Slots([str(n) for n in range(devices)], each), []
    for move in moves:
        assert places.free == (len(taken) < devices * each)
        if move % 2 == 0 and places.free:
            fewest = min(taken.count(device) for device in places.used)
            taken.append(places.take())
            assert taken.count(taken[-1]) == fewest + 1 <= each
        elif taken:
            places.give(taken.pop(move % len(taken)))


def test_the_gpus_of_a_machine_are_its_places(monkeypatch):
    monkeypatch.setattr(local, "_gpus", lambda: ["0", "1", "2", "3", "4"])
    assert list(local.slots(Where(runs_per_device=2)).used) == ["0", "1", "2", "3", "4"]
    assert local.slots(Where(runs_per_device=2)).total == 10
    assert local.slots(Where(runs_per_device=2, workers=3)).total == 3
    assert list(local.slots(Where(strategy="ddp", devices=2)).used) == ["0,1", "2,3"]
    assert list(local.slots(Where(device="cpu", workers=2)).used) == [""]


def test_a_chosen_gpu_keeps_its_name(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert list(local.slots(Where(device="cuda")).used) == ["5", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert list(local.slots(Where(device="cuda")).used) == ["0", "1"]


@pytest.mark.slow
def test_a_run_finds_its_device_in_its_environment(tiny, forkserver):
    settings = tiny(where={"device": "cpu"})
    attempt = Attempt(alone(settings), "7", forkserver)
    attempt.process.join()
    assert attempt.process.exitcode == 0
    found = [path for path in Path(settings.where.outputs, "runs").glob("*/environment.json")]
    assert [json.loads(path.read_text())["visible_devices"] for path in found] == ["7"]


@pytest.mark.slow
def test_what_is_imported_ahead_does_not_touch_cuda():
    """A process forked from one that has spoken to the driver cannot, and the variable would come too late."""
    code = f"""
import importlib, torch
touched = []
for name in ("is_available", "device_count", "init", "_lazy_init", "current_device"):
    setattr(torch.cuda, name, lambda *_, name=name: touched.append(name) or 0)
for name in {PRELOADED}:
    importlib.import_module(name)
assert not touched, touched
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
