"""Places where the runs of a sweep are trained: GPUs, each for `where.runs_per_device` runs, or cores.

two GPUs, runs_per_device=2     0: ██    1: █░     three runs; the next one goes to GPU 1
"""

import importlib
import os
from collections.abc import Sequence

from ablate.run.settings import Where


class Slots:
    """`each` places on every device; "" is the device of runs that need no GPU."""

    def __init__(self, devices: Sequence[str], each: int, limit: int = 0):
        """`limit`: of runs at once, whatever the devices hold; 0: none."""
        self.used, self.each = dict.fromkeys(devices, 0), each
        places = len(devices) * each
        self.total = min(limit, places) if limit else places

    @property
    def free(self) -> bool:
        return sum(self.used.values()) < self.total

    def take(self) -> str:
        """A place on the device that has the fewest runs."""
        device = min(self.used, key=lambda device: self.used[device])
        assert self.free, "no place is free"
        self.used[device] += 1
        return device

    def give(self, device: str) -> None:
        """Free a place that was taken."""
        assert self.used[device] > 0, f"no place on {device!r} was taken"
        self.used[device] -= 1


def slots(where: Where) -> Slots:
    """What this machine has: GPUs, `where.devices` of them for a run, or as many places as the cores hold."""
    gpus = [] if where.device == "cpu" else _gpus()
    if gpus:
        each = min(where.devices, len(gpus))
        groups = [",".join(gpus[first : first + each]) for first in range(0, len(gpus) - each + 1, each)]
        return Slots(groups, where.runs_per_device, where.workers)
    # two runs of one thread beat one of two
    cores = max(1, len(os.sched_getaffinity(0)) // (where.threads or os.cpu_count() or 1))
    return Slots([""], where.workers or cores)


def environment(device: str) -> dict[str, str]:
    """What a run's process must find in its environment before it first speaks to CUDA."""
    return {"CUDA_VISIBLE_DEVICES": device} if device else {}


def _gpus() -> list[str]:
    """Names of the GPUs that may be used; the user may have chosen among them already."""
    count = importlib.import_module("torch").cuda.device_count()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = chosen.split(",") if chosen else [str(number) for number in range(count)]
    return names[:count]
