"""Chances that a sign turns at the next size (`statistics.ladder`), on public families of runs from small to large.

mixtures     RegMix: 256 mixtures at 1 M parameters, then at 60 M; a loss on one of 13 domains, or their mean
recipes      5 training recipes on 2 corpora, the best loss at each of 12 budgets of FLOPs: two budgets, then the next
schedules    9 learning-rate schedules at 25 M and 100 M parameters, then at 400 M: no sign turns among these

A study is a base and a few arms drawn from a family. KAPPA and MU were chosen on `mixtures` and `recipes` together, of
16 pairs of values; both families bear neighbouring values as well (rows `with`).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from ablate.verdict.statistics import ladder as rule
from ablate.verdict.statistics.ladder import Rungs, held
from bench.isoflops import TABLES, Share
from bench.rounds import Row

Family = Callable[[np.random.Generator, int], Iterator[tuple[np.ndarray, np.ndarray]]]
BINS = ((0.0, 0.05), (0.05, 0.15), (0.15, 0.3), (0.3, 0.5001))
NOISE = 0.0007  # sd of a relative difference between two seeds, as published of runs like these (datablations)
ARMS, STUDIES, QUICK = (3, 8), 1500, 40
WITHIN = 0.1
NEIGHBOURS = ((0.045, 0.1), (0.08, 0.1), (0.06, 0.05), (0.06, 0.15))
SIZES = (25, 100, 400)  # million parameters, of the schedules
RATE_END = 3  # last points of a curve, averaged


def mixtures(rng: np.random.Generator, arms: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    folder = TABLES / "sail-sg+regmix/data"
    losses = [pd.read_csv(folder / f"test_pile_loss_{size}.csv").iloc[:, 1:].to_numpy() for size in ("1m", "60m")]
    y_KMD = np.stack([np.column_stack([one, one.mean(1)]) for one in losses])
    while True:
        chosen, domain = rng.choice(y_KMD.shape[1], arms + 1, replace=False), rng.integers(y_KMD.shape[2])
        yield y_KMD[:, chosen, domain].T, np.array([1e6, 6e7])


def recipes(rng: np.random.Generator, arms: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    table = pd.read_csv(TABLES / "formll+resolving-scaling-law-discrepancies/isoflop_points.csv")
    table = table[table.split == "val"].assign(recipe=table.hparams + table.warmup + table.decay)
    best = table.groupby(["dataset", "param_count", "recipe", "flops"]).loss.min().unstack("flops")
    grids = [one for _, group in best.groupby(level=[0, 1]) if len(one := group.dropna(axis=1)) > arms]
    grids = [one for one in grids if one.shape[1] >= 3]
    while grids:
        one = grids[rng.integers(len(grids))]
        first, chosen = rng.integers(one.shape[1] - 2), rng.choice(len(one), arms + 1, replace=False)
        yield one.to_numpy()[chosen, first : first + 3], one.columns.to_numpy(float)[first : first + 3]


def schedules(rng: np.random.Generator, arms: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    folder = TABLES / "thu-yao-01-luo+MultiPowerLaw/loss_curve_repo"
    names = sorted(path.name for path in (folder / "csv_25").glob("*.csv"))
    ends = np.array([[_end(folder / f"csv_{size}" / name) for size in SIZES] for name in names])
    while True:
        yield ends[rng.choice(len(ends), arms + 1, replace=False)], 1e6 * np.array(SIZES, float)


def _end(path: Path) -> float:
    return float(np.loadtxt(path, delimiter=",", skiprows=1)[-RATE_END:, 2].mean())


FAMILIES: dict[str, Family] = {"mixtures": mixtures, "recipes": recipes, "schedules": schedules}


def ladder(quick: bool) -> list[Row]:
    """stated chances that a sign turns, against the share that turned, and how often the interval holds the effect"""
    if not TABLES.exists():
        return [Row("public families", "the tables are not here", [0.0])]
    rows, studies = [], QUICK if quick else STUDIES
    for name, family in FAMILIES.items():
        for arms in ARMS:
            rows += _rows(f"{name}, {arms} arms", list(_graded(family, arms, studies)), WITHIN)
    for kappa, mu in NEIGHBOURS:
        with mock.patch.multiple(rule, KAPPA=kappa, MU=mu):
            for name in ("mixtures", "recipes"):
                found = list(_graded(FAMILIES[name], ARMS[0], studies))
                rows += _rows(f"{name}, with {kappa:g} and {mu:g}", found, None)
    return rows


def _graded(family: Family, arms: int, studies: int) -> Iterator[tuple[float, bool, bool]]:
    """(stated chance, whether the sign turned, whether the interval held) of every arm at the last size."""
    for _, (y_AK, sizes) in zip(range(studies), family(np.random.default_rng(1), arms), strict=False):
        effects = (y_AK[1:] - y_AK[0]) / y_AK[0]
        rungs = Rungs(sizes[:-1], effects[:, :-1], np.full(effects[:, :-1].shape, NOISE))
        for one, true in zip(held(rungs, sizes[-1], 0.05), effects[:, -1], strict=True):
            low, high = one.interval
            yield one.flip, bool(one.effect * true < 0), bool(low <= true <= high)


def _rows(case: str, found: list[tuple[float, bool, bool]], limit: float | None) -> list[Row]:
    rows: list[Row] = [Share(case, "interval holds", [float(held) for *_, held in found])] if found else []
    for low, high in BINS:
        inside = [(stated, turned) for stated, turned, _ in found if low <= stated < high]
        if inside:
            stated, turned = (float(np.mean(column)) for column in zip(*inside, strict=True))
            what = f"stated {low:g} to {high:.2g}"
            rows.append(Share(case, f"{what}, turned", [float(turned) for _, turned in inside]))
            if limit:
                rows.append(Row(case, f"{what}, distance", [abs(turned - stated)], limit, "at most"))
    return rows
