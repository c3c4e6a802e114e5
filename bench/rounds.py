"""Rounds in turn, and what comes of them.

    run({"ours": f, "bare": g}, rounds=5)      f g f g f g f g f g -> {"ours": [...], "bare": [...]}

A ratio is taken within each round, where both sides met the same weather, and then the median.
"""

import dataclasses
import json
import os
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parent.parent


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured quantity, a value a round; `limit` is its target, at least or at most."""

    case: str
    what: str
    values: list[float]
    limit: float | None = None
    bound: Literal["at least", "at most"] = "at least"

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float, float]:
        """Median, lowest, highest."""
        return self.median, min(self.values), max(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median keeps to the target; None without one."""
        if self.limit is None:
            return None
        return self.median >= self.limit if self.bound == "at least" else self.median <= self.limit

    @property
    def target(self) -> str:
        return "" if self.limit is None else f"{self.bound} {self.limit:g}"

    def plain(self) -> dict[str, Any]:
        values = [float(f"{value:.5g}") for value in self.values]
        target = {"target": self.target, "met": self.met} if self.target else {}
        return {"case": self.case, "what": self.what, "median": float(f"{self.median:.5g}"), "rounds": values} | target


def run(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Every side once a round, in turn; the order turns round too, so that none is always first."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else reversed(sides):
            found[name].append(sides[name]())
    return found


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def report(command: list[str]) -> dict[str, Any]:
    """Run a process on one thread; its last line is its report. Raises with what it said when it fails."""
    ended = subprocess.run(command, env=one_thread(), capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{os.path.basename(command[0])} {' '.join(command[1:])} failed:\n{ended.stderr[-4000:]}")
    return last_line(ended.stdout)


def one_thread() -> dict[str, str]:
    """The environment of a measured process. Nothing may go online."""
    return os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


def last_line(text: str) -> dict:
    """The report of a measured process: JSON on its last line, whatever was printed before."""
    return json.loads(text.strip().splitlines()[-1])
