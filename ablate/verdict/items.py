"""Items of tasks in a study: whether all arms were asked the same, and what hangs on which items there are.

The word on a task comes from seeds, as on any metric. Beside it stands the noise of items: the difference of an arm and
the base on each item, the mean over seeds, with an error over the sources of items (`scores.readings`): would other
items of the same kind say the same? Items that were asked twice, or are of one source, are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ablate.run.settings import UserError
from ablate.scores import readings
from ablate.scores.items import Row
from ablate.scores.metrics import Asked, Metric, Scope, metric_of, names_of_tasks
from ablate.scores.readings import Interval, Unreadable
from ablate.verdict.evidence import POSITIVE, Evidence, Run

NAMED = 6  # runs in a message


@dataclass(frozen=True)
class ItemNoise:
    """The difference of an arm and the base over items, and its error, in the metric's unit."""

    mean: float
    error: float
    df: float
    items: int
    sources: int
    left_out: int  # items that stand in training text

    def interval(self, confidence: float) -> Interval:
        return readings.around(self.mean, self.error, self.df, confidence)


def asked_of(evidence: Evidence) -> list[Run]:
    """The finished runs that a verdict leans on, each once."""
    runs = [run for runs in evidence.by_arm.values() for run in runs.values()]
    runs += [run for run in evidence.controls if run.arm != POSITIVE or run.outcome != "not started"]
    return list({run.record.id: run for run in runs if run.outcome == "finished"}.values())


def check(evidence: Evidence, metric: Metric) -> None:
    """Of a metric of a task: raises UserError where runs were not asked, or arms were asked other items."""
    asked, runs = metric.asked, asked_of(evidence)
    if asked is None:
        return
    found = {run.record.id: asked.answers(run.result, evidence.scope) for run in runs}
    if missing := [id for id, one in found.items() if one is None]:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        command = f"ablate evaluate {evidence.study.name} --tasks {asked.task}"
        raise UserError(f"{', '.join(missing[:NAMED])}{more} have no answers to {asked.task}; {command} asks them")
    how: dict[str, list[str]] = {}
    for run in runs:
        if (answers := found[run.record.id]) is not None:
            header = answers.header
            what = [header["items_digest"], str(header.get("shots")), str(sorted(header["versions"].items()))]
            how.setdefault("\n".join(what), []).append(run.arm)
    if len(how) > 1:
        groups = " against ".join(", ".join(dict.fromkeys(arms)) for arms in how.values())
        raise UserError(f"{metric.name}: arms were not asked the same items, or by other versions: {groups}")


def item_noise(evidence: Evidence, arm: str, metric: Metric) -> ItemNoise | None:
    """Of an arm in a metric of a task; None without a pair, and of any other metric."""
    pairs = evidence.pairs(arm)
    if metric.asked is None or not pairs:
        return None
    both = [[_rows(metric.asked, run, evidence.scope) for run in pair] for _, pair in pairs]
    first = both[0][0]
    parts = np.array([[readings.parts(rows, metric.asked.reading) for rows in pair] for pair in both])
    x, w = parts[:, :, 0].mean(0), parts[0, 0, 1]
    sources = [row["source"] for row in first]
    error, df = readings.ratio_error(x[1] - x[0], w, sources)
    answers = metric.asked.answers(pairs[0][1][0].result, evidence.scope)
    asked = len(answers.rows) if answers else len(first)
    mean = float((x[1] - x[0]).sum() / w.sum())
    return ItemNoise(mean, error, df, len(first), len(set(sources)), asked - len(first))


def _rows(asked: Asked, run: Run, scope: Scope) -> Sequence[Row]:
    rows = asked.rows(run.result, scope)
    if rows is None:
        raise UserError(f"{run.record.id}: has no answers to {asked.task}; ablate evaluate {run.record.id} asks it")
    return rows


@dataclass(frozen=True)
class Readable:
    """The metrics of tasks that all runs of a study were asked for, and that their answers hold."""

    evidence: Evidence

    @cached_property
    def metrics(self) -> list[Metric]:
        found = (metric_of(name, self.evidence.domains) for name in names_of_tasks(self.evidence.scope))
        return [metric for metric in found if self._holds(metric)]

    def _holds(self, metric: Metric) -> bool:
        assert metric.asked is not None
        runs = asked_of(self.evidence)
        try:
            check(self.evidence, metric)
            for run in runs[:1]:
                readings.parts(_rows(metric.asked, run, self.evidence.scope), metric.asked.reading)
        except (UserError, Unreadable):
            return False
        return bool(runs)
