"""Scaling laws L(N, D) of published IsoFLOP runs: whether the optimum is found, and what it says of larger runs.

Runs of Porian et al. with a cosine or a short warmup, by data set and way of counting parameters. Fitted to the lower
half of the budgets, graded on the upper half: the law is not true far from the optimal size, and it shows.
`grids` are random orders of the runs, random units and random grids; `starts` are L-BFGS from one random point each.
"""

import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from ablate.laws import chinchilla
from bench.curves import TABLES
from bench.races import Rate
from bench.rounds import Row

REPEATS, ERROR, SECONDS = 20, 1.0, 1.0
REACHED = {"grids": 1 + 1e-4, "starts": 1.01}  # times the lowest objective known, which counts as the optimum


class Share(Rate):
    """A rate of anything but races."""

    def plain(self) -> dict:
        return {("number" if key == "races" else key): value for key, value in super().plain().items()}


def isoflops(repeats: int = REPEATS) -> list[Row]:
    """Rows of every setup; empty without the tables."""
    return [row for case, runs in _setups() for row in _graded(case, runs, repeats)]


def _setups() -> Iterator[tuple[str, pd.DataFrame]]:
    path = TABLES / "formll+resolving-scaling-law-discrepancies" / "isoflop_points.csv"
    if path.exists():
        table = pd.read_csv(path)
        table = table[(table.decay != "const") & (table.warmup == "short")]
        for key, runs in table.groupby(["dataset", "decay", "param_count"]):
            yield "L(N, D), " + " ".join(key), runs


def _graded(case: str, runs: pd.DataFrame, repeats: int) -> list[Row]:
    budgets = np.sort(runs.flops.unique())
    lower = (runs.flops <= budgets[len(budgets) // 2]).to_numpy()
    whole = tuple(runs[name].to_numpy() for name in ("n_params", "tokens", "loss"))
    seen, (N, D, loss) = tuple(part[lower] for part in whole), tuple(part[~lower] for part in whole)
    errors = 100 * np.abs(chinchilla.estimate(*seen)(N, D) / loss - 1)
    rng, found, seconds = np.random.default_rng(0), [], []
    for _ in range(repeats):
        begin = time.perf_counter()
        found.append(_from_a_random_grid(rng, *whole))
        seconds.append(time.perf_counter() - begin)
    starts = [_from_a_random_start(rng, *whole) for _ in range(repeats)]
    best = min(*found, *starts)
    return [
        Row(case, "held-out error, %", errors.tolist(), ERROR, "at most"),
        Share(case, "grids at the optimum", [float(one <= REACHED["grids"] * best) for one in found], 1.0),
        Share(case, "starts at the optimum", [float(one <= REACHED["starts"] * best) for one in starts]),
        Row(case, "a fit, s", seconds, SECONDS, "at most"),
    ]


def _from_a_random_grid(rng: np.random.Generator, N: np.ndarray, D: np.ndarray, loss: np.ndarray) -> float:
    """The objective reached."""
    order, (n, d) = rng.permutation(len(loss)), 10 ** rng.uniform(-6, 6, 2)
    runs = N[order] * n, D[order] * d, loss[order]
    return chinchilla.estimate(*runs, grid=int(rng.integers(16, 41))).objective(*runs)


def _from_a_random_start(rng: np.random.Generator, N: np.ndarray, D: np.ndarray, loss: np.ndarray) -> float:
    x, z, logs = np.log(N), np.log(D), np.log(loss)

    def objective(q: np.ndarray) -> float:
        predicted = np.logaddexp.reduce([np.full_like(x, q[0]), q[1] - q[3] * x, q[2] - q[4] * z])
        return chinchilla.huber(np.exp(np.clip(predicted - logs, -300, 300)), np.ones_like(logs))

    low, high = np.array([[-1.0, 0.0, 0.0, 0.0, 0.0], [1.5, 25.0, 25.0, 2.0, 2.0]])
    return float(minimize(objective, rng.uniform(low, high), method="L-BFGS-B").fun)
