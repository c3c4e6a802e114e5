"""Laws of loss against tokens, estimated without a start: for given exponents they are linear in the rest.

    L(n) = E + A n^-alpha              the law whose parameters are named, `Law`
    L(n) = E + A (n + s)^-alpha        the laws that extrapolate, `Laws`: many of them, weighted by how well they fit

Given alpha and s, E and A (both at least 0) have closed forms; what is left is a search over a grid, without a
start to choose and without a local optimum to end in (variable projection, Golub & Pereyra 1973).

Why many laws: no law is true. From 30 % of a curve the best power law is 1.3 to 1.6 times as far off as their
weighted mean, and its residuals do not say how far (a bootstrap of them held 21 of 53 at nominal 90 %). How far laws
that fit about equally well lie apart does say something, and `extrapolation` turns it into an interval. A law's
weight is (residual sum of squares)^-1: the exponent that MIN_POINTS independent points would give after three
parameters. Evaluations are many but follow one wander of the run, and count as few; half of all weight is on s = 0
beforehand. Exponent and grid are the best on planted families (bench/planted.py); MMF laws beside these gained nothing.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

ALPHAS = (0.02, 3.0)  # beyond, the law is a logarithm or a step and its parameters mean nothing
SHIFTS = (0.0, -0.5, -0.25, 0.5, 1.0, 2.0, 4.0, 10.0)  # of the first number of tokens
NUM_ALPHAS = 61
MIN_POINTS = 5  # different numbers of tokens, for three parameters
EXPONENT = (MIN_POINTS - 3) / 2
BENT = 2.0  # standard errors


@dataclass(frozen=True)
class Law:
    """L(n) = E + A n^-alpha, in bits per byte at n tokens; `rms` is that of the residuals."""

    E: float
    A: float
    alpha: float
    rms: float

    def __call__(self, tokens: np.ndarray | float) -> np.ndarray:
        return self.E + self.A * np.power(tokens, -self.alpha)

    def saturation(self, eps: float) -> float:
        """Tokens from which doubling gains less than eps bits per byte: n = [A (1 - 2^-alpha) / eps]^(1/alpha)."""
        if self.A == 0:
            return 0.0
        exponent = math.log(self.A * -math.expm1(-self.alpha * math.log(2)) / eps) / self.alpha
        return math.exp(exponent) if exponent < 700 else math.inf


def estimate_power_law(tokens: np.ndarray, losses: np.ndarray, grid: int = 97) -> Law:
    """The least-squares law through the points; E and A at least 0, alpha within ALPHAS.

    grid: alphas looked at in each of six rounds, each around the best of the last; the optimum does not depend on it.
    """
    scale = float(np.exp(np.log(tokens).mean()))  # n^-alpha near 1, so that the linear part is well conditioned
    low, high = np.log(ALPHAS)
    for _ in range(6):
        alphas = np.linspace(low, high, grid)
        squares = linear(tokens / scale, np.exp(alphas)[:, None], losses)[0]
        best = int(squares.argmin())
        low, high = alphas[max(best - 2, 0)], alphas[min(best + 2, grid - 1)]
    alpha = float(np.exp(alphas[best]))
    square, E, A = (float(part[0]) for part in linear(tokens / scale, np.array([[alpha]]), losses))
    return Law(E, A * scale**alpha, alpha, math.sqrt(square / len(losses)))


def linear(n_N: np.ndarray, alpha_K1: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residual sum of squares, E and A of the best law for each alpha."""
    return _solve(n_N**-alpha_K1, y_N)


def _solve(x_KN: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best y = E + A x for each row of x, E and A at least 0: (residual sum of squares, E, A)."""
    centred_KN = x_KN - x_KN.mean(1, keepdims=True)
    A = np.maximum(0, centred_KN @ y_N / np.maximum((centred_KN**2).sum(1), 1e-300))
    E = y_N.mean() - A * x_KN.mean(1)
    through_zero = x_KN @ y_N / np.maximum((x_KN**2).sum(1), 1e-300)  # the best A where E would be negative
    A, E = np.where(E < 0, through_zero, A), np.maximum(E, 0)
    return ((E[:, None] + A[:, None] * x_KN - y_N) ** 2).sum(1), E, A


@dataclass(frozen=True)
class Laws:
    """Every law of the grid, estimated from one curve. w, E, A: weight and parameters of each law; w sums to 1.

    `loss`, `gain` and `change` return (mean, spread) over the laws, at each number of tokens.
    """

    last: float  # largest number of tokens of the curve, the unit of n below
    first: float  # as a share of it
    w: np.ndarray
    E: np.ndarray
    A: np.ndarray

    def loss(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bits per byte at n tokens. Spread: sqrt(variance over the laws at n - variance at the curve's end).

        Laws that miss the curve differ within it too, though there the curve itself is known.
        """
        mean, variance = self._loss(self._scaled(tokens))
        within = self._loss((1.0,))[1]
        return mean, np.sqrt(np.where(tokens > self.last, np.maximum(variance - within, 0), 0))

    def gain(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bits per byte gained from n to 2 n tokens; the spread is the standard deviation."""
        return self.change(2 * tokens, tokens)

    def change(self, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bits per byte at `end` tokens minus those at `start`; the spread is the standard deviation."""
        rise_KT = _at(self._scaled(end), self.first) - _at(self._scaled(start), self.first)
        mean = (self.w * self.A) @ rise_KT
        return mean, np.sqrt(np.maximum((self.w * self.A**2) @ rise_KT**2 - mean**2, 0))

    def _loss(self, n: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance over the laws."""
        x_KT, level = _at(n, self.first), self.w @ self.E
        E = self.E - level  # deviations, so that the difference of squares below keeps its digits
        mean = (self.w * self.A) @ x_KT
        square = (self.w * self.A**2) @ x_KT**2 + 2 * (self.w * self.A * E) @ x_KT + self.w @ E**2
        return mean + level, np.maximum(square - mean**2, 0)

    def _scaled(self, tokens: np.ndarray) -> tuple[float, ...]:
        return tuple(np.atleast_1d(tokens) / self.last)


def estimate_laws(tokens: np.ndarray, losses: np.ndarray, exponent: float = EXPONENT) -> Laws:
    """All laws of the grid through the points (increasing tokens), weighted by squares^-exponent."""
    last = float(tokens[-1])
    scaled = tuple(tokens / last)
    squares, E, A = _solve(_at(scaled, scaled[0]), losses)
    squares = np.maximum(squares, 1e-16 * (losses**2).sum())  # rounding is not a fit
    w = (squares.min() / squares) ** exponent * _prior()
    return Laws(last, scaled[0], w / w.sum(), E, A)


def least_squares(tokens: np.ndarray, losses: np.ndarray) -> float:
    """Residual sum of squares of the best law, of the grid or without a shift between its exponents."""
    scaled = tuple(tokens / float(tokens[-1]))
    on_grid = float(_solve(_at(scaled, scaled[0]), losses)[0].min())
    return min(on_grid, len(losses) * estimate_power_law(tokens, losses).rms ** 2)


@lru_cache(maxsize=256)
def _at(n_T: tuple[float, ...], first: float) -> np.ndarray:
    """(n + s)^-alpha for every law (rows) and n. The curves of a study share their tokens: computed once."""
    shift, alpha = _grid()
    return (np.array(n_T) + shift[:, None] * first) ** -alpha[:, None]


@lru_cache(maxsize=1)
def _grid() -> tuple[np.ndarray, np.ndarray]:
    shift, alpha = np.meshgrid(SHIFTS, np.geomspace(*ALPHAS, NUM_ALPHAS), indexing="ij")
    return shift.ravel(), alpha.ravel()


@lru_cache(maxsize=1)
def _prior() -> np.ndarray:
    """Half on the law without shift, half on all the others."""
    plain = _grid()[0] == 0
    return np.where(plain, 0.5 / plain.sum(), 0.5 / (~plain).sum())


def bend(tokens: np.ndarray, losses: np.ndarray) -> float:
    """How surely a curve flattens on the logarithm of tokens: curvature of a parabola there, in standard errors.

    Laws with an offset are convex there. A curve that is not has not begun to follow one: early training.
    """
    x = np.log(tokens) - np.log(tokens).mean()
    columns = np.stack([np.ones_like(x), x, x**2], axis=1)
    solution, _, rank, _ = np.linalg.lstsq(columns, losses, rcond=None)
    freedom = len(x) - 3
    if rank < 3 or freedom < 1:
        return 0.0
    residual = losses - columns @ solution
    variance = (residual @ residual) / freedom * np.linalg.inv(columns.T @ columns)[2, 2]
    return float(solution[2] / math.sqrt(max(variance, 1e-300)))
