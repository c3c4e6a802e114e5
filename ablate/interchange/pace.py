"""Tokens a second of several sides (`interchange.programs`), which take turns: A B C, C B A, A B C, ...

So what a machine does besides is shared by all, and a ratio is taken within a round. With one thread the clock is that
of this process: what others take of a processor does not count.
"""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ablate.interchange.contract import Leaving
from ablate.interchange.programs import SIDES, Asked, LeftOut, Program, Side

LONG = 0.05  # seconds that a measurement takes at least: a prompt that is shorter is read several times
COUNTERS = Path("/sys/class/powercap")  # of the processors' energy, where the system shows them


def measured(
    leaving: Leaving, runtimes: Sequence[str], asked: Asked, rounds: int, tell: Callable[[int, int, str], None]
) -> dict[str, Any]:
    """`clock`, `sides` and `left_out` of `run.speeds`. `tell` hears what is next: its number, of how many, its name."""
    with tempfile.TemporaryDirectory() as folder:
        found = [one for name in runtimes for one in SIDES[name](leaving, asked, Path(folder))]
        sides = [one for one in found if isinstance(one, Side)]
        rows = _rounds(sides, asked, rounds, tell)
    return {
        "clock": "CPU seconds" if asked.threads == 1 else "seconds",
        "sides": [_plain(side, row) for side, row in zip(sides, rows, strict=True)],
        "left_out": [one._asdict() for one in found if isinstance(one, LeftOut)],
    }


class Round(NamedTuple):
    """Tokens a second, and joules a token of the text."""

    prompt: float
    decode: float
    joules: float | None


def _rounds(
    sides: Sequence[Side], asked: Asked, rounds: int, tell: Callable[[int, int, str], None]
) -> list[list[Round]]:
    """Of each side, round by round."""
    clock, meter = time.process_time if asked.threads == 1 else time.perf_counter, Meter()
    steps, rows, times = (rounds + 1) * len(sides), [[] for _ in sides], []
    for number, side in enumerate(sides, start=1):
        tell(number, steps, f"{side.runtime} {side.type}, first try")
        times.append(_tried(side.program, clock))
    for turn in range(rounds):
        order = range(len(sides)) if turn % 2 == 0 else reversed(range(len(sides)))
        for number, at in enumerate(order, start=1):
            side = sides[at]
            tell((turn + 1) * len(sides) + number, steps, f"{side.runtime} {side.type}, round {turn + 1} of {rounds}")
            rows[at].append(_round(side.program, asked, times[at], clock, meter))
    return rows


def _tried(program: Program, clock: Callable[[], float]) -> int:
    """How many times the prompt is to be read. The first call also loads what is loaded late."""
    program.read()
    program.write()
    begin = clock()
    program.read()
    return max(1, math.ceil(LONG / max(clock() - begin, 1e-6)))


def _round(program: Program, asked: Asked, times: int, clock: Callable[[], float], meter: "Meter") -> Round:
    begin = clock()
    for _ in range(times):
        program.read()
    read = clock() - begin
    before, begin = meter.counts(), clock()
    share = program.write()
    written, used = (clock() - begin) * share, meter.joules(before, meter.counts())
    joules = None if used is None else used * share / asked.decode
    return Round(times * asked.prompt / read, asked.decode / written, joules)


def _plain(side: Side, rows: Sequence[Round]) -> dict[str, Any]:
    what = {name: value for name, value in side._asdict().items() if name != "program"}
    joules = [row.joules for row in rows]
    return what | {
        "prompt": [row.prompt for row in rows],
        "decode": [row.decode for row in rows],
        "joules": None if None in joules else joules,
    }


class Meter:
    """Joules that the processors of this machine use, by their own counters: those of all its programs."""

    def __init__(self, folder: Path = COUNTERS) -> None:
        # intel-rapl:0 is a processor, intel-rapl:0:0 a part of one
        self.counters = [path.parent for path in sorted(folder.glob("*/energy_uj")) if path.parent.name.count(":") == 1]

    def counts(self) -> list[int] | None:
        """Microjoules of each; None where none can be read."""
        try:
            return [int((path / "energy_uj").read_text()) for path in self.counters] or None
        except OSError:
            return None

    def joules(self, before: list[int] | None, after: list[int] | None) -> float | None:
        """A counter that is full begins again."""
        if before is None or after is None:
            return None
        full = [int((path / "max_energy_range_uj").read_text()) + 1 for path in self.counters]
        return sum((b - a) % room for a, b, room in zip(before, after, full, strict=True)) / 1e6
