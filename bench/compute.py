"""What a difference is worth in tokens (`laws.worth`), on planted curves: how often the interval holds the truth.

A base follows a planted law at every seed, with an offset of the seed and the noise of an evaluation; an arm ends
where the base would after r times the tokens, with noise of its own. What is known of r is known to the grader alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ablate.laws import curves
from ablate.laws.worth import Worth, problem, worth
from ablate.verdict.statistics.paired import interval
from bench.isoflops import Share
from bench.planted import KINDS, NOISE, worlds
from bench.rounds import Row

LEVEL = 0.05
TRAINED = 1_000_000
GRIDS = {"5 evaluations": np.linspace(0.4, 0.8, 5), "14 evaluations": np.linspace(0.3, 0.8, 14)}  # of a run, kept ones
SEEDS = (3, 5, 8)
OWN = (5e-4, 3e-3)  # sd of a paired difference, from and to
SHARED = 0.01  # sd of what a seed adds to all its losses
RATIOS = (0.6, 1.7)  # what arms are worth, from and to
LOWEST, HIGHEST = 0.93, 0.97
PLANTED, QUICK = 120, 4


@dataclass(frozen=True)
class Case:
    kind: str
    grid: str
    seeds: int
    truth: float
    found: Worth | None  # None: no law was identified

    @property
    def held(self) -> bool:
        assert self.found is not None
        low, high = self.found.interval
        return low <= self.truth <= high


def cases(number: int) -> list[Case]:
    rng = np.random.default_rng(7)
    return [
        _case(rng, world, kind, grid, seeds)
        for kind in KINDS
        for grid in GRIDS
        for seeds in SEEDS
        for world in worlds(rng, kind, number)
    ]


def _case(rng: np.random.Generator, world: Callable, kind: str, grid: str, seeds: int) -> Case:
    n, noise = GRIDS[grid], np.exp(rng.uniform(*np.log(NOISE)))
    truth = float(np.exp(rng.uniform(*np.log(RATIOS))))
    offsets = SHARED * rng.standard_normal(seeds)
    losses = {seed: world(n) + offsets[seed] + noise * rng.standard_normal(len(n)) for seed in range(seeds)}
    points = curves.Points({seed: TRAINED * n for seed in losses}, losses)
    curve = curves.estimate_points(points, "base", "macro", TRAINED, 1 - LEVEL)
    own = np.exp(rng.uniform(*np.log(OWN))) * rng.standard_normal(seeds)
    differences = float(world(np.array(truth)) - world(np.array(1.0))) + own
    low, high = interval(list(differences), LEVEL)
    told = None if problem(curve) else worth(curve, float(differences.mean()), (high - low) / 2)
    return Case(kind, grid, seeds, truth, told)


def compute(quick: bool) -> list[Row]:
    """shares of planted arms, and widths of the interval as a factor (its upper end over its lower)"""
    found = cases(QUICK if quick else PLANTED)
    rows = _rows("all", found, aims=True)
    for kind in KINDS:
        rows += _rows(f"law: {kind}", [one for one in found if one.kind == kind])
    for grid in GRIDS:
        rows += _rows(grid, [one for one in found if one.grid == grid])
    for seeds in SEEDS:
        rows += _rows(f"{seeds} seeds", [one for one in found if one.seeds == seeds])
    return rows


def _rows(case: str, found: list[Case], aims: bool = False) -> list[Row]:
    told = [one for one in found if one.found]
    widths = [one.found.interval[1] / max(one.found.interval[0], 1e-9) for one in told if one.found]
    held = [float(one.held) for one in told]
    return [
        Share(case, "interval holds", held, LOWEST if aims else None),
        *([Row(case, "interval holds, at most", [float(np.mean(held))], HIGHEST, "at most")] if aims else []),
        Share(case, "told", [float(one.found is not None) for one in found]),
        Share(case, "an end is open", [float(width > 1e3) for width in widths]),
        Row(case, "width, as a factor, quartiles", [float(q) for q in np.quantile(widths, (0.25, 0.5, 0.75))]),
    ]
