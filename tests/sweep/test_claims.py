"""Claims: one owner at a time, taken over when the owner is dead, never while it lives."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ablate.run import whole
from ablate.run.failures import Claimed
from ablate.run.record import Record
from ablate.sweep import claims
from ablate.sweep.claims import claim, reserve, state

SECONDS = 120.0  # that a wait may take
HOLD = """
import sys, time
from pathlib import Path
from ablate.run.record import Record
from ablate.sweep.claims import claim
with claim(Record(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""
RACE = """
import os, sys, time
from pathlib import Path
from ablate.run.record import Record
from ablate.run import whole
from ablate.run.failures import Claimed
from ablate.sweep.claims import claim
run, losers, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
try:
    with claim(Record(run)):
        print("won", flush=True)
        deadline = time.monotonic() + seconds
        while len(list(run.parent.glob("lost-*"))) < losers and time.monotonic() < deadline:
            time.sleep(0.02)
except Claimed:
    print("lost", flush=True)
    run.with_name(f"lost-{os.getpid()}").touch()
"""


def holder(record: Record) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(record.folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_held_run_is_refused_with_its_owner(tmp_path):
    record = Record(tmp_path / "run")
    process = holder(record)
    try:
        assert state(record) == "running"
        with pytest.raises(Claimed, match=f"process {process.pid} on {socket.gethostname()}"), claim(record):
            pass
    finally:
        process.kill()
        process.wait()


def test_a_killed_owner_is_taken_over_at_once(tmp_path):
    record = Record(tmp_path / "run")
    process = holder(record)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state(record) == "missing"
    with claim(record):
        assert state(record) == "running"
    assert state(record) == "missing"


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "HEARTBEAT_SECONDS", 0.05)
    record = Record(tmp_path)
    with claim(record):
        path = tmp_path / "claim.json"
        os.utime(path, (0, 0))
        deadline = time.monotonic() + SECONDS
        while path.stat().st_mtime < time.time() - 60:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("damage", [b"", b"\xff", b"[1]", b'{"pid": 1}', b'{"pid": 2, "host": "x", "sha256": "0"}'])
def test_a_damaged_claim_is_held_while_its_heart_beats_and_written_again(tmp_path, monkeypatch, damage):
    record, path = Record(tmp_path), tmp_path / "claim.json"
    path.write_bytes(damage)
    assert state(record) == "running"
    with pytest.raises(Claimed, match="by somebody whose claim is damaged"):
        reserve(record, os.getpid(), [])
    monkeypatch.setattr(claims, "STALE_SECONDS", 0.0)
    assert state(record) == "missing"
    monkeypatch.undo()
    path.unlink()
    monkeypatch.setattr(claims, "HEARTBEAT_SECONDS", 0.05)
    with claim(record, {"key"}):
        path.write_bytes(damage)
        deadline = time.monotonic() + SECONDS
        while not claims._owner(path):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        owner = claims._owner(path) or {}
        assert (owner["pid"], owner["leaves"]) == (os.getpid(), ["key"])
    assert not path.exists()


def test_between_a_look_at_the_claim_and_ones_own_nobody_else_claims(tmp_path, monkeypatch):
    def slowly(path):
        found = owner(path)
        time.sleep(0.2)
        return found

    owner, record = claims._owner, Record(tmp_path)
    monkeypatch.setattr(claims, "_owner", slowly)
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(reserve, record, process, []) for process in (os.getpid(), 1)]
    assert sorted(isinstance(one.exception(), Claimed) for one in both) == [False, True]


@pytest.mark.slow
def test_of_many_at_once_exactly_one_wins(tmp_path):
    command = [sys.executable, "-c", RACE, str(tmp_path / "run"), "5", str(SECONDS)]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    try:
        streams = [(racer.stdin, racer.stdout) for racer in racers if racer.stdin and racer.stdout]
        assert [stdout.readline() for _, stdout in streams] == ["ready\n"] * 6
        for stdin, _ in streams:
            stdin.write("go\n")
            stdin.flush()
        said = [racer.communicate(timeout=2 * SECONDS)[0].strip() for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    assert sorted(said) == ["lost"] * 5 + ["won"]


def test_done_and_failed(tmp_path):
    record = Record(tmp_path)
    record.fail("crashed", "why")
    assert state(record) == "failed"
    record.finish({"outcome": "finished"})
    assert state(record) == "done"


@pytest.mark.parametrize(
    "forged",
    [{"leaves": 3}, {"leaves": [[1]]}, {"pid": "../1"}, {"pid": [1]}, {"machine": [1]}, {"host": "a\nb"}, {"born": 7}],
)
def test_a_claim_that_no_owner_writes_is_damaged(tmp_path, forged):
    record = Record(tmp_path / "runs" / "run")
    reserve(record, os.getpid(), ["key"])
    path = record.folder / "claim.json"
    whole.write(path, (claims._owner(path) or {}) | forged)
    assert state(record) == "running"
    assert claims.promised(str(tmp_path)) == set()
    with pytest.raises(Claimed, match="by somebody whose claim is damaged"):
        reserve(record, os.getpid(), [])
