"""Whether a search that starts only some arms finds the best one: whole families, replayed through `laws.search`.

Planted: worlds of `tests/worlds` that no rule has seen (`SEALED`), 20 to 60 mixtures each, every run read at ten
moments with so many of its tokens; luck builds up along a run. Some are late: a domain pays only with more tokens
(`flip`), or a little of it teaches nothing.

RegMix (sail-sg/regmix): disjoint blocks of its mixtures, 40 of those at 1M and at 60M, the 64 at 1B. The tables hold
ends alone, so that no arm is stopped early and nothing but the choice of arms is measured. Each block is read by one
validation set, in turn: sets of the same runs are no further evidence.

`found`: the arm of the lowest final loss of the very runs is among those that came to their end. `near`: some arm is
that ends within NEAR of the noise of a run. Intervals are Clopper-Pearson's over families. The budget is strict and
counts the base. `at random`: as many whole arms in any order, on the same families.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ablate.laws.search import Block, Memo, play
from bench.mixtures import REGMIX, table
from bench.races import Mean, Rate
from bench.rounds import Row
from tests.worlds.catalogue import KINDS, SEALED, world
from tests.worlds.ngram import World

FAMILIES, QUICK, FIRST = 28, 7, SEALED + 5000
ARMS, EVALUATIONS = (20, 61), 10  # from and below
TABLES = (("train", "1m", 40), ("test", "60m", 40), ("test", "1B", 64))  # and arms of a block
WALK, EVALUATION = 0.9, 0.3  # of a run's noise: luck that builds up, luck of an evaluation
NEAR = 2.0
SPENDS = ((0.45, 0.95), (0.40, 0.90))
WORKERS, LESS = (1, 4), 0.03  # at once; what several may find less often


class Found(Rate):
    """A rate over families."""

    unit = "families"


@dataclass(frozen=True)
class Family:
    """noise: standard deviation of the metric of one run, as far as it is known."""

    name: str
    block: Block
    noise: float
    memo: Memo = field(default_factory=dict)  # searches of one family often ask the same


def search(quick: bool) -> list[Row]:
    """share of families with Clopper-Pearson 95 %; compute with the base"""
    count = QUICK if quick else FAMILIES
    cases = {"planted": [planted(FIRST + i) for i in range(count)]}
    if REGMIX.exists():
        cases["RegMix"] = regmix()[: count // 2]
    rows: list[Row] = []
    for case, families in cases.items():
        for workers in WORKERS:
            for spend, target in SPENDS:
                goal = target - LESS * (workers > 1)
                rows += measured(
                    f"{case}, {spend:.0%}, {workers} at once", families, partial(played, spend, workers), goal
                )
        rows += measured(f"{case}, 45%, at random", families, partial(at_random, 0.45))
    for kind in KINDS:
        of_kind = [one for one in cases["planted"] if one.name == kind]
        rows += measured(f"planted, {kind}, 45%, 1 at once", of_kind, partial(played, 0.45, 1))[:2]
    return rows


Played = tuple[list[int], float]  # arms at their end, compute


def measured(
    case: str, families: list[Family], how: Callable[[Family], Played], goal: float | None = None
) -> list[Row]:
    found, near, compute = [], [], []
    for family in families:
        ends = family.block.losses[:, -1] @ family.block.importance
        whole, spent = how(family)
        behind = float(ends[whole].min() - ends.min())
        found.append(float(behind == 0))
        near.append(float(behind <= NEAR * family.noise))
        compute.append(spent)
    return [Found(case, "found", found, goal), Found(case, "near", near), Mean(case, "compute", compute)]


def played(spend: float, batch: int, family: Family) -> Played:
    one = play(family.block, spend, batch, family.memo)
    assert not one.wanted
    spent = len(one.whole) + sum(part for part, _ in one.stopped.values())
    return one.whole, spent / len(family.block.weights)


def at_random(spend: float, family: Family) -> Played:
    arms = len(family.block.weights)
    others = np.random.default_rng(arms).permutation(np.arange(1, arms))[: int(spend * arms) - 1]
    return [0, *others.tolist()], (1 + len(others)) / arms


def planted(seed: int) -> Family:
    """A world's mixtures, drawn wide or around one of its priors, the base among them."""
    one, rng = world(seed), np.random.default_rng([13, seed])
    count, parts = int(rng.integers(*ARMS)) - 1, np.arange(1, EVALUATIONS + 1) / EVALUATIONS
    priors = list(one.priors.values())
    base = 0.9 * priors[rng.integers(len(priors))] + 0.1 / one.num_domains
    concentration = rng.choice([0.5, 1.0, 3.0])
    wide = rng.dirichlet(np.full(one.num_domains, concentration), count)
    around = rng.dirichlet(base * one.num_domains * rng.choice([1.0, 3.0]) + 0.05, count)
    weights = np.concatenate([base[None], wide if rng.random() < 0.5 else around])
    truth = np.stack([replace(one, tokens=one.tokens * part).truth(weights) for part in parts], 1)
    sets = len(one.own)
    block = Block(
        weights=weights,
        parts=parts,
        losses=truth + luck(one, weights, parts, rng),
        lost=np.zeros(len(weights), bool),
        own=one.own,
        importance=np.full(sets, 1 / sets),
    )
    return Family(one.kind, block, one.sd)


def luck(one: World, weights: np.ndarray, parts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Arms x evaluations x sets, at the end of the world's noise: most builds up, some is of the evaluation."""
    shape = (len(weights), len(parts), len(one.own))
    steps = np.sqrt(np.diff(parts, prepend=0.0))[:, None] * rng.standard_normal(shape)
    away = (weights**2).sum(1) - 1 / one.num_domains
    scale = one.noise * (1 + one.uneven * away)[:, None, None]
    return scale * (WALK * steps.cumsum(1) + EVALUATION * rng.standard_normal(shape))


def regmix() -> list[Family]:
    """Blocks of mixtures that were trained at one size."""
    found: list[Family] = []
    for kind, size, arms in TABLES:
        weights, losses, (domains, sets) = table(kind, size)
        for first in range(0, len(weights) - arms + 1, arms):
            block = Block(
                weights=weights[first : first + arms],
                parts=np.ones(1),
                losses=losses[first : first + arms, None],
                lost=np.zeros(arms, bool),
                own=tuple(domains.index(name) for name in sets),
                importance=np.eye(len(sets))[len(found) % len(sets)],
            )
            found.append(Family(f"RegMix {size}", block, 0.0))
    return found
