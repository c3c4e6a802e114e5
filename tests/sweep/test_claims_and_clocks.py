"""Claims between machines whose clocks differ or are set: no live run is taken, and a dead one within a minute."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tiny import RESULT

from ablate.run import machine, owners, whole
from ablate.run.failures import Claimed
from ablate.run.record import Record
from ablate.run.settings import Settings
from ablate.sweep import claims, worker
from ablate.sweep.claims import certain, claim, promised, reserve, settled, state

DAY = 86_400.0
MINUTE = 60.0
SKEWS = {
    "equal clocks": lambda seconds: 0.0,
    "90 s ahead": lambda seconds: 90.0,
    "90 s behind": lambda seconds: -90.0,
    "tomorrow": lambda seconds: DAY,
    "yesterday": lambda seconds: -DAY,
    "set back by an hour after 20 s": lambda seconds: -3600.0 * (seconds > 20),
    "set forward by an hour after 20 s": lambda seconds: 3600.0 * (seconds > 20),
    "since 1970": lambda seconds: -1e9,
}
skewed = pytest.mark.parametrize("skew", SKEWS.values(), ids=SKEWS.keys())


@dataclass
class World:
    """A machine elsewhere that holds a run, and the clock by which both machines live; nobody asks what time it is."""

    record: Record
    skew: Callable[[float], float] = SKEWS["equal clocks"]
    seconds: float = 0.0
    alive: bool = True
    beats: list[float] = field(default_factory=list)
    host: str = "another-machine"

    @property
    def path(self):
        return self.record.folder / "claim.json"

    def begin(self) -> None:
        whole.write(self.path, {"machine": "its boot", "pid": 1, "born": "7", "host": self.host, "leaves": ["key"]})
        self.beat()

    def beat(self) -> None:
        stamp = 1.8e9 + self.seconds + self.skew(self.seconds)
        os.utime(self.path, (stamp, stamp))
        self.beats.append(self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def time(self) -> float:
        raise AssertionError("a clock was believed")

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self.alive and self.seconds - self.beats[-1] >= claims.HEARTBEAT_SECONDS:
            self.beat()


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    world = World(Record(tmp_path / "runs" / "run"))
    world.record.folder.mkdir(parents=True)
    monkeypatch.setattr(claims, "time", world)
    monkeypatch.setattr(owners, "time", world)
    return world


@skewed
def test_a_live_run_elsewhere_is_never_taken(world, skew):
    world.skew = skew
    world.begin()
    while world.seconds < 10 * MINUTE:
        assert state(world.record) == "running"
        with pytest.raises(Claimed):
            reserve(world.record, os.getpid(), [])
        world.sleep(1)
    assert certain(world.record)


@skewed
def test_a_dead_run_elsewhere_is_taken_within_a_minute_by_who_has_just_come(world, skew, capsys):
    world.skew = skew
    world.begin()
    world.alive = False
    assert not certain(world.record)
    with claim(world.record):
        assert claims.STALE_SECONDS <= world.seconds <= MINUTE
        assert (claims._owner(world.path) or {})["pid"] == os.getpid()
    said = "run run is claimed by process 1 on another-machine: waiting up to 50 s for a sign that it lives\n"
    assert capsys.readouterr().out == said


@skewed
def test_who_comes_while_the_owner_lives_is_told_after_a_beat(world, skew):
    world.skew = skew
    world.begin()
    with pytest.raises(Claimed, match="run run is being trained by process 1 on another-machine"), claim(world.record):
        pass
    assert world.seconds <= claims.HEARTBEAT_SECONDS + 1


@skewed
def test_an_owner_that_dies_under_watch_is_taken_within_a_minute(world, skew):
    world.skew = skew
    world.begin()
    while world.seconds < 40:
        assert state(world.record) == "running"
        world.sleep(1)
    world.alive, died = False, world.seconds
    assert settled(world.record) == "running"
    assert world.seconds == died
    assert promised(str(world.record.folder.parents[1])) == {"key"}
    while state(world.record) == "running":
        world.sleep(1)
    assert claims.STALE_SECONDS - claims.HEARTBEAT_SECONDS <= world.seconds - died <= MINUTE
    assert promised(str(world.record.folder.parents[1])) == set()


def test_a_machine_of_the_same_name_is_another_one(world):
    """Also where a process of that number is seen here, and one that was started again, or a container, is another."""
    world.host = socket.gethostname()
    world.begin()
    assert state(world.record) == "running"
    world.alive = False
    assert settled(world.record) == "missing"


def test_who_waits_finds_the_run_done_that_its_owner_finishes(world, monkeypatch):
    """And does not train it again."""

    def finish(seconds: float) -> None:
        world.record.finish(RESULT)
        world.path.unlink()

    world.begin()
    monkeypatch.setattr(world, "sleep", finish)
    monkeypatch.setattr(worker, "opened", lambda corpus: corpus)
    monkeypatch.setattr(worker, "missing", lambda *_: set())
    monkeypatch.setattr(worker, "_ask", lambda task: None)
    monkeypatch.setattr(worker, "_train_claimed", lambda *_: pytest.fail("trained again"))
    task = worker.Task(Settings(), world.record.folder, world.record)
    assert RESULT.items() <= worker.train(task).items()


def test_a_boot_is_of_this_machine_and_of_the_processes_that_it_can_see():
    boot, processes = machine.boot().split()
    assert len(boot) == 36
    assert processes.startswith("pid:[")


OWNER = """
import os, sys, time
from pathlib import Path
from ablate.run import machine
from ablate.run.record import Record
from ablate.sweep import claims
folder, boot, skew, claims.HEARTBEAT_SECONDS = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), 0.1
real, machine.boot = time.time, lambda: boot
time.time = lambda: real() + skew
Path.touch = lambda path: os.utime(path, (time.time(), time.time()))
with claims.claim(Record(folder)):
    print("held", flush=True)
    time.sleep(600)
"""


def owner(record: Record, boot: str, skew: float) -> subprocess.Popen:
    command = [sys.executable, "-c", OWNER, str(record.folder), boot, str(skew)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


class Clock:
    """By which these tests count, while their owners live by that of the machine: it goes on when a test says so."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    monkeypatch.setattr(owners, "time", clock := Clock())
    return clock


@pytest.mark.slow
@pytest.mark.parametrize(("ours", "theirs"), [(90.0, 0.0), (-DAY, 0.0), (0.0, DAY)])
def test_real_processes_of_two_machines(tmp_path, monkeypatch, clock, ours, theirs):
    record, real = Record(tmp_path / "run"), time.time
    monkeypatch.setattr(time, "time", lambda: real() + ours)
    process = owner(record, "another boot", theirs)
    path = record.folder / "claim.json"
    try:
        with pytest.raises(Claimed), claim(record):
            pass
        for _ in range(5):
            beat = path.stat().st_mtime_ns
            while path.stat().st_mtime_ns == beat:
                time.sleep(0.01)
            clock.seconds += claims.STALE_SECONDS
            assert state(record) == "running"
        process.kill()
        process.wait()
        while state(record) == "running":
            clock.seconds += claims.STALE_SECONDS / 2
        with claim(record):
            pass
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("boot", ["another boot", machine.boot()])
def test_an_owner_that_was_stopped_finds_its_claim_taken_and_ends(tmp_path, clock, boot):
    record = Record(tmp_path / "run")
    process = owner(record, boot, 0.0)
    try:
        assert state(record) == "running"
        process.send_signal(signal.SIGSTOP)
        while state(record) == "running":
            clock.seconds += claims.STALE_SECONDS / 2
        with claim(record):
            process.send_signal(signal.SIGCONT)
            assert process.wait(500) == -signal.SIGKILL
            assert (claims._owner(record.folder / "claim.json") or {})["pid"] == os.getpid()
    finally:
        process.kill()
        process.wait()
