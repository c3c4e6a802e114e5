"""Metrics: what a record holds of one evaluation, read as one number.

A record keeps sums and no means, because sums can be added and read in many ways:

    sums          {domain: {"nats", "tokens", "bytes"}} over its held-out text
    validation    {domain: {"nats": [...], "bytes": [...]}}, a number a passage; in `result.json` alone

What a metric is about may depend on the study: `rest` leaves out the domain that the study varies, and two studies
of the same runs may vary different ones. So a metric is read with the declaration of the study that judges.

    metric_of("rest", ["code", "qa"]).value(run.result, Scope(["code", "qa"], focus="qa"))

To add a metric: a `Metric` in METRICS, from here or from a module of your own that `where.imports` names.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ablate.run import parts
from ablate.run.settings import Settings, SettingsError, UserError

Better = Literal["lower", "higher"]
Scores = Mapping[str, Any]  # `result.json`, or an evaluation's row of the metrics
GUESSED = {"nats": 8000.0, "tokens": 1000, "bytes": 4000}  # sums of a model that has learned nothing


@dataclass(frozen=True)
class Scope:
    """What a study declares that a metric may depend on."""

    domains: Sequence[str]
    focus: str  # the domain that the study varies


@dataclass(frozen=True)
class Metric:
    """A way to read a record: a number of `unit`. A KeyError of `read` means that the record does not hold it."""

    name: str
    unit: str  # of the number, of a difference and of the margin
    better: Better
    read: Callable[[Scores, Scope], float | None] = field(compare=False)
    # Of bits per byte alone: domains whose text is pooled, group by group; the metric is the mean over the groups
    groups: Callable[[Scope], list[list[str]]] | None = field(default=None, compare=False)

    def value(self, scores: Scores, scope: Scope) -> float | None:
        """The number; None where the record does not hold it. Raises UserError where `read` fails at it."""
        try:
            value = self.read(scores, scope)
            return None if value is None else float(value)
        except KeyError:
            return None
        except Exception as error:  # of code that is the user's
            raise UserError(f"metric {self.name}: {type(error).__name__}: {error}") from error

    def final(self, run: str, result: Scores, scope: Scope) -> float:
        """The number at the end of a run. Raises UserError where the run's record gives none that is finite."""
        value = self.value(result, scope)
        if value is None or not math.isfinite(value):
            raise UserError(f"{run}: its record gives the metric {self.name} no finite value")
        return value

    @property
    def sign(self) -> int:
        """1 or -1: a value or a difference times this is lower where it is better."""
        return 1 if self.better == "lower" else -1

    @property
    def ends(self) -> tuple[str, str]:
        """What lies left and right of 0 on an axis of differences."""
        return ("better", "worse") if self.better == "lower" else ("worse", "better")


def bits_per_byte(nats: float, num_bytes: float) -> float:
    """`nats / (ln 2 x bytes)`: the one loss that does not depend on how text is cut into tokens."""
    return nats / (math.log(2) * num_bytes)


def _bits_per_byte(name: str, groups: Callable[[Scope], list[list[str]]]) -> Metric:
    def read(scores: Scores, scope: Scope) -> float:
        values = [_pooled(scores, group) for group in groups(scope)]
        if not values:
            raise KeyError(scope.focus)
        return sum(values) / len(values)

    return Metric(name, "bits per byte", "lower", read, groups)


def _pooled(scores: Scores, domains: Sequence[str]) -> float:
    """Bits per byte of some domains' text together."""
    if "bpb" in scores:  # a record from before sums were kept: a mean a domain, and of all text together
        return scores["bpb"][domains[0] if len(domains) == 1 else "micro"]
    nats, num_bytes = (sum(scores["sums"][domain][what] for domain in domains) for what in ("nats", "bytes"))
    return bits_per_byte(nats, num_bytes)


def _each(scope: Scope) -> list[list[str]]:
    return [[domain] for domain in scope.domains]


def _others(scope: Scope) -> list[list[str]]:
    return [[domain] for domain in scope.domains if domain != scope.focus] if scope.focus in scope.domains else []


METRICS: dict[str, Metric] = {
    "macro": _bits_per_byte("macro", _each),  # the mean over domains
    "micro": _bits_per_byte("micro", lambda scope: [list(scope.domains)]),  # all text together
    "rest": _bits_per_byte("rest", _others),  # the mean over all domains but the focus
}


def metric_of(name: str, domains: Sequence[str]) -> Metric:
    """Bits per byte of one domain, or a metric of METRICS. Raises SettingsError for any other name.

    A domain goes first: new studies have none that is called like a metric, and an old one meant its domain.
    """
    if name in domains:
        return _bits_per_byte(name, lambda _: [[name]])
    if name in METRICS:
        return METRICS[name]
    raise SettingsError(f"study.metric={name}: must be one of {', '.join([*METRICS, *domains])}")


def of_study(study: Mapping[str, Any]) -> Metric:
    """The metric of a study's declaration; one that is not known here is sought in the modules that the study named."""
    if study["metric"] not in (*METRICS, *study["domains"]):
        parts.load(study.get("imports", ()))
    return metric_of(study["metric"], study["domains"])


def readings(scores: Scores, scope: Scope) -> dict[str, float]:
    """Every finite number that can be read, by metric: the domains first."""
    found = {name: metric_of(name, scope.domains).value(scores, scope) for name in (*scope.domains, *METRICS)}
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def check(settings: Settings) -> None:
    """Raises UserError for a metric that cannot be read, or not where a race needs it, and for a domain that is called
    like a metric."""
    domains, focus = settings.data.domains, settings.data.focus
    for domain in domains:
        if domain in METRICS:
            allowed = f"other names than those of metrics: {', '.join(METRICS)}"
            raise SettingsError(f"data.domains={domain}: must be {allowed}")
    metric = metric_of(settings.study.metric, domains)
    if metric.groups and not metric.groups(Scope(domains, focus)):
        raise SettingsError(f"data.focus={focus}: must be one of several domains for {metric.name}: {domains}")
    midway = readings({"sums": dict.fromkeys(domains, GUESSED)}, Scope(domains, focus))
    if settings.study.budget.rungs and metric.name not in midway:
        rungs, what = settings.study.budget.rungs, "which is measured at the end of a run alone"
        raise SettingsError(f"study.budget.rungs={rungs}: must be empty with study.metric={metric.name}, {what}")
