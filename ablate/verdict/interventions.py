"""Questions that a study answers inside its runs (`run.insert`): what reading a text so many times did to its answer.

Every answer is that of the arm less that of the base, of one seed: bits per byte of the right answer after its prompt.
The study's own verdict judges all answers together; here each has its own, and all of one number of repetitions.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ablate.scores import readings
from ablate.scores.metrics import OF_TASK, metric_of
from ablate.verdict.evidence import Evidence, Run
from ablate.verdict.statistics.untouched import LEAST, Judged, judge

KIND, UNIT = "inserted", "bits per byte"


@dataclass(frozen=True)
class Interventions:
    """Of one arm, on the probes of one task."""

    arm: str
    task: str
    judged: Judged
    drift: Mapping[int, float]  # by seed, the mean of the answers that were left alone
    left_alone: int  # answers in all seeds

    def words(self, times: int) -> Counter[str]:
        return Counter(told.word for (_, number), told in self.judged.answers.items() if number == times)


def interventions(evidence: Evidence) -> list[Interventions]:
    """Of every arm that reads texts which the base does not read, with the probes that all its runs were asked."""
    tasks = [name for name, task in evidence.scope.tasks.items() if task["kind"] == KIND]
    found = (_of(evidence, arm, task) for arm in evidence.arms for task in tasks)
    return [one for one in found if one]


def times_of(run: Run) -> Counter[str]:
    """How often the run read the text of each question."""
    return Counter(name for row in run.record.rows("inserted") for name in row["questions"])


def _of(evidence: Evidence, arm: str, task: str) -> Interventions | None:
    values: dict[int, dict[str, float]] = {}
    times: dict[int, Counter[str]] = {}
    forms: dict[str, str] = {}
    for seed, (base, ours) in evidence.pairs(arm):
        before, after = (_answers(evidence, run, task) for run in (base, ours))
        if not before or not after or times_of(base) or not times_of(ours):
            return None
        times[seed], forms = times_of(ours), {name: one.form for name, one in after.items()}
        values[seed] = {name: one.bits - before[name].bits for name, one in after.items()}
    alone = {seed: [x for name, x in one.items() if not times[seed][name]] for seed, one in values.items()}
    asked = any(times[seed][name] for seed, one in values.items() for name in one)  # of a text that was read
    if not asked or min(map(len, alone.values())) < LEAST:
        return None
    margin = evidence.declaration["margin"] if evidence.metric.unit == UNIT else 0.0
    found = judge(values, times, forms, margin, evidence.confidence)
    drift = {seed: float(np.mean(one)) for seed, one in alone.items()}
    return Interventions(arm, task, found, drift, sum(map(len, alone.values())))


class Probe(NamedTuple):
    """`bits`: per byte of the answer; `form`: the question that it is, or is like."""

    bits: float
    form: str


def _answers(evidence: Evidence, run: Run, task: str) -> dict[str, Probe]:
    """Of all that do not stand in training text; none where nobody has asked."""
    asked = metric_of(f"{OF_TASK}{task}:{readings.BITS}", evidence.domains).asked
    rows = asked.rows(run.result, evidence.scope) if asked else None
    if not rows:
        return {}
    bits, size = readings.parts(rows, readings.BITS)
    return {row["item"]: Probe(one, row["source"]) for row, one in zip(rows, (bits / size).tolist(), strict=True)}
