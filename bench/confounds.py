"""How many injected confounds the detector finds, whatever an arm changes, and how often it cries for nothing.

    mutations    runs of a tiny study tampered with behind the audit's back, one at a time (`bench.mutations`),
                 each in an arm of every kind
    audit        the same with mutations by another hand, which the detector was not made for; one counts as caught
                 where it is in every arm in which it changes anything
    inside       the same in a part that only the arm has and that it declares: there is nothing to compare with
    clean        pairs that differ as declared: kinds of arms x ways of carrying a run out, and seeds
    cost         of it all: the same arm of 300,000 tokens with and without, in turn, and its steps alone

A mutation acts where the weights or a score of the arm become others. It is caught when a finding that does not hold
names its arm, or when a check of the run's own stops it. Rates have their exact bound (Clopper and Pearson 1934).
All of it can fail: a detector that is asked nothing finds nothing, one that trusts nobody cries at clean pairs.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from lightning import Callback
from scipy.stats import beta

from ablate.fit import run as training_run
from ablate.run.settings import Settings
from bench import cases
from bench.mutations import arithmetic, data, training
from bench.mutations.audit import AUDIT
from bench.mutations.data import Tampering
from bench.mutations.lab import ARMS, BACK, WAYS, Carry, Lab, as_it_is, laboratory
from bench.rounds import Row, ratios, run
from bench.speed import tokens_per_second

ROUNDS = 7
WHOLE_ROUNDS, STEPS_WHOLE, STEPS_QUICK = 3, 293, 8  # of 1,024 tokens
TABLE = Path(__file__).parent / "results" / "confounds_by_arm.json"
NANO = {"width": 128, "depth": 4, "heads": 4, "kv_heads": 2, "hidden": 384}
LONG = {
    "data": {"span": 1024, "vocabulary": 2048, "domain_bytes": 0},
    "length": {"lengths": [1024]},
    "step_tokens": 1024,
}
BASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "hybrid": {"model": {"pattern": "ML"}},
    "ternary": {"model": {"linear": "ternary"}},
    "muon": {"optimizer": {"name": "muon"}},
    "curriculum": {"optimizer": {"lerac": {"lowest": 0.1, "until": 6}}},
    "averaged": {"averaging": {"kind": "ema", "start": 2, "decay": 0.8}},
    "growing": {
        "length": {"lengths": [32, 64], "starts": [0.0, 0.5]},
        "ramp": {"multiples": [1, 2], "starts": [0.0, 0.5]},
    },
    "long": {"data": {"span": 256}, "length": {"lengths": [256]}, "step_tokens": 512, "tokens": 8 * 512},
}
# What a study may ask about, and the arm that asks it here
KINDS = {
    "depth": "deeper",
    "width": "wider",
    "mixer": "latent",
    "optimizer": "muon",
    "betas": "betas",
    "precision": "precision",
    "length": "length",
    "mixture": "mixture",
    "schedule": "schedule",
}
# Base and mutations of something that it has; a few need a base of their own
GROUPS: list[tuple[str, dict[str, Tampering]]] = [
    *(("plain", group) for group in (data.ORDER, data.TEXT, data.LABELS, data.EVALUATION)),
    *(("plain", group) for group in (training.RATES, training.OPTIMIZER, training.LOSS, training.TRIES)),
    *(("plain", group) for group in (training.LATE, arithmetic.CONSTANTS, arithmetic.ARCHITECTURE)),
    *(("plain", group) for group in (arithmetic.INITIAL, arithmetic.TYPES, arithmetic.KERNELS, arithmetic.MACHINE)),
    ("curriculum", training.LAYERS),
    ("averaged", training.AVERAGES),
    ("muon", training.MUON),
    ("hybrid", arithmetic.OF_MODEL | arithmetic.OF_LATENT),
    ("ternary", arithmetic.OF_TERNARY),
]
AUDITED = [("plain", AUDIT)]
INSIDE: list[tuple[str, dict[str, Tampering]]] = [
    ("muon", training.MUON),
    ("model", arithmetic.OF_MODEL),
    ("latent", arithmetic.OF_LATENT),
    ("ternary", arithmetic.OF_TERNARY),
]
ELSEWHERE = {  # mutations of what a base of another kind has
    "growing length a step late": "growing",
    "growing batch a step late": "growing",
    "an average that nobody declared": "plain",
    "rates that grow with the batch": "growing",
    "a layer of 10 % more beyond 128 tokens": "long",
}
# Arms where the base is of another kind than most: what is no change there is one the other way round
OTHERWISE = {("muon", "muon"): "adamw", ("growing", "length"): "fixed", ("long", "length"): "halved"}


@dataclass(frozen=True)
class Mutation:
    name: str
    base: str
    arm: str
    tampering: Tampering

    def __call__(self, settings: Settings) -> None:
        """Train while it is in force."""
        with self.tampering():
            as_it_is(settings)

    def caught(self, lab: Lab) -> str:
        """By what, in a line; empty: it was not."""
        found = lab.alarms(self.arm, carry=self)
        return " | ".join(found) if found else lab.stopped


@dataclass(frozen=True)
class Grade:
    """`acts`: the arm's weights or scores were others; `by`: what caught it, or empty."""

    mutation: Mutation
    acts: bool
    by: str


def mutations(groups: list[tuple[str, dict[str, Tampering]]], arms: list[str] | None = None) -> list[Mutation]:
    """Each in an arm of every kind."""
    found = []
    for usual, group in groups:
        for name, tampering in group.items():
            base = ELSEWHERE.get(name, usual)
            found += [
                Mutation(name, base, OTHERWISE.get((base, arm), arm), tampering) for arm in arms or KINDS.values()
            ]
    return found


def inside() -> list[Mutation]:
    return [Mutation(name, "plain", arm, tampering) for arm, group in INSIDE for name, tampering in group.items()]


def confounds(quick: bool) -> list[Row]:
    """mutations caught of all, alarms of clean pairs, steps traced over steps untraced"""
    every = 60 if quick else 1
    listed, audited, hidden = (
        [grade for grade in graded(found[::every]) if grade.acts]
        for found in (mutations(GROUPS), mutations(AUDITED), inside())
    )
    alarms = [bool(found) for _, found in cried(list(clean())[::every])]
    if not quick:
        keep(listed, audited)
    sides = {
        "traced": lambda: tokens_per_second("ours", "nano", quick=quick),
        "untraced": lambda: tokens_per_second("untraced", "nano", quick=quick),
    }
    found = run(sides, 1 if quick else ROUNDS)
    whole = [spent(STEPS_QUICK if quick else STEPS_WHOLE) for _ in range(1 if quick else WHOLE_ROUNDS)]
    quiet = len(alarms) - sum(alarms)
    return [
        *_caught(f"{len({one.mutation.name for one in listed})} mutations in every kind of arm", listed, 0.95),
        *(
            _caught(f"in an arm of {kind}", listed_of(listed, kind), 0.95)[0]
            for kind in KINDS
            if listed_of(listed, kind)
        ),
        *_caught("mutations of the audit in every kind of arm", audited, None),
        Row(
            "mutations of the audit",
            "caught in every arm",
            [float(len(wholly(audited)))],
            min(27, len(wholly(audited))),
        ),
        *_caught("inside what the arm declares", hidden, None)[:1],
        Row(f"{len(alarms)} clean pairs", "alarms", [float(sum(alarms))], 0, "at most"),
        Row(f"{len(alarms)} clean pairs", "rate, upper 95 % bound", [1 - lower(quiet, len(alarms))]),
        Row("nano, 300,000 tokens", "traced / untraced, CPU time of an arm", whole, 1.03, "at most"),
        Row("nano", "untraced / traced, time of a step", ratios(found["untraced"], found["traced"]), 1.03, "at most"),
    ]


def _caught(case: str, grades: list[Grade], target: float | None) -> list[Row]:
    hits, of = sum(bool(grade.by) for grade in grades), len(grades)
    named = f"{case}: {of} that act"
    return [
        Row(named, "caught", [hits / max(1, of)], target),
        Row(named, "caught, lower 95 % bound", [lower(hits, of)]),
    ]


def listed_of(grades: list[Grade], kind: str) -> list[Grade]:
    arms = {KINDS[kind], *(other for (_, arm), other in OTHERWISE.items() if arm == KINDS[kind])}
    return [grade for grade in grades if grade.mutation.arm in arms]


def wholly(grades: list[Grade]) -> set[str]:
    """Names of mutations that were caught in every arm in which they act."""
    names = {grade.mutation.name for grade in grades}
    return names - {grade.mutation.name for grade in grades if not grade.by}


def keep(listed: list[Grade], audited: list[Grade]) -> None:
    """The table behind the rates: what slipped, and what each stream alone has caught."""
    streams = Counter(_stream(grade.by) for grade in listed if grade.by and len(_streams(grade.by)) == 1)
    slipped = [[grade.mutation.name, grade.mutation.arm] for grade in (*listed, *audited) if not grade.by]
    by_arm = {
        kind: [sum(bool(one.by) for one in listed_of(listed, kind)), len(listed_of(listed, kind))] for kind in KINDS
    }
    alone = dict(streams.most_common())
    TABLE.write_text(
        json.dumps({"caught by arm": by_arm, "slipped": slipped, "by one stream alone": alone}, indent=1) + "\n"
    )


def _streams(by: str) -> set[str]:
    return {_stream(text) for text in by.split(" | ")}


def _stream(text: str) -> str:
    return text.partition(": ")[2].partition(" differs")[0]


def graded(several: list[Mutation]) -> Iterator[Grade]:
    """Each mutation: whether it acts, and by what it was caught."""
    with ExitStack() as stack:
        labs = {base: stack.enter_context(laboratory(cases.DATA, BASES[base])) for base in {m.base for m in several}}
        untouched: dict[tuple[str, str], str] = {}
        for mutation in several:
            lab, where = labs[mutation.base], (mutation.base, mutation.arm)
            if where not in untouched:
                assert not lab.alarms(mutation.arm), f"an alarm of {where} that nobody touched"
                untouched[where] = lab.outcome
            by = mutation.caught(lab)
            yield Grade(mutation, lab.outcome != untouched[where], by)


def clean() -> Iterator[tuple[str, int, Carry]]:
    """(arm, seed, way) of 419 pairs: every arm in every way, and on further seeds."""
    for arm in (arm for arm in ARMS if arm not in BACK):
        for name, way in WAYS.items():
            if (arm, name) != ("ternary", "in parts of two rows"):  # another run, and an alarm
                yield arm, 0, way
        for seed in range(1, 14):
            yield arm, seed, as_it_is


def cried(pairs: list[tuple[str, int, Carry]]) -> Iterator[tuple[str, list[str]]]:
    """What was said of each clean pair; a run that stopped by itself says so too."""
    with laboratory(cases.DATA) as lab:
        for arm, seed, carry in pairs:
            found = lab.alarms(arm, seed, carry)
            yield f"{arm} s{seed}", found + ([lab.stopped] if lab.stopped else [])


def spent(steps: int) -> float:
    """CPU seconds of an arm whose study compares it with a base, over those of the same arm with nothing noted."""
    with laboratory(cases.DATA, {"size": NANO, "tokens": steps * 1024, **LONG}) as lab:
        arm = lab.plan(("betas",))[0].runs[1]
        seconds = []
        for noted in (mock.patch.object(training_run, "Trace", return_value=Callback()), nullcontext()):
            begun = time.process_time()
            with noted:
                as_it_is(arm.settings)
            seconds.append(time.process_time() - begun)
            with lab.forgotten(arm.id):
                pass
    return seconds[1] / seconds[0]


def lower(hits: int, of: int) -> float:
    """Of a rate, one-sided 95 %."""
    return float(beta.ppf(0.05, hits, of - hits + 1)) if hits else 0.0
