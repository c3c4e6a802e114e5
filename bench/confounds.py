"""How many injected confounds the detector finds before the runs have ended, and how often it cries for nothing.

    mutations    runs of a tiny study tampered with behind the audit's back, one at a time (`bench.mutations`)
    inside       the same in a part that only the arm has and that it declares: there is nothing to compare with
    clean        pairs that differ as declared: kinds of arms x ways of carrying a run out, and seeds
    cost         of tracing: steps of the same run with and without, in turn

A mutation is caught when a finding that does not hold names its arm, from records cut before the last step, or
when a check of the run's own stops it. Rates have their exact bound (Clopper and Pearson 1934). All of it can
fail: a detector that is asked nothing finds nothing, one that trusts nobody cries at clean pairs.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from scipy.stats import beta

from ablate.run.settings import Settings
from bench import cases
from bench.mutations import arithmetic, data, training
from bench.mutations.data import Tampering
from bench.mutations.lab import ARMS, WAYS, Carry, Lab, as_it_is, laboratory
from bench.rounds import Row, ratios, run
from bench.speed import tokens_per_second

ROUNDS = 7
BASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "hybrid": {"model": {"pattern": "ML"}},
    "ternary": {"model": {"linear": "ternary"}},
    "muon": {"optimizer": {"name": "muon"}},
}
# Base, arm, mutations: arms that do not explain them, unless the plan tells
GROUPS: list[tuple[str, str, dict[str, Tampering]]] = [
    ("plain", "rate", data.ORDER),
    ("plain", "decay", data.TEXT),
    ("plain", "schedule", data.LABELS),
    ("plain", "mixture", data.EVALUATION),
    ("plain", "schedule", training.RATES),
    ("plain", "layers", training.LAYERS),
    ("plain", "mixture", training.OPTIMIZER),
    ("muon", "schedule", training.MUON),
    ("plain", "length", training.LOSS),
    ("plain", "average", training.AVERAGES),
    ("plain", "rate", training.TRIES),
    ("plain", "late", training.LATE),
    ("plain", "mixture", arithmetic.CONSTANTS),
    ("plain", "rate", arithmetic.ARCHITECTURE),
    ("plain", "schedule", arithmetic.INITIAL),
    ("plain", "ramp", arithmetic.TYPES),
    ("plain", "length", arithmetic.KERNELS),
    ("plain", "model", arithmetic.MACHINE),
    ("hybrid", "rate", arithmetic.OF_MODEL),
    ("hybrid", "late", arithmetic.OF_LATENT),
    ("ternary", "rate", arithmetic.OF_TERNARY),
]
INSIDE: list[tuple[str, str, dict[str, Tampering]]] = [
    ("plain", "muon", training.MUON),
    ("plain", "model", arithmetic.OF_MODEL),
    ("plain", "latent", arithmetic.OF_LATENT),
    ("plain", "ternary", arithmetic.OF_TERNARY),
    ("plain", "rate", training.LATE),
]
ELSEWHERE = {  # mutations of what an arm of another kind has
    "growing length a step late": "length",
    "growing batch a step late": "ramp",
    "a mixture of 20 % more": "mixture",
    "a mixture of 50 % more in the last stage": "mixture",
    "a stage of the mixture a step late": "mixture",
    "blocks of 32 rows": "mixture",
    "an average that nobody declared": "rate",
}


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
        return found[0] if found else lab.stopped


def mutations(groups: list[tuple[str, str, dict[str, Tampering]]]) -> list[Mutation]:
    return [
        Mutation(name, base, ELSEWHERE.get(name, arm), tampering)
        for base, arm, group in groups
        for name, tampering in group.items()
    ]


def confounds(quick: bool) -> list[Row]:
    """mutations caught of all, alarms of clean pairs, steps traced over steps untraced"""
    every = 20 if quick else 1
    caught, inside = ([bool(by) for _, by in graded(mutations(group)[::every])] for group in (GROUPS, INSIDE))
    alarms = [bool(found) for _, found in cried(list(clean())[::every])]
    sides = {
        "traced": lambda: tokens_per_second("ours", "nano", quick=quick),
        "untraced": lambda: tokens_per_second("untraced", "nano", quick=quick),
    }
    found = run(sides, 1 if quick else ROUNDS)
    quiet = len(alarms) - sum(alarms)
    return [
        Row(f"{len(caught)} mutations", "caught", [sum(caught) / len(caught)], 0.99),
        Row(f"{len(caught)} mutations", "caught, lower 95 % bound", [lower(sum(caught), len(caught))]),
        Row(f"{len(inside)} inside what the arm declares", "caught", [sum(inside) / len(inside)]),
        Row(f"{len(alarms)} clean pairs", "alarms", [float(sum(alarms))], 0, "at most"),
        Row(f"{len(alarms)} clean pairs", "rate, upper 95 % bound", [1 - lower(quiet, len(alarms))]),
        Row("nano", "untraced / traced, time of a step", ratios(found["untraced"], found["traced"]), 1.01, "at most"),
    ]


def graded(several: list[Mutation]) -> Iterator[tuple[Mutation, str]]:
    """Each mutation, and by what it was caught."""
    with ExitStack() as stack:
        labs = {base: stack.enter_context(laboratory(cases.DATA, BASES[base])) for base in {m.base for m in several}}
        for mutation in several:
            yield mutation, mutation.caught(labs[mutation.base])


def clean() -> Iterator[tuple[str, int, Carry]]:
    """(arm, seed, way) of 200 pairs: every arm in every way, and on two more seeds."""
    for arm in ARMS:
        for way in WAYS.values():
            yield arm, 0, way
        for seed in (1, 2):
            yield arm, seed, as_it_is


def cried(pairs: list[tuple[str, int, Carry]]) -> Iterator[tuple[str, list[str]]]:
    """What was said of each clean pair; a run that stopped by itself says so too."""
    with laboratory(cases.DATA) as lab:
        for arm, seed, carry in pairs:
            found = lab.alarms(arm, seed, carry)
            yield f"{arm} s{seed}", found + ([lab.stopped] if lab.stopped else [])


def lower(hits: int, of: int) -> float:
    """Of a rate, one-sided 95 %."""
    return float(beta.ppf(0.05, hits, of - hits + 1)) if hits else 0.0
