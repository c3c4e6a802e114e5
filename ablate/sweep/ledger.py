"""Who trains what: the state of every run, and claims so that no run is trained twice.

    missing ──claim──> running ──result.json──> done
       ^                  │
       └── claim dead ────┴── failure.json ──> failed (tried again when the study is started again)

A claim is a file in the run's folder that its owner touches every few seconds. The owner is dead
when its process is gone (on this machine) or has not touched the file for STALE_SECONDS; then
anyone may take over. Taking and taking over happen under a file lock, so one of many wins.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from ablate.record import Record, make_folder
from ablate.settings import UserError

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


class Claimed(UserError):
    """Another process is training the run."""


def state(record: Record) -> str:
    """One of done, running, failed, missing."""
    if record.done:
        return "done"
    if _alive(record.folder / "claim.json"):
        return "running"
    return "failed" if record.failure() else "missing"


@contextmanager
def claim(record: Record) -> Iterator[None]:
    """Hold a run while training it. Raises Claimed when another process does."""
    path = record.folder / "claim.json"
    _take(path)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        path.unlink(missing_ok=True)


def _take(path: Path) -> None:
    make_folder(path.parent)
    with FileLock(path.with_suffix(".lock")):
        if _alive(path):
            owner = _owner(path)
            raise Claimed(f"run {path.parent.name} is being trained by process {owner['pid']} on {owner['host']}")
        path.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        path.touch()


def _alive(path: Path) -> bool:
    try:
        age, owner = time.time() - path.stat().st_mtime, _owner(path)
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    gone = owner["host"] == socket.gethostname() and not Path(f"/proc/{owner['pid']}").exists()
    return not gone and age < STALE_SECONDS


def _owner(path: Path) -> dict:
    return json.loads(path.read_text())
