"""Scaling laws over several runs: loss against parameters and tokens.

    law = estimate(params, tokens, loss)      L(N, D) = E + A / N^a + B / D^b       (Hoffmann et al. 2022, equation 2)
    law(1e9, 2e10), law.optimal(1e20)    the loss there; parameters and tokens that spend so many FLOPs best

The objective is theirs and Epoch's (Besiroglu et al. 2024): the sum of Huber losses, delta 1e-3, of log residuals, so
that a few bad runs do not bend the law. It has local optima: of random single starts few reach the best. For given
(a, b) the law is linear in (E, A, B), all at least 0; a grid over (a, b) with that solved in closed form leaves
the basins to see, and the best of them are refined (variable projection, Golub & Pereyra 1973).

    for edge in edges(params, tokens, loss, rng): print(edge)      which runs carry the law

Predictions are stable, parameters are not: `resample` gives laws of runs drawn anew, whose
exponents spread far wider than their predictions. Never read E, a or b without that spread.
"""

from dataclasses import astuple, dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import least_squares

DELTA = 1e-3  # Huber's, of log losses: Hoffmann et al. 2022, appendix D.2
EXPONENTS = (0.02, 2.0)
BASINS = 6  # refined
EDGE, RESAMPLED = 0.02, 40  # share of the runs left out at an edge; laws resampled without them
FLOPS = 6  # per parameter and token
TOLERANCES = {"xtol": 1e-12, "ftol": 1e-12, "gtol": 1e-12, "max_nfev": 400}


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) = E + A / N^a + B / D^b in the unit of the losses."""

    E: float
    A: float
    B: float
    a: float
    b: float

    def __call__(self, params: np.ndarray | float, tokens: np.ndarray | float) -> np.ndarray:
        return self.E + self.A * np.power(params, -self.a) + self.B * np.power(tokens, -self.b)

    @property
    def balance(self) -> float:
        """G: the loss is lowest at N = G (C/6)^(b/(a+b)) and D = (C/6)^(a/(a+b)) / G (Hoffmann et al., equation 4)."""
        return (self.a * self.A / (self.b * self.B)) ** (1 / (self.a + self.b))

    def optimal(self, flops: float) -> tuple[float, float]:
        """Parameters and tokens of the lowest loss with 6 N D FLOPs."""
        product, total = flops / FLOPS, self.a + self.b
        return self.balance * product ** (self.b / total), product ** (self.a / total) / self.balance

    def objective(self, params: np.ndarray, tokens: np.ndarray, loss: np.ndarray) -> float:
        """Sum of Huber losses of the log residuals."""
        return huber(self(params, tokens), loss)


def huber(predicted: np.ndarray, loss: np.ndarray) -> float:
    """Sum of Huber losses of log residuals: r^2 / 2 up to d = DELTA, d (|r| - d / 2) beyond."""
    r = np.abs(np.log(predicted) - np.log(loss))
    return float(np.where(r <= DELTA, r**2 / 2, DELTA * (r - DELTA / 2)).sum())


def estimate(params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, grid: int = 24) -> ScalingLaw:
    """The law of the lowest objective; one value a run. grid: exponents looked at on each axis.

    Raises ValueError for fewer runs than its five parameters, or runs of a single N or D.
    """
    if len(loss) < 5 or len(np.unique(params)) < 2 or len(np.unique(tokens)) < 2:
        raise ValueError(f"{len(loss)} runs do not identify L(N, D): at least 5, of two sizes and two lengths, do")
    units = float(np.exp(np.log(params).mean())), float(np.exp(np.log(tokens).mean()))
    n, d = params / units[0], tokens / units[1]  # near 1, so that A and B are of the size of the loss
    starts = _starts(n, d, loss, grid)
    found = [_refine(start, n, d, loss, floor) for start in starts for floor in (True, False)]  # flat towards E = 0
    best = min(found, key=lambda law: law.objective(n, d, loss))
    return ScalingLaw(best.E, best.A * units[0] ** best.a, best.B * units[1] ** best.b, best.a, best.b)


def _starts(n: np.ndarray, d: np.ndarray, loss: np.ndarray, grid: int) -> list[ScalingLaw]:
    """The lowest laws of the grid that are lower than all their neighbours, at most BASINS."""
    axis = np.geomspace(*EXPONENTS, grid)
    a, b = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    squares, linear = _solve(n ** -a[:, None], d ** -b[:, None], loss)
    field = np.pad(squares.reshape(grid, grid), 1, constant_values=np.inf)
    around = [field[1 + i : grid + 1 + i, 1 + j : grid + 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    low = np.flatnonzero((field[1:-1, 1:-1] <= np.min(around, axis=0)).ravel())
    chosen = low[squares[low].argsort()][:BASINS]
    return [ScalingLaw(*(float(value) for value in (*linear[k], a[k], b[k]))) for k in chosen]


def _solve(x_KR: np.ndarray, z_KR: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least relative squares of E + A x + B z for each row, E, A and B at least 0: (squares, solutions).

    With three unknowns every set that may be zero is tried; the best feasible one is the solution.
    """
    columns = np.stack([np.ones_like(x_KR), x_KR, z_KR]) / loss  # relative residuals are log residuals, nearly
    gram, right = np.einsum("ikr,jkr->kij", columns, columns), columns.sum(-1).T
    best, solution = np.full(len(x_KR), np.inf), np.zeros((len(x_KR), 3))
    for kept in (list(kept) for size in (1, 2, 3) for kept in combinations(range(3), size)):
        block = gram[:, kept][:, :, kept] + 1e-12 * np.eye(len(kept))
        some = np.linalg.solve(block, right[:, kept, None])[..., 0]
        full = np.zeros_like(solution)
        full[:, kept] = some
        squares = ((np.einsum("ki,ikr->kr", full, columns) - 1) ** 2).sum(1)
        better = (some >= 0).all(1) & (squares < best)
        best[better], solution[better] = squares[better], full[better]
    return best, solution


def _refine(start: ScalingLaw, n: np.ndarray, d: np.ndarray, loss: np.ndarray, floor: bool) -> ScalingLaw:
    """The optimum near a start, over logarithms, which keep parameters positive; without `floor`, E is 0."""
    logs, x, z = np.log(loss), np.log(n), np.log(d)
    skipped = 0 if floor else 1

    def terms(q: np.ndarray) -> np.ndarray:
        return np.stack([np.full_like(x, q[0]), q[1] - np.exp(q[3]) * x, q[2] - np.exp(q[4]) * z])[skipped:]

    def residuals(q: np.ndarray) -> np.ndarray:
        return np.logaddexp.reduce(terms(whole(q))) - logs

    def jacobian(q: np.ndarray) -> np.ndarray:
        parts, (a, b) = terms(whole(q)), np.exp(q[-2:])
        shares = np.exp(parts - np.logaddexp.reduce(parts))
        return np.stack([*shares, -a * x * shares[-2], -b * z * shares[-1]], axis=1)

    def whole(q: np.ndarray) -> np.ndarray:
        return q if floor else np.concatenate([[-np.inf], q])

    first = np.log(np.maximum(astuple(start), 1e-3 * loss.min()))[skipped:]
    done = least_squares(residuals, first, jacobian, loss="huber", f_scale=DELTA, **TOLERANCES)
    return ScalingLaw(*np.exp(whole(done.x)).tolist())


def resample(
    params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, times: int, rng: np.random.Generator
) -> list[ScalingLaw]:
    """Laws of runs drawn with replacement, as many as there are (bootstrap); draws that identify none are left out."""
    found = []
    for _ in range(times):
        drawn = rng.integers(0, len(loss), len(loss))
        if len(np.unique(drawn)) >= 5:
            found.append(estimate(params[drawn], tokens[drawn], loss[drawn], grid=12))
    return found


@dataclass(frozen=True)
class Edge:
    """A few runs at one edge, and the law without them. moved: the parameters of the law of all runs that lie outside
    the middle 90 % of laws resampled without these runs."""

    which: str
    runs: tuple[int, ...]
    without: ScalingLaw
    moved: tuple[str, ...]
    whole: ScalingLaw

    def __str__(self) -> str:
        names = self.moved or tuple(vars(self.whole))
        parts = (f"{name} {getattr(self.whole, name):.4g} to {getattr(self.without, name):.4g}" for name in names)
        warning = "warning: " if self.moved else ""
        runs = "run" if len(self.runs) == 1 else f"{len(self.runs)} runs"
        return f"{warning}without the {runs} of the {self.which}: {', '.join(parts)}"


def edges(params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, rng: np.random.Generator) -> list[Edge]:
    """The EDGE runs with the fewest and most parameters and tokens: a few of 245 can carry a parameter.

    Left out together, as runs at one edge hide each other: without one of them the next still holds the law.
    """
    whole, found = estimate(params, tokens, loss), []
    count = max(round(EDGE * len(loss)), 1)
    for name, values in (("parameters", params), ("tokens", tokens)):
        order = np.argsort(values, kind="stable")
        for most, runs in (("fewest", order[:count]), ("most", order[-count:])):
            rest = np.delete(np.arange(len(loss)), runs)
            kept = params[rest], tokens[rest], loss[rest]
            laws = np.array([astuple(law) for law in resample(*kept, RESAMPLED, rng)])
            low, high = np.quantile(laws, [0.05, 0.95], axis=0)
            outside = [n for n, v, a, b in zip(vars(whole), astuple(whole), low, high, strict=True) if not a <= v <= b]
            found.append(Edge(f"{most} {name}", tuple(runs.tolist()), estimate(*kept), tuple(outside), whole))
    return found
