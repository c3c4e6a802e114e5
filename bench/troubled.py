"""Real runs with trouble in one step: is it found, where do they end, and how soon do they go on?

planted      under `monitor.act=skip`: is that step found, or for a rate one of the three after it?
end          bits per byte that a run has lost at its end, against the same seed that never met the trouble, by what was
             done: nothing, skip, rollback, zclip, adagc; the ends of the 95 % interval over seeds. A rate 30 times too
             high does a run so small good, so here it is 300 times
recovery     of rollback: seconds from the alarm to the next step that is taken, and to the first one past the spike
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from ablate.data.tokens import opened
from ablate.fit.run import train_run
from ablate.fit.spikes import Spikes
from ablate.fit.watch import Watch
from ablate.run.parse import from_plain
from ablate.run.record import plain
from ablate.scores.metrics import readings, scope_of
from ablate.sweep.worker import alone
from ablate.verdict.statistics.paired import interval
from bench import cases
from bench.rounds import Row
from bench.trained import LONGER, Trained, many

AT = 200  # where trouble is planted; later in runs whose ends are compared
LATER = 600
KINDS = ("noise", "repeated", "corrupt", "rate")
LATE = 3  # steps after a rate that is too high within which it must be found
SEEDS = range(100, 110)  # of which ends are compared for the first six
PAIRED = 6
FACTOR = 300.0  # of a rate whose end is compared
MARGIN = 0.01  # bits per byte: as conf/experiment/spike_sweep.yaml has it
TREATMENTS: dict[str, dict[str, Any]] = {
    "none": {},
    "skip": {"monitor": {"act": "skip"}},
    "rollback": {"monitor": {"act": "rollback"}},
    "zclip": {"optimizer": {"clipping": "zclip"}},
    "adagc": {"optimizer": {"clipping": "adagc"}},
}
BASES = ("none", "zclip", "adagc")  # ways that a run without trouble may go as well
CURED = {"rollback": KINDS, "skip": KINDS[:3]}  # what must lose nothing: a rate shows once its step is taken
SAVES_NANO, STEPS_NANO, ROUNDS = 8, 96, 5


def ends(quick: bool) -> list[Row]:
    """Planted trouble, and what it has cost in the end."""
    seeds, kinds = (SEEDS[:2], KINDS[:1]) if quick else (SEEDS, KINDS)
    jobs = {
        ("clean", way, seed): LONGER | TREATMENTS[way] for way in ("none", "zclip", "adagc") for seed in seeds[:PAIRED]
    }
    for kind in kinds:
        usual = {"trouble": {"kind": kind, "start": AT}}
        jobs |= {(kind, "found", seed): TREATMENTS["skip"] | usual for seed in seeds}
        troubled = {"trouble": {"kind": kind, "start": LATER} | ({"factor": FACTOR} if kind == "rate" else {})}
        for way, changes in TREATMENTS.items():
            jobs |= {(kind, way, seed): LONGER | changes | troubled for seed in seeds[:PAIRED]}
    found = dict(zip(jobs, many([changes | {"seed": seed} for (_, _, seed), changes in jobs.items()]), strict=True))
    rows = [
        Row(f"planted, {kind}", "share found", [_is_found(found[kind, "found", seed]) for seed in seeds], 1.0)
        for kind in kinds
    ]
    for kind in kinds:
        for way in TREATMENTS:
            base = way if way in BASES else "none"
            pairs = [(found[kind, way, seed], found["clean", base, seed]) for seed in seeds[:PAIRED]]
            rows += _lost(kind, way, [_macro(one) - _macro(other) for one, other in pairs])
    return rows


def _is_found(one: Trained) -> float:
    """1 where the trouble was found, by the step that has it."""
    last = AT + (LATE if one.settings.trouble.kind == "rate" else 0)
    return float(any(AT <= row["at"] <= last for row in one.spikes))


def _macro(one: Trained) -> float:
    return readings(one.result, scope_of(one.settings))["macro"]


def _lost(kind: str, way: str, differences: list[float]) -> list[Row]:
    low, high = interval(differences, level=0.05)
    case, cured = f"end, {kind}, {way}", kind in CURED.get(way, ())
    return [
        Row(case, "bits per byte lost", differences),
        Row(case, "low end of the interval", [low], 0.0 if cured else None, "at most"),
        Row(case, "high end of the interval", [high], MARGIN if cured else None, "at most"),
    ]


def recovery(quick: bool) -> list[Row]:
    """At the size of `nano`, on all cores, with as many checkpoints as a run usually has."""
    draw, found = random.Random(0), []
    for seed in range(1 if quick else ROUNDS):
        found.append(_recovered(seed, draw.randrange(70, STEPS_NANO - 1)))
    names = ("seconds to the next step", "seconds to the first step past the spike")
    columns = zip(names, zip(*found, strict=True), (5.0, None), strict=True)
    rows = [Row("recovery, nano", name, list(values), limit, "at most") for name, values, limit in columns]
    longest = max(values[0] for values in found)
    return [*rows, Row("recovery, nano", "longest to the next step", [longest], 5.0, "at most")]


def _recovered(seed: int, at: int) -> tuple[float, float]:
    with cases.outputs() as outputs:
        tree = plain(cases.settings("nano", STEPS_NANO, outputs))
        tree["where"]["saves"] = SAVES_NANO
        tree |= {"seed": seed, "trouble": {"kind": "noise", "start": at}}
        tree["monitor"]["act"] = "rollback"
        task = alone(from_plain(tree))
        with _timed(at) as moments:
            train_run(task.settings, opened(task.corpus), task.record)
        return moments["again"] - moments["alarm"], moments["past"] - moments["alarm"]


@contextmanager
def _timed(at: int) -> Iterator[dict[str, float]]:
    """Moments: of the alarm, of the next step that was learnt from, and of the first such step past `at`."""
    moments: dict[str, float] = {}
    asked, ended = Spikes.__call__, Watch.on_train_batch_end

    def ask(spikes: Spikes, *arguments: Any) -> bool:
        moments["alarm"] = time.perf_counter()
        return asked(spikes, *arguments)

    def end(watch: Watch, trainer: Any, module: Any, *rest: Any) -> None:
        ended(watch, trainer, module, *rest)
        if "alarm" in moments and module.learnt:
            moments.setdefault("again", time.perf_counter())
            if trainer.global_step > at + 1:
                moments.setdefault("past", time.perf_counter())

    with mock.patch.object(Spikes, "__call__", ask), mock.patch.object(Watch, "on_train_batch_end", end):
        yield moments
