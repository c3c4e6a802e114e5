"""What the arms of a study could do at each checkpoint whose weights were kept and asked: by task, protocol, step.

The interval is over the sources of items, of the mean over seeds: it says what other items would give, not what other
seeds would. A checkpoint that is the best of several by the very test that it is reported for was *selected* on it:
its number is the largest of several noisy ones, and looks better than it is. It is marked, unless the last one,
which nobody chose, is as good.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ablate.run.record import Record
from ablate.scores import answers, readings
from ablate.scores.readings import READINGS, Interval, Unreadable
from ablate.verdict.evidence import Evidence


@dataclass(frozen=True)
class Point:
    """One arm, asked one task under one protocol after one step."""

    arm: str
    task: str
    protocol: str
    step: int
    tokens: int
    value: float  # the mean over runs
    interval: Interval  # over items
    chance: float | None  # what guessing gives
    runs: int
    selected: bool = False  # the best of its steps, and better than the last

    @property
    def at_chance(self) -> bool:
        return self.chance is not None and self.interval[0] <= self.chance <= self.interval[1]


def progress(evidence: Evidence, reading: str) -> list[Point]:
    """All points of a reading, by arm, task, protocol and step; those that the answers do not hold are left out."""
    found = []
    for arm in evidence.by_arm:
        for task, settings in evidence.scope.tasks.items():
            for protocol in answers.protocols_for(settings, reading):
                line = _line(evidence, arm, task, protocol, reading)
                found += _marked(line, READINGS[reading].better)
    return found


def _line(evidence: Evidence, arm: str, task: str, protocol: str, reading: str) -> list[Point]:
    points, settings, out = [], evidence.scope.tasks[task], evidence.scope.left_out(task)
    runs = [run.record for run in evidence.finished(arm).values()]
    kept = [record.kept() for record in runs]
    for step in sorted({step for of_run in kept for step in of_run}):
        pairs = zip(runs, kept, strict=True)
        files = [(answers.of(record.scores, task, settings, protocol, step), shas) for record, shas in pairs]
        rows = [one.check(shas[step]).clean(out) for one, shas in files if one and step in shas]
        if rows:
            tokens = next(row["tokens"] for record in runs for row in _steps(record) if row["step"] == step)
            try:
                value, interval = readings.pooled(rows, reading, evidence.confidence)
            except Unreadable:
                continue
            guess = readings.chance(rows[0], reading)
            points.append(Point(arm, task, protocol, step, tokens, value, interval, guess, len(rows)))
    return points


def _steps(record: Record) -> list[dict[str, Any]]:
    return [*record.rows("kept"), record.result() or {}]


def _marked(line: Sequence[Point], better: str) -> list[Point]:
    if len(line) < 2:
        return list(line)
    best = (min if better == "lower" else max)(line, key=lambda point: point.value)
    return [replace(point, selected=point is best and point.value != line[-1].value) for point in line]
