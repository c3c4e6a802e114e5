"""What each phase of a chain did to every metric: its value at the end of the phase, and how far the phase moved it.

    chain = of_study(read(study))                   every arm over its seeds
    chain = of_run({"pretrain": ..., "tune": ...}, "qa")   the phases that led to one run, as one arm of one seed
    chain.stage(chain.phases[1], "share_40", "qa").change

Values are those of the records. A phase is said to change a metric only where its end and the end of the phase before
were measured on the same: the same passages of held-out text, the same items, or of any other metric the same text.
Changes are taken within a seed. Intervals are those of single comparisons, over seeds; where there is one seed alone,
over the passages or the items, which is another question: would other text say the same? Nothing here decides.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np

from ablate.run.record import Record
from ablate.run.settings import UserError
from ablate.scores import readings
from ablate.scores.metrics import Metric, Scope, Scores, metric_of, names_of_tasks, of_weights, scope_of
from ablate.verdict import compare
from ablate.verdict.compare import Verdict
from ablate.verdict.evidence import Evidence, Run, contaminated, run_of, same_weights
from ablate.verdict.passages import of_rows
from ablate.verdict.statistics.paired import Interval, interval
from ablate.verdict.validity import trust

ALONE = "run"  # the arm of a chain that is one run
NOT_HERE, FIRST_HERE = "not measured", "not measured before"
OTHER, OWN_START = "on other text", "since its own start"
Over = Literal["seeds", "passages", "items", "nothing"]  # what the noise of a number is taken over


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds. `interval`: None where no noise is known."""

    by_seed: dict[int, float]
    interval: Interval | None
    over: Over

    @property
    def mean(self) -> float:
        return math.fsum(self.by_seed.values()) / len(self.by_seed)


@dataclass(frozen=True)
class Phase:
    """`runs`: by arm and seed, done or not."""

    name: str
    scope: Scope
    runs: dict[str, dict[int, Run]]

    def metric(self, name: str) -> Metric | None:
        """None where the phase has no such domain."""
        try:
            return metric_of(name, self.scope.domains)
        except UserError:
            return None

    def value(self, run: Run | None, name: str) -> float | None:
        """At the end of a run; None where there is none, or its record does not hold it."""
        return self.read(run.result, name) if run and run.outcome == "finished" else None

    def read(self, scores: Scores, name: str) -> float | None:
        """Of a result or an evaluation; None where that gives no finite value."""
        try:
            value = metric.value(scores, self.scope) if (metric := self.metric(name)) else None
        except UserError:  # answers of other weights, say: the verdict complains where it rests on them
            return None
        return value if value is not None and math.isfinite(value) else None

    @cached_property
    def tokens(self) -> int:
        """Read by its longest run so far."""
        runs = [run for by_seed in self.runs.values() for run in by_seed.values()]
        return max((tokens for run in runs for tokens in _tokens(run)), default=0)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One metric of one arm at the end of one phase; what is not known is None."""

    phase: str
    arm: str
    metric: Metric
    value: Estimate | None
    change: Estimate | None  # by the phase
    contrast: Estimate | None  # the arm minus the base
    shift: Estimate | None  # what the phase did to that: to the arm minus to the base, where they had come apart
    same: str  # the arm that has these very runs
    notes: tuple[str, ...]  # outcomes of its runs, and why there is no value
    unchanged: str  # why there is a value and no change


Term = tuple[int, Phase, Run | None]  # the sign of what is added or taken away, and its run
Terms = Mapping[int, Sequence[Term]]  # by seed


@dataclass(frozen=True)
class Chain:
    """The phases, the judged one last; `arms`: the base first; `first`: the metric that the study declares."""

    phases: tuple[Phase, ...]
    arms: tuple[str, ...]
    first: str
    confidence: float

    @cached_property
    def metrics(self) -> list[str]:
        """Those that some run holds, the declared one first, then domains."""
        domains = [domain for phase in self.phases for domain in phase.scope.domains]
        tasks = names_of_tasks(self.phases[-1].scope)
        names = dict.fromkeys([self.first, *domains, *of_weights(), *tasks])
        ends = [(phase, run) for phase in self.phases for arm in self.arms for run in phase.runs[arm].values()]
        return [name for name in names if any(phase.value(run, name) is not None for phase, run in ends)]

    def unit(self, name: str) -> Metric:
        """The metric, as the last phase that has it means it."""
        return next(metric for phase in reversed(self.phases) if (metric := phase.metric(name)))

    def rows(self, arms: Sequence[str] | None = None) -> Iterator[list[Stage]]:
        """Of every metric and arm, its stages along the chain."""
        for name in self.metrics:
            for arm in self.arms if arms is None else arms:
                yield self.row(arm, name)

    def row(self, arm: str, name: str) -> list[Stage]:
        return [self.stage(phase, arm, name) for phase in self.phases]

    def stage(self, phase: Phase, arm: str, name: str) -> Stage:
        base, runs = self.arms[0], phase.runs
        before = self._before(phase)
        now, away = _terms(1, phase, arm), _terms(-1, phase, base)
        then, back = _terms(-1, before, arm), _terms(1, before, base)
        apart = {seed: [*now[seed], *away[seed]] for seed in now if not same_weights(runs[arm][seed], runs[base][seed])}
        moved = before and arm != base and _ids(before.runs[arm]) != _ids(before.runs[base])
        value, change = self._estimate(name, now), self._estimate(name, _joined(now, then)) if before else None
        return Stage(
            phase=phase.name,
            arm=arm,
            metric=self.unit(name),
            value=value,
            change=change,
            contrast=self._estimate(name, apart) if arm != base else None,
            shift=self._estimate(name, _joined(now, then, away, back)) if moved else None,
            same=next((one for one in self.arms[: self.arms.index(arm)] if _ids(runs[one]) == _ids(runs[arm])), ""),
            notes=tuple(_notes(runs[arm], value)),
            unchanged=self._unchanged(name, now, then) if before and value and not change else "",
        )

    def _before(self, phase: Phase) -> Phase | None:
        place = self.phases.index(phase)
        return self.phases[place - 1] if place else None

    def _unchanged(self, name: str, now: Terms, then: Terms) -> str:
        known = [seed for seed in now if self._value(name, now[seed]) is not None]
        if all(self._value(name, then[seed]) is None for seed in known):
            return FIRST_HERE
        return OWN_START if self.unit(name).since_start else OTHER

    def _value(self, name: str, terms: Sequence[Term]) -> float | None:
        values = [(sign, phase.value(run, name)) for sign, phase, run in terms]
        return None if any(v is None for _, v in values) else sum(sign * v for sign, v in values if v is not None)

    def _estimate(self, name: str, terms: Terms) -> Estimate | None:
        """None where no seed has all terms, or their metric was measured on different things."""
        found = {seed: value for seed, of in terms.items() if (value := self._value(name, of)) is not None}
        if not found or any(len({_measured_on(name, *term[1:]) for term in terms[seed]}) > 1 for seed in found):
            return None
        if len(found) > 1:
            ends = interval(list(found.values()), 1 - self.confidence)
            return Estimate(found, ends if math.isfinite(ends[0]) else None, "seeds")
        [seed] = found
        ends, over = _of_text(name, terms[seed], self.confidence)
        return Estimate(found, ends, over)

    def curve(self, phase: Phase, arm: str, name: str) -> dict[int, dict[int, float]]:
        """{tokens of the phase: {seed: value}}: its evaluations, and what was measured at its end alone."""
        found: dict[int, dict[int, float]] = {}
        for seed, run in phase.runs[arm].items():
            end = [run.result] if run.outcome == "finished" else []
            for scores in (*run.evaluations, *end):
                if (value := phase.read(scores, name)) is not None:
                    found.setdefault(scores["tokens"], {})[seed] = value
        return dict(sorted(found.items()))


def of_study(evidence: Evidence) -> Chain:
    """The phases up to the judged one; a study without phases is a chain of one."""
    every, last = (*evidence.before, evidence), evidence.scope
    left_out = partial(_left_out, [one.scope for one in every])
    arms = (evidence.base, *evidence.arms)
    phases = []
    for one in every:
        scope = replace(one.scope, tasks=last.tasks, left_out=left_out)
        runs = {arm: {run.seed: run for run in one.runs if run.arm == arm} for arm in arms}
        phases.append(Phase(one.declaration.get("phase", ""), scope, runs))
    # the judged phase's name is the last of those declared up to it
    names = list(evidence.declaration.get("phases", {}))
    judged = evidence.declaration.get("judge") or (names[-1] if names else "")
    phases[-1] = replace(phases[-1], name=judged)
    return Chain(tuple(phases), arms, evidence.metric.name, evidence.confidence)


def of_run(records: Mapping[str, Record], first: str, confidence: float = 0.95) -> Chain:
    """`records`: by the name of each phase, the run's own last. `first`: the metric to begin with."""
    *_, own = records.values()
    tasks = scope_of(own.settings()).tasks
    left_out = partial(contaminated, [record.scores for record in records.values()], tasks)
    phases = []
    for name, record in records.items():
        scope = replace(scope_of(record.settings()), tasks=tasks, left_out=left_out)
        phases.append(Phase(name, scope, {ALONE: {0: run_of(ALONE, 0, record, scope)}}))
    return Chain(tuple(phases), (ALONE,), first, confidence)


def survival(evidence: Evidence, conclusion: trust.Conclusion) -> dict[str, dict[str, Verdict]]:
    """By phase and arm, the verdict that there would be if the phase were judged: the last one is that of the study.

    Empty of a phase that the metric was not measured in.
    """
    found = {}
    for phase in evidence.before:
        try:
            judged = compare.verdicts(phase, conclusion.past)
        except UserError:
            judged = []
        kept = trust.withheld(judged, conclusion.findings, evidence.base)
        found[phase.declaration["phase"]] = {verdict.arm: verdict for verdict in kept}
    last = of_study(evidence).phases[-1].name
    return {**found, last: {verdict.arm: verdict for verdict in conclusion.verdicts}}


def _left_out(scopes: Sequence[Scope], task: str) -> Collection[str]:
    return frozenset(key for scope in scopes for key in scope.left_out(task))


def _tokens(run: Run) -> Iterator[int]:
    yield from (row["tokens"] for row in run.evaluations)
    if run.done and "tokens" in run.result:
        yield run.result["tokens"]


def _terms(sign: int, phase: Phase | None, arm: str) -> Terms:
    return {seed: [(sign, phase, run)] for seed, run in phase.runs[arm].items()} if phase else {}


def _joined(*parts: Terms) -> dict[int, list[Term]]:
    return {seed: [term for part in parts for term in part[seed]] for seed in parts[0]}


def _ids(runs: Mapping[int, Run]) -> list[str]:
    return [run.record.id for run in runs.values()]


def _notes(runs: Mapping[int, Run], value: Estimate | None) -> Iterator[str]:
    outcomes = Counter(run.outcome for run in runs.values() if run.outcome != "finished")
    yield from (f"{count} of {len(runs)} {outcome}" for outcome, count in outcomes.items())
    if value is None and outcomes.total() < len(runs):
        yield NOT_HERE


def _measured_on(name: str, phase: Phase, run: Run | None) -> Any:
    """Equal exactly where two values may be subtracted."""
    metric = phase.metric(name)
    assert run
    assert metric
    if metric.since_start:
        return phase.name
    if metric.asked:
        answers = metric.asked.answers(run.result, phase.scope)
        assert answers
        return answers.header["items_digest"], answers.header.get("shots")
    if metric.groups and "sums" in run.result:
        return tuple(tuple(_passages_of(run, domain) for domain in group) for group in metric.groups(phase.scope))
    return run.record.environment().get("data")


def _passages_of(run: Run, domain: str) -> tuple[Any, ...]:
    rows = run.result.get("validation", {}).get(domain)
    return (domain, *(rows["bytes"] if rows else (run.result["sums"][domain]["bytes"],)))


def _of_text(name: str, terms: Sequence[Term], confidence: float) -> tuple[Interval | None, Over]:
    """The interval of one seed's number, had other passages been held out, or other items asked."""
    (_, phase, _), *_ = terms
    metric = phase.metric(name)
    assert metric
    if metric.asked:
        return _of_items(metric, terms, confidence), "items"
    rows = [(sign, one.result.get("validation", {})) for sign, _, one in terms if one]
    found = of_rows(rows, metric.groups(phase.scope)) if metric.groups else None
    return (found.interval(confidence), "passages") if found else (None, "nothing")


def _of_items(metric: Metric, terms: Sequence[Term], confidence: float) -> Interval | None:
    assert metric.asked
    rows = [metric.asked.rows(run.result, phase.scope) or [] for _, phase, run in terms if run]
    reading = metric.asked.reading
    if len(rows) == 1:
        return readings.pooled(rows, reading, confidence)[1]
    parts = np.array([readings.parts(one, reading) for one in rows])
    x, w = np.tensordot([sign for sign, *_ in terms], parts[:, 0], 1), parts[0, 1]
    error, df = readings.ratio_error(x, w, [row["source"] for row in rows[0]])
    return readings.around(float(x.sum() / w.sum()), error, df, confidence)
