"""Worlds of noise, and of what was known of it: differences arm - base, without any effect.

Noise is in units of the standard deviation of a paired difference, half of its variance the base's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.verdict.statistics.looks import SHARED
from ablate.verdict.statistics.moderated import Block
from bench.curves import TABLES

NONE, SOME, MANY = (0, 0), (3, 10), (10, 20)  # studies before, and arms in each
ODD, TIMES = 0.2, 3.0  # share of arms with so many times the noise

Draw = Callable[[np.random.Generator, int, int], np.ndarray]  # arms, seeds -> differences without effect


@dataclass(frozen=True)
class World:
    """What is drawn: this study's noise, and that of the studies before."""

    now: Draw
    before: Draw
    earlier: tuple[int, int] = SOME

    def past(self, rng: np.random.Generator, seeds: int) -> list[Block]:
        studies, arms = self.earlier
        return [self.before(rng, arms, seeds).tolist() for _ in range(studies)]


def normal(odd: float = 0.0, times: float = TIMES) -> Draw:
    """Normal noise; a share of the arms has `times` as much."""
    return lambda rng, arms, seeds: _normal(rng, np.where(rng.random(arms) < odd, times, 1.0), seeds)


def first(times: float = TIMES) -> Draw:
    """Normal noise, `times` as much in the first arm."""
    return lambda rng, arms, seeds: _normal(rng, np.where(np.arange(arms) < 1, times, 1.0), seeds)


def hanging(times: float) -> Draw:
    """A base of `times` the noise of every arm: all differences hang on it."""

    def draw(rng: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
        runs = np.sqrt(SHARED) * rng.standard_normal((arms + 1, seeds))
        return runs[1:] - times * runs[0]

    return draw


def louder(times: float) -> Draw:
    """Arms and base alike have `times` the noise."""
    return lambda rng, arms, seeds: times * _normal(rng, np.ones(arms), seeds)


def scattered(rng: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
    """Log-normal standard deviations."""
    sd = np.exp(0.8 * rng.standard_normal((arms, 1)))
    return np.sqrt(SHARED) * (sd * rng.standard_normal((arms, seeds)) - rng.standard_normal(seeds))


def skewed(times: float = 1.0) -> Draw:
    """Runs with exponential noise; the first arm has `times` as much of a pair."""

    def draw(rng: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
        runs = rng.standard_exponential((arms + 1, seeds)) - 1
        sd = np.sqrt(np.where(np.arange(arms) < 1, times, 1.0) ** 2 - SHARED)
        return sd[:, None] * runs[1:] - np.sqrt(SHARED) * runs[0]

    return draw


def _normal(rng: np.random.Generator, sd: np.ndarray, seeds: int) -> np.ndarray:
    own = np.sqrt(sd**2 - SHARED)[:, None] * rng.standard_normal((len(sd), seeds))
    return own - np.sqrt(SHARED) * rng.standard_normal(seeds)


def heavy(rng: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
    """Runs with Student's t noise of 3 degrees of freedom and variance 1/2."""
    runs = rng.standard_t(3, (arms + 1, seeds)) * np.sqrt(SHARED / 3)
    return runs[1:] - runs[0]


def speedruns() -> Draw:
    """Runs of one recipe, each at most once."""
    found = pd.read_csv(TABLES / "KellerJordan+modded-nanogpt" / "final_val_losses.csv")
    groups = found.groupby(["record", "final_step"]).final_val_loss
    recipes = [losses.to_numpy() for _, losses in groups if losses.nunique() > 5]

    def draw(rng: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
        large = [losses for losses in recipes if len(losses) >= (arms + 1) * seeds]
        runs = rng.permutation(large[rng.integers(len(large))])[: (arms + 1) * seeds].reshape(arms + 1, seeds)
        return runs[1:] - runs[0]

    return draw
