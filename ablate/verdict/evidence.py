"""What a study has on disk, read once: the declaration, and what became of every run declared.

A run that diverged, failed or has not started is an outcome with a reason, never a missing row:
dropping it would leave the survivors to look like a fair sample.

    evidence = read(study_record("outputs", "mix_sweep"))
    evidence.by_arm["share_15"][0].outcome        finished, diverged, running, not started, or how it failed
    evidence.differences("share_15", "macro")     {seed: arm minus base}, in the unit of the metric
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from ablate.run.identity import in_words
from ablate.run.record import Lost, Record
from ablate.run.study_record import StudyRecord
from ablate.scores import answers
from ablate.scores.metrics import METRICS, Metric, Scope, Scores, metric_of, of_study
from ablate.verdict import history
from ablate.verdict.history import History

# Runs beside the arms, as the declaration calls them (`sweep.controls`)
NULL, AA, POSITIVE = "null control", "A/A control", "positive control"


@dataclass(frozen=True)
class Run:
    arm: str
    seed: int
    record: Record
    outcome: str
    reason: str | None
    result: dict[str, Any]  # empty unless finished or diverged

    @property
    def done(self) -> bool:
        return self.outcome in ("finished", "diverged")

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """Rows logged while training: tokens, nats, lr, length, ..."""
        return self.record.rows("train")

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """Rows of the evaluations: step, tokens, sums by domain, ..."""
        return self.record.rows("evaluation")


@dataclass(frozen=True)
class Evidence:
    study: StudyRecord
    declaration: dict[str, Any]
    runs: tuple[Run, ...]
    race: dict[str, Any] = field(
        default_factory=dict
    )  # `verdict.race.Decision` of every arm that raced, as it was written
    controls: tuple[Run, ...] = ()  # in no family: their `arm` is NULL, AA or POSITIVE
    before: tuple["Evidence", ...] = ()  # the phases that came first, one after the other; none of them is judged
    history: History = field(default_factory=History)  # of what was declared and looked at

    def stopped(self, arm: str) -> bool:
        """Whether a race has stopped the arm: the runs it lacks will not be trained."""
        return bool(self.race.get(arm, {}).get("reason"))

    @cached_property
    def by_arm(self) -> dict[str, dict[int, Run]]:
        """Runs by arm and seed, the base first, null arms left out."""
        names = [self.base, *self.arms]
        return {arm: {run.seed: run for run in self.runs if run.arm == arm} for arm in names}

    @property
    def base(self) -> str:
        return self.declaration["base"]

    @cached_property
    def arms(self) -> list[str]:
        """The arms to compare with the base: the family."""
        return [arm for arm in self.declaration["runs"] if arm != self.base and arm not in self.null_arms]

    @cached_property
    def null_arms(self) -> list[str]:
        """Arms that are the base: same settings, hence same ids, hence the very same runs."""
        runs = self.declaration["runs"]
        return [arm for arm in runs if arm != self.base and runs[arm] == runs[self.base]]

    @property
    def domains(self) -> list[str]:
        return self.declaration["domains"]

    @cached_property
    def metric(self) -> Metric:
        """The declared one. Raises UserError where nobody knows it."""
        return of_study(self.declaration)

    @cached_property
    def confidence(self) -> float:
        """As declared, but no lower than it was at an earlier look: what a look has not found stays not found."""
        earlier = [] if self.race else [one["confidence"] for one in self.history.looked_at]
        return max([self.declaration["confidence"], *earlier])

    @cached_property
    def scope(self) -> Scope:
        declared = self.declaration
        folders = {run.record.scores for run in (*self.runs, *self.controls) if run.outcome == "finished"}
        tasks = declared.get("tasks", {})
        left_out = cache(partial(contaminated, folders, tasks))
        return Scope(self.domains, declared.get("focus", ""), tasks, left_out)

    def with_focus(self, focus: str) -> "Evidence":
        """The same runs as a study sees them that varies another domain."""
        return replace(self, declaration=self.declaration | {"focus": focus})

    @cached_property
    def distinct_runs(self) -> tuple[Run, ...]:
        """Each run once, though arms may share it; of the positive control those that were wanted."""
        controls = [run for run in self.controls if run.arm != POSITIVE or run.outcome != "not started"]
        return tuple({run.record.id: run for run in reversed([*self.runs, *controls])}.values())[::-1]

    def control(self, name: str) -> dict[int, Run]:
        """The runs of a control by seed; empty where none was declared."""
        return {run.seed: run for run in self.controls if run.arm == name}

    @property
    def num_done(self) -> int:
        return sum(run.done for run in self.distinct_runs)

    @property
    def spending(self) -> tuple[float, float]:
        """FLOPs of the runs that are done, of all phases: (spent by themselves, taken over from others' beginnings)."""
        runs = [run for one in (*self.before, self) for run in one.distinct_runs]
        results = [run.result for run in runs if run.done]
        saved = sum(map(taken_over, results))
        return sum(result["flops"] for result in results) - saved, saved

    @property
    def complete(self) -> bool:
        open_arms = [arm for arm in self.arms if not self.stopped(arm)]
        needed = {self.base, *open_arms} if open_arms or not self.race else set()
        wanted = [run for run in self.controls if run.arm != POSITIVE]
        return all(run.done for run in (*(run for run in self.runs if run.arm in needed), *wanted))

    def finished(self, arm: str) -> dict[int, Run]:
        """The finished runs of an arm, by seed."""
        return {seed: run for seed, run in sorted(self.by_arm[arm].items()) if run.outcome == "finished"}

    @property
    def any_finished(self) -> bool:
        return any(run.outcome == "finished" for run in self.runs)

    @property
    def any_trained(self) -> bool:
        """Whether a finished run took steps; those of a compression take none."""
        return any(run.outcome == "finished" and run.result["step"] for run in self.runs)

    def value(self, scores: Scores, metric: str) -> float | None:
        """A metric as this study reads it, of a result or of an evaluation; None where that does not hold it."""
        return metric_of(metric, self.domains).value(scores, self.scope)

    def final(self, run: Run, metric: str) -> float:
        """A metric at the end of a run that finished. Raises UserError where the run's record does not hold it."""
        return metric_of(metric, self.domains).final(run.record.id, run.result, self.scope)

    def curve(self, run: Run, metric: str) -> list[tuple[dict[str, Any], float]]:
        """The evaluations of a run that hold a metric, each with its value."""
        return [(row, value) for row in run.evaluations if (value := self.value(row, metric)) is not None]

    def finals(self, arm: str, metric: str) -> dict[int, float]:
        """A metric at the end, by seed, of the runs that finished."""
        return {seed: self.final(run, metric) for seed, run in self.finished(arm).items()}

    def differences(self, arm: str, metric: str) -> dict[int, float]:
        """Arm minus base by seed, over the pairs."""
        return {seed: self.final(ours, metric) - self.final(base, metric) for seed, (base, ours) in self.pairs(arm)}

    def pairs(self, arm: str) -> list[tuple[int, tuple[Run, Run]]]:
        """(seed, (the base's run, the arm's)) of seeds finished in both, but those in which the arm was the base."""
        return [(seed, pair) for seed, pair in self._both(arm) if not same_weights(*pair)]

    def itself(self, arm: str) -> list[int]:
        """Seeds in which the arm came out as the base, to the bit of its weights: it changed nothing there."""
        return [seed for seed, pair in self._both(arm) if same_weights(*pair)]

    def _both(self, arm: str) -> list[tuple[int, tuple[Run, Run]]]:
        base = self.finished(self.base)
        return [(seed, (base[seed], run)) for seed, run in self.finished(arm).items() if seed in base]

    def factor(self, arm: str) -> str:
        """How the arm differs from the base, in one line."""
        arms = self.declaration["arms"] | self.declaration.get("control_arms", {})
        return in_words(arms.get(arm, {}))


def contaminated(folders: Iterable[Path], tasks: Mapping[str, Any], task: str) -> frozenset[str]:
    """Items of a task that stand in the training text of some run: none is judged by them, or arms would differ."""
    found = (one for folder in folders for one in answers.found(folder, task))
    settings = answers.without_protocols(tasks[task])  # another task of that name has other items of the same keys
    return frozenset(key for one in found if one.header["settings"] == settings for key in one.header["contaminated"])


def same_weights(base: Run, arm: Run) -> bool:
    """Whether an arm came out as the base, to the bit."""
    weights = base.result.get("weights_sha256")
    return weights is not None and weights == arm.result.get("weights_sha256")


def read(study: StudyRecord) -> Evidence:
    """Read a study to judge it, finished or not. Raises UserError when there is none, or nobody knows its metric."""
    of_study(study.read())  # its modules are loaded now, so that other studies are read by its metric too
    return recall(study)


def recall(study: StudyRecord) -> Evidence:
    """Read a study for what it tells of others, when nobody needs to know its metric. Raises UserError without one."""
    declaration = study.read()
    known = history.of(study.ledger.rows(), declaration.get("base_digest"))
    return replace(_of_declaration(study, declaration), race=study.decisions(), history=known)


def under_first(evidence: Evidence) -> Evidence | None:
    """The same records as the study's first declaration sees them; None where that is the last one too, or unknown."""
    declared = evidence.history.first
    if declared is None or evidence.race:
        return None
    now = evidence.declaration["runs"]
    runs = {
        # a run of a later phase had a provisional id then
        arm: {seed: now.get(arm, {}).get(seed, id) if id.startswith("~") else id for seed, id in ids.items()}
        for arm, ids in declared["runs"].items()
    }
    seen = replace(evidence.history, declared=())  # what was declared later says nothing of it
    return replace(_of_declaration(evidence.study, declared | {"runs": runs}), history=seen)


def _of_declaration(study: StudyRecord, declaration: dict[str, Any]) -> Evidence:
    before: list[Evidence] = []
    for phase, declared in declaration.get("before", {}).items():
        before.append(_read(study, declaration | declared | {"phase": phase}, before))
    return replace(_read(study, declaration, before), before=tuple(before))


def _read(study: StudyRecord, declaration: dict[str, Any], before: list[Evidence]) -> Evidence:
    """One phase."""
    scope = Scope(declaration["domains"], "")
    runs = [run_of(arm, seed, record, scope) for arm, seed, record in study.records(declaration)]
    controls = [run_of(name, seed, record, scope) for name, seed, record in study.controls(declaration)]
    if before:
        runs, controls = ([_after(run, before[-1]) for run in found] for found in (runs, controls))
    return Evidence(study, declaration, tuple(runs), controls=tuple(controls))


def _after(run: Run, before: Evidence) -> Run:
    """A run that has not begun, with what became of the run that it would begin from: that is why."""
    parent = next(one for one in (*before.runs, *before.controls) if (one.arm, one.seed) == (run.arm, run.seed))
    if run.outcome != "not started" or parent.outcome in ("finished", "running", "not started"):
        return run
    nothing = {"flops": 0.0, "seconds": 0.0} if parent.done else {}  # of its own
    return replace(
        run, outcome=parent.outcome, reason=f"{before.declaration['phase']}: {parent.reason}", result=nothing
    )


def run_of(arm: str, seed: int, record: Record, scope: Scope) -> Run:
    """A run with what became of it; one that is damaged is told, and withholds nothing but itself."""
    if what := record.damage():
        again = "the command that trains the study trains it again"
        return Run(arm, seed, Lost(record.folder), "damaged", f"{what}; {again}", {})
    if result := record.result():
        outcome, reason = result["outcome"], result.get("reason")
        loss = METRICS["micro"].value(result, scope)  # of all text, so that no domain is left out
        if outcome == "finished" and not (loss is None or math.isfinite(loss)):
            outcome, reason = "diverged", "the final loss is not a finite number"
        return Run(arm, seed, record, outcome, reason, result | {"scores": record.scores})
    if failure := record.failure():
        return Run(arm, seed, record, failure["outcome"], failure.get("reason"), {})
    begun = (record.folder / "metrics.jsonl").exists()
    return Run(arm, seed, record, "running" if begun else "not started", None, {})


def tokens_text(tokens: float) -> str:
    """1234567 -> 1.23M"""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g}{letter}"
    return f"{tokens:.3g}"


def flops_text(flops: float) -> str:
    """1.234e15 -> 1.23 PFLOP"""
    for size, unit in ((1e21, "ZFLOP"), (1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")):
        if flops >= size:
            return f"{flops / size:.3g} {unit}"
    return f"{flops:.3g} FLOP"


def taken_over(result: dict[str, Any], what: str = "flops") -> float:
    """FLOPs, or seconds, of a run's beginning that another run had trained."""
    return (result.get("grown_from") or {what: 0.0})[what]


def spending_text(evidence: Evidence) -> str:
    """What the study has cost so far, in one line."""
    spent, saved = evidence.spending
    share = f" ({saved / (spent + saved):.0%})" if saved else ""
    return f"compute spent: {flops_text(spent)}; saved by shared beginnings: {flops_text(saved)}{share}"
