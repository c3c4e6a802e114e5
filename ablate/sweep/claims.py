"""Who trains what: the state of every run, and claims so that no run is trained twice.

    missing ──claim──> running ──result.json──> done
       ^                  │
       └── claim dead ────┴── failure.json ──> failed (tried again when the study is started again)

A claim is a file in the run's folder that its owner touches every few seconds. The owner is dead
when its process is gone (on this machine) or has not touched the file for STALE_SECONDS; then
anyone may take over. Taking and taking over happen under a file lock, so one of many wins. An owner
that was stopped for longer finds its claim taken, and kills itself before it writes another word.

A claim names the trunks that its run will leave, for all who could use them. A launcher looks at the
claims and starts runs while no other does (`planning`), and claims for the processes it starts
(`reserve`), which are not yet able to.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from ablate.run import whole
from ablate.run.failures import Claimed
from ablate.run.files import make_folder
from ablate.run.record import Record

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0

Owner = dict[str, Any]


def state(record: Record) -> str:
    """One of done, running, failed, missing."""
    if record.done:
        return "done"
    if _alive(record.folder / "claim.json"):
        return "running"
    return "failed" if record.failure() else "missing"


def promised(outputs: str) -> set[str]:
    """Keys of the trunks that runs which are being trained, by whomever, will leave."""
    held = [path for path in Path(outputs, "runs").glob("*/claim.json") if _alive(path)]
    return {key for path in held for key in (_owner(path) or {}).get("leaves", [])}


@contextmanager
def planning(outputs: str) -> Iterator[None]:
    """While this is held, no other launcher decides what to start."""
    make_folder(Path(outputs))
    with FileLock(Path(outputs, ".planning.lock")):
        yield


def reserve(record: Record, process: int, leaves: Iterable[str]) -> None:
    """Claim a run for a process that was just started. Raises Claimed when another has it."""
    _take(record.folder / "claim.json", process, leaves)


@contextmanager
def claim(record: Record, leaves: Iterable[str] = ()) -> Iterator[None]:
    """Hold a run while training it; `leaves`: keys of trunks. Raises Claimed when another process does."""
    path = record.folder / "claim.json"
    mine = _take(path, os.getpid(), leaves)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, mine, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        path.unlink(missing_ok=True)


def _take(path: Path, process: int, leaves: Iterable[str]) -> Owner:
    make_folder(path.parent)
    with FileLock(path.with_suffix(".lock")):
        owner = _owner(path)
        if owner is not None and _alive(path) and not _is(owner, process):
            by = f"process {owner['pid']} on {owner['host']}" if owner else "somebody whose claim is damaged"
            raise Claimed(f"run {path.parent.name} is being trained by {by}")
        mine = {"pid": process, "host": socket.gethostname(), "born": _born(process), "leaves": sorted(leaves)}
        whole.write(path, mine)
        return mine


def _beat(path: Path, mine: Owner, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        owner = _owner(path)
        if owner and not _is(owner, os.getpid()):
            os.kill(os.getpid(), signal.SIGKILL)
        if owner == {}:  # damaged, and nobody took the run meanwhile
            whole.write(path, mine)
        path.touch()


def _alive(path: Path) -> bool:
    try:
        age, owner = time.time() - path.stat().st_mtime, _owner(path)
    except FileNotFoundError:
        return False
    if owner is None or age >= STALE_SECONDS:
        return False
    if not owner:  # damaged; its owner touches it while it lives
        return True
    return owner["host"] != socket.gethostname() or _born(owner["pid"]) == owner["born"] is not None


def _is(owner: Owner, process: int) -> bool:
    return (owner.get("pid"), owner.get("host")) == (process, socket.gethostname())


def _owner(path: Path) -> Owner | None:
    """Who holds a claim: None where there is none, nothing where it is damaged."""
    try:
        owner = whole.read(path)
    except (whole.Damaged, OSError):
        return {} if path.exists() else None
    return owner if isinstance(owner, dict) and {"pid", "host", "born"} <= owner.keys() else {}


def _born(process: int) -> str | None:
    """When a process of this machine began, in ticks since the machine did; None of one that is gone.

    A number may be given again to another process, and one that ended stays listed until it is waited for.
    """
    try:
        state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else rest[18]  # fields 3 and 22 of proc_pid_stat(5)
