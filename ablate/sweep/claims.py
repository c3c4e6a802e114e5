"""Who trains what: the state of every run, and claims so that no run is trained twice.

    missing ──claim──> running ──result.json──> done
       ^                  │
       └── claim dead ────┴── failure.json ──> failed (tried again when the study is started again)

A claim is a file in the run's folder that its owner touches every few seconds: its heart. No clock is believed, for
those of two machines differ, and any may be set. A reader watches whether the file changes, and counts by its own
monotonic clock for how long it has not. The owner is dead when its process is gone (on this machine), or when the
reader has watched for STALE_SECONDS and heard no beat; then anyone may take over. So the claim of another machine,
seen for the first time, may be of a live owner or of a dead one, and who must know waits (`settled`).

Taking and taking over happen under a file lock, so one of many wins. An owner that was stopped for longer finds its
claim taken, and kills itself before it writes another word.

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
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from ablate.run import files, owners, shapes, whole
from ablate.run.failures import Claimed
from ablate.run.owners import Listener, Owner, is_here
from ablate.run.record import Record
from ablate.run.settings import UserError

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 50.0  # with a poll and a take, a dead owner's run goes on within a minute
POLL_SECONDS = 0.2

_listener = Listener()


def state(record: Record) -> str:
    """One of done, running, failed, missing."""
    if record.done:
        return "done"
    if _alive(record.folder / "claim.json"):
        return "running"
    return "failed" if record.failure() else "missing"


def owner_of(record: Record) -> Owner | None:
    """Who has claimed a run, alive or not."""
    return _owner(record.folder / "claim.json")


def certain(record: Record) -> bool:
    """Whether the owner of a claim is known to live: a process of this machine, or one whose heart was heard."""
    path = record.folder / "claim.json"
    return _alive(path) and (is_here(_owner(path) or {}) or _listener.heard[path].again)


def settled(record: Record) -> str:
    """The state of a run once it is certain: after a beat of its owner, or after STALE_SECONDS of none. Says so."""
    path, told = record.folder / "claim.json", False
    while (found := state(record)) == "running" and not certain(record):
        if not told:
            by = f"{_named(_owner(path) or {})}: waiting up to {STALE_SECONDS:.0f} s for a sign that it lives"
            print(f"run {record.id} is claimed by {by}", flush=True)
            told = True
        time.sleep(POLL_SECONDS)
    return found


def promised(outputs: str) -> set[str]:
    """Keys of the trunks that runs which are being trained, by whomever, will leave."""
    held = [path for path in Path(outputs, "runs").glob("*/claim.json") if _alive(path)]
    return {key for path in held for key in (_owner(path) or {"leaves": []})["leaves"]}


@contextmanager
def planning(outputs: str) -> Iterator[None]:
    """While this is held, no other launcher decides what to start."""
    files.make_folder(Path(outputs))
    with FileLock(Path(outputs, ".planning.lock")):
        yield


def reserve(record: Record, process: int, leaves: Iterable[str]) -> None:
    """Claim a run for a process that was just started. Raises Claimed when another has it."""
    _take(record.folder / "claim.json", process, leaves)


@contextmanager
def claim(record: Record, leaves: Iterable[str] = ()) -> Iterator[None]:
    """Hold a run while training it; `leaves`: keys of trunks. Raises Claimed when another process does, once that is
    certain."""
    path = record.folder / "claim.json"
    settled(record)
    mine = _take(path, os.getpid(), leaves)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, mine, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        with FileLock(path.with_suffix(".lock")):
            if not (owner := _owner(path)) or _is(owner, os.getpid()):  # nobody took over
                path.unlink(missing_ok=True)


def _take(path: Path, process: int, leaves: Iterable[str]) -> Owner:
    files.make_own(path.parent)
    with FileLock(path.with_suffix(".lock")):
        owner = _owner(path)
        if owner is not None and _alive(path) and not _is(owner, process):
            raise Claimed(f"run {path.parent.name} is being trained by {_named(owner)}")
        mine = owners.owner(process) | {"host": socket.gethostname(), "leaves": sorted(leaves)}
        whole.write(path, mine)
        return mine


def _beat(path: Path, mine: Owner, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(OSError, UserError):  # a disk that is full or far away for a while stops no heart
            owner = _owner(path)
            if owner and not _is(owner, os.getpid()):
                os.kill(os.getpid(), signal.SIGKILL)
            if owner == {}:  # damaged, and nobody took the run meanwhile
                whole.write(path, mine)
            path.touch()


def _alive(path: Path) -> bool:
    owner = _owner(path)
    if owner is None:
        _listener.heard.pop(path, None)
        return False
    # a file that was just opened: over a network, only then has the server been asked for its time
    return _listener.silent(path, files.modified(path)) < STALE_SECONDS and not owners.is_gone(owner)


def _is(owner: Owner, process: int) -> bool:
    return is_here(owner) and (owner["pid"], owner["born"]) == (process, owners.born(process))


def _named(owner: Owner) -> str:
    return f"process {owner['pid']} on {owner['host']}" if owner else "somebody whose claim is damaged"


def _owner(path: Path) -> Owner | None:
    """Who holds a claim: None where there is none, nothing where it is damaged."""
    try:
        return shapes.fit(shapes.Claim, whole.read(path), path)
    except (whole.Damaged, OSError):
        return {} if path.exists() else None
