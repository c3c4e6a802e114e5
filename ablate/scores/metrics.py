"""Metrics: what a record holds of one evaluation, read as one number.

A record keeps sums and no means, because sums can be added and read in many ways:

    sums          {domain: {"nats", "tokens", "bytes"}} over its held-out text
    validation    {domain: {"nats": [...], "bytes": [...]}}, a number a passage; in `result.json` alone
    pairs         {domain: {"pairs", "right", "chosen", ...}} over its held-out pairs (`fit.preferred`)
    scores        the folder of what the model answered to tasks; beside `result.json` (`scores.answers`)
    spike_score   {"loss": {"above", "judged"}, ...} and `spikes`, of the steps of a run; likewise (`scores.spikes`)

What a metric is about may depend on the study: `rest` leaves out the domain that the study varies, and two studies
of the same runs may vary different ones. So a metric is read with the declaration of the study that judges.

    metric_of("rest", ["code", "qa"]).value(run.result, Scope(["code", "qa"], focus="qa"))

What a study declares as a task has the metrics `task:<name>:<reading>`, of READINGS, by the first protocol of the task,
or by the one that is named: `task:sums:acc:likelihood`. Their files are opened when they are read.

To add a metric: a `Metric` in METRICS, from here or from a module of your own that `where.imports` names.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablate.run import parts
from ablate.run.record import plain
from ablate.run.settings import Settings, SettingsError, UserError
from ablate.scores import answers
from ablate.scores.answers import Answers
from ablate.scores.items import Row
from ablate.scores.readings import READINGS, Better, Unreadable

Scores = Mapping[str, Any]  # `result.json`, or an evaluation's row of the metrics
GUESSED = {"nats": 8000.0, "tokens": 1000, "bytes": 4000}  # sums of a model that has learned nothing
# Likewise of pairs (`fit.preferred`), and of them where the run knows its start
PAIRS_GUESSED = {"pairs": 10, "right": 5, "shorter": 10, "shorter_right": 5, "likelier": 5}
PAIRS_GUESSED |= {"chosen": -80, "rejected": -80, "chosen_tokens": 10, "rejected_tokens": 10}
START_GUESSED = {"chosen_start": -80, "rejected_start": -80}


@dataclass(frozen=True)
class Scope:
    """What a study declares that a metric may depend on."""

    domains: Sequence[str]
    focus: str  # the domain that the study varies
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # settings by name
    # Keys of items of a task that stand in the training text of some run, and are left out for all of them
    left_out: Callable[[str], Collection[str]] = field(default=lambda task: (), compare=False)


@dataclass(frozen=True)
class Asked:
    """What a metric of a task reads."""

    task: str
    reading: str
    protocol: str  # empty: the first of the task

    def answers(self, scores: Scores, scope: Scope) -> Answers | None:
        """Of the final weights; None where nobody has asked them. Raises UserError for answers of other weights."""
        task = scope.tasks[self.task]
        found = answers.of(
            scores["scores"], self.task, task, self.protocol or answers.protocols_of(task)[0], scores["step"]
        )
        return found.check(scores["weights_sha256"]) if found else None

    def rows(self, scores: Scores, scope: Scope) -> list[Row] | None:
        """Of the items that a verdict may lean on."""
        found = self.answers(scores, scope)
        return found.clean(scope.left_out(self.task)) if found else None

    def read(self, scores: Scores, scope: Scope) -> float | None:
        found = self.answers(scores, scope)
        return answers.value(found, self.reading, frozenset(scope.left_out(self.task))) if found else None


@dataclass(frozen=True)
class Metric:
    """A way to read a record: a number of `unit`. A KeyError of `read` means that the record does not hold it."""

    name: str
    unit: str  # of the number, of a difference and of the margin
    better: Better
    read: Callable[[Scores, Scope], float | None] = field(compare=False)
    # Of bits per byte alone: domains whose text is pooled, group by group; the metric is the mean over the groups
    groups: Callable[[Scope], list[list[str]]] | None = field(default=None, compare=False)
    asked: Asked | None = None  # of a task
    since_start: bool = False  # whether the number is counted from the start of the run's own phase
    of_steps: bool = False  # whether it says how training went, not what the weights can do
    needs: str = ""  # what a run must have, or its record has no number

    def value(self, scores: Scores, scope: Scope) -> float | None:
        """The number; None where the record does not hold it. Raises UserError where `read` fails at it."""
        try:
            value = self.read(scores, scope)
            return None if value is None else float(value)
        except KeyError:
            return None
        except (UserError, Unreadable) as error:
            raise UserError(f"metric {self.name}: {error}") from None
        except Exception as error:  # of code that is the user's
            raise UserError(f"metric {self.name}: {type(error).__name__}: {error}") from error

    def final(self, run: str, result: Scores, scope: Scope) -> float:
        """The number at the end of a run. Raises UserError where the run's record gives none that is finite."""
        value = self.value(result, scope)
        if value is None or not math.isfinite(value):
            hint = (
                f"; ablate evaluate {run} asks it" if self.asked else f"; it needs {self.needs}" if self.needs else ""
            )
            raise UserError(f"{run}: its record gives the metric {self.name} no finite value{hint}")
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


def _of_pairs(
    name: str, unit: str, better: Better, read: Callable[[Mapping[str, float]], float], since_start: bool = False
) -> Metric:
    """Of held-out pairs, of all domains together (`fit.preferred`)."""

    def of_all(scores: Scores, scope: Scope) -> float | None:
        found = [scores["pairs"][domain] for domain in scope.domains]
        sums = {what: sum(one[what] for one in found) for what in found[0]}
        try:
            return read(sums)
        except ZeroDivisionError:  # no pair of the kind
            return None

    return Metric(name, unit, better, of_all, since_start=since_start)


OF_PAIRS = "preference:"
NATS, TOKENS = "nats per response", "tokens per response"
PAIRED = [
    _of_pairs(f"{OF_PAIRS}acc", "share of pairs", "higher", lambda s: s["right"] / s["pairs"], True),
    # where the better response is the shorter one, of which length is no sign
    _of_pairs(f"{OF_PAIRS}acc_shorter", "share of pairs", "higher", lambda s: s["shorter_right"] / s["shorter"], True),
    _of_pairs(f"{OF_PAIRS}likelier", "share of pairs", "higher", lambda s: s["likelier"] / s["pairs"]),
    _of_pairs(f"{OF_PAIRS}chosen", NATS, "higher", lambda s: s["chosen"] / s["pairs"]),  # log p of the better one
    _of_pairs(f"{OF_PAIRS}rejected", NATS, "lower", lambda s: s["rejected"] / s["pairs"]),
    # of the better one, by how much log p rose since the start: below 0 it fell
    _of_pairs(f"{OF_PAIRS}rise", NATS, "higher", lambda s: (s["chosen"] - s["chosen_start"]) / s["pairs"], True),
    # log p at the start less that now, the mean over all responses: of KL an estimate, for they are not the start's own
    _of_pairs(f"{OF_PAIRS}distance", NATS, "lower", lambda s: _fall(s) / (2 * s["pairs"]), True),
    # by how much the better responses are longer than the worse ones: a property of the text
    _of_pairs(f"{OF_PAIRS}longer", TOKENS, "lower", lambda s: (s["chosen_tokens"] - s["rejected_tokens"]) / s["pairs"]),
]


def _fall(s: Mapping[str, float]) -> float:
    return s["chosen_start"] + s["rejected_start"] - s["chosen"] - s["rejected"]


def _spike_score(name: str, of: str) -> Metric:
    def read(scores: Scores, scope: Scope) -> float | None:
        found = scores["spike_score"][of]
        return found["above"] / found["judged"] if found["judged"] else None

    needs = "more than 64 steps that were learnt from, each of them noted"
    return Metric(name, "share of steps", "lower", read, of_steps=True, needs=needs)


LOOKED_AT = "a monitor that looks at its steps: monitor.act=skip or rollback"
OF_STEPS = [
    Metric("spikes", "spikes", "lower", lambda scores, _: scores["spikes"], of_steps=True, needs=LOOKED_AT),
    _spike_score("spike_score", "loss"),
    _spike_score("spike_score_norm", "grad_norm"),
]
OF_TASK = "task:"
METRICS: dict[str, Metric] = {
    "macro": _bits_per_byte("macro", _each),  # the mean over domains
    "micro": _bits_per_byte("micro", lambda scope: [list(scope.domains)]),  # all text together
    "rest": _bits_per_byte("rest", _others),  # the mean over all domains but the focus
    **{metric.name: metric for metric in (*PAIRED, *OF_STEPS)},
}


def metric_of(name: str, domains: Sequence[str]) -> Metric:
    """Bits per byte of one domain, or a metric of METRICS. Raises SettingsError for any other name.

    A domain goes first: new studies have none that is called like a metric, and an old one meant its domain.
    """
    if name in domains:
        return _bits_per_byte(name, lambda _: [[name]])
    if name in METRICS:
        return METRICS[name]
    if name.startswith(OF_TASK):
        return _of_task(name)
    of_pairs = name.startswith(OF_PAIRS)
    known = [one for one in METRICS if one.startswith(OF_PAIRS) == of_pairs]
    raise SettingsError(f"study.metric={name}: must be one of {', '.join(known if of_pairs else [*known, *domains])}")


def _of_task(name: str) -> Metric:
    _, *words = name.split(":")
    task, reading, protocol, *more = [*words, "", ""]
    if reading not in READINGS or any(more):
        allowed = f"task:<name>:<reading>, or with :<protocol> behind it; readings are {', '.join(READINGS)}"
        raise SettingsError(f"study.metric={name}: must be {allowed}")
    asked = Asked(task, reading, protocol)
    return Metric(name, READINGS[reading].unit, READINGS[reading].better, asked.read, asked=asked)


def of_study(study: Mapping[str, Any]) -> Metric:
    """The metric of a study's declaration; one that is not known here is sought in the modules that the study named."""
    if study["metric"] not in (*METRICS, *study["domains"]) and not study["metric"].startswith(OF_TASK):
        parts.load(study.get("imports", ()))
    return metric_of(study["metric"], study["domains"])


def of_weights() -> list[str]:
    """Metrics of METRICS that say what weights can do."""
    return [name for name, metric in METRICS.items() if not metric.of_steps]


def readings(scores: Scores, scope: Scope) -> dict[str, float]:
    """Every finite number that can be read of what weights can do, by metric: the domains first."""
    found = {name: metric_of(name, scope.domains).value(scores, scope) for name in (*scope.domains, *of_weights())}
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def check(settings: Settings) -> None:
    """Raises UserError for a metric that cannot be read, or not where a race needs it, and for a domain that is called
    like a metric."""
    domains, focus = settings.data.domains, settings.data.focus
    for domain in domains:
        if domain in METRICS or domain.startswith((OF_TASK, OF_PAIRS)):
            allowed = f"other names than those of metrics: {', '.join(METRICS)}, {OF_TASK}..."
            raise SettingsError(f"data.domains={domain}: must be {allowed}")
    metric = metric_of(settings.study.metric, domains)
    if metric.groups and not metric.groups(Scope(domains, focus)):
        raise SettingsError(f"data.focus={focus}: must be one of several domains for {metric.name}: {domains}")
    answers.check(settings.evaluate.tasks)
    if metric.asked:
        _check_asked(settings, metric.asked)
    if settings.study.budget.race == "search" and not metric.groups:
        why = "a search predicts bits per byte"
        raise SettingsError(f"study.budget.race=search: must be another with study.metric={metric.name}; {why}")
    _midway(settings)  # runs log every metric that is known: one that fails is told before the first run


def check_judged(settings: Settings) -> None:
    """Raises SettingsError for a metric of pairs or of spikes that a run which is judged will not hold."""
    name = settings.study.metric
    if name == "spikes" and settings.monitor.act == "none":
        raise SettingsError(f"study.metric={name}: must be another with monitor.act=none; it needs {LOOKED_AT}")
    if name.startswith(OF_PAIRS) and name not in _midway(settings):
        what = f"data.pairs={str(settings.data.pairs).lower()} and objective={settings.objective}"
        raise SettingsError(f"study.metric={name}: must be another: a run with {what} does not hold it")


def _midway(settings: Settings) -> dict[str, float]:
    """What can be read at an evaluation, of a model that has learned nothing."""
    domains = settings.data.domains
    scores: dict[str, Any] = {"sums": dict.fromkeys(domains, GUESSED)}
    if settings.data.pairs:
        known = PAIRS_GUESSED | (START_GUESSED if settings.objective == "preference" else {})
        scores["pairs"] = dict.fromkeys(domains, known)
    return readings(scores, Scope(domains, settings.data.focus))


def _check_asked(settings: Settings, asked: Asked) -> None:
    key, tasks = f"study.metric={settings.study.metric}", settings.evaluate.tasks
    if asked.task not in tasks:
        raise SettingsError(f"{key}: must be of a task of evaluate.tasks; there are {', '.join(tasks) or 'none'}")
    protocols = answers.protocols_of(plain(settings)["evaluate"]["tasks"][asked.task])
    if asked.protocol not in ("", *protocols):
        raise SettingsError(f"{key}: must be of a protocol of evaluate.tasks.{asked.task}: {', '.join(protocols)}")


def scope_of(settings: Settings) -> Scope:
    """What metrics may depend on, of a run that no study asks for."""
    return Scope(settings.data.domains, settings.data.focus, plain(settings)["evaluate"]["tasks"])


def names_of_tasks(scope: Scope) -> list[str]:
    """Metrics of the tasks that a study declares: every reading by every protocol, the first one unnamed."""
    found = []
    for task, settings in scope.tasks.items():
        first, *_ = protocols = answers.protocols_of(settings)
        for protocol in protocols:
            behind = "" if protocol == first else f":{protocol}"
            own = [reading for reading in READINGS if protocol in answers.protocols_for(settings, reading)]
            found += [f"{OF_TASK}{task}:{reading}{behind}" for reading in own]
    return found
