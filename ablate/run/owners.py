"""Who holds what, where no clock is believed: those of two machines differ, and any may be set.

An owner is a process of a machine, {"machine": ..., "pid": 7, "born": "1234"}. Of this machine, it is there or gone. Of
another, only a beat tells: a sign that changes, which a `Listener` hears and counts from by its own monotonic clock.
"""

import time
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.run import machine

Owner = dict[str, Any]


def owner(process: int) -> Owner:
    """A process of this machine."""
    return {"machine": machine.boot(), "pid": process, "born": born(process)}


def is_here(one: Owner) -> bool:
    """Whether an owner is a process that this one could see. One name may be that of two machines."""
    return one.get("machine") == machine.boot()


def is_gone(one: Owner) -> bool:
    """Whether an owner is known to be no more; nobody knows of those of other machines."""
    return is_here(one) and not born(one["pid"]) == one["born"] is not None


def born(process: int) -> str | None:
    """When a process of this machine began, in ticks since the machine did; None of one that is gone.

    A number may be given again to another process, and one that ended stays listed until it is waited for.
    """
    try:
        state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else rest[18]  # fields 3 and 22 of proc_pid_stat(5)


@dataclass(frozen=True)
class Heard:
    """A beat, since when by the monotonic clock, and whether any other came before."""

    beat: Hashable
    since: float
    again: bool


@dataclass(frozen=True)
class Listener:
    """What this process has heard, by the name of what is held."""

    heard: dict[Hashable, Heard] = field(default_factory=dict)

    def silent(self, name: Hashable, beat: Hashable) -> float:
        """Seconds since the beat was first heard."""
        last, now = self.heard.get(name), time.monotonic()
        if last is None or beat != last.beat:
            last = self.heard[name] = Heard(beat, now, again=last is not None)
        return now - last.since

    def forget_all_but(self, names: Collection[Hashable]) -> None:
        for name in self.heard.keys() - set(names):
            del self.heard[name]
