"""What a race costs and finds, before it is run: seeds used by an arm, by its true effect.

Studies of k arms are simulated block by block under the rule of `verdict.race` with race=verdicts: one arm has
the effect, the others none. All studies move through a look at once, so that thousands take a second.

    race(Power(noise=0.004, margin=0.01, arms=3), looks=(2, 3, 5, 8), effects=[0, -0.01, -0.02])
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ablate.verdict.statistics.looks import SHARED, Design, Noise, chance_of_better, pool
from ablate.verdict.statistics.moderated import from_past, pasts, scatters
from ablate.verdict.statistics.power import Power

DRAWS = 1.5e6  # normal numbers for one effect


@dataclass(frozen=True)
class Raced:
    """One arm of this effect in a race, with Monte Carlo error about 1 % of the seeds planned."""

    effect: float
    seeds: float  # mean number used
    different: float  # chance of `better` or `worse`
    equivalent: float


def race(power: Power, looks: tuple[int, ...], effects: Sequence[float], futility: float = 0.05) -> list[Raced]:
    """Mean seeds and chances of an arm with each effect, at looks after so many seeds, the last planned."""
    design = Design(looks, power.arms, 1 - power.confidence, power.noise_df)
    studies = int(np.clip(DRAWS / (power.arms * looks[-1]), 500, 10_000))
    return [_race(power, design, effect, futility, np.random.default_rng(studies), studies) for effect in effects]


def _race(
    power: Power, design: Design, effect: float, futility: float, rng: np.random.Generator, studies: int
) -> Raced:
    d = differences(power, effect, studies, design.looks[-1], rng)
    seeds, words = replay(d, known(power, studies, rng), design, power.margin, futility)
    return Raced(
        effect,
        float(seeds[:, 0].mean()),
        float(np.isin(words[:, 0], ("better", "worse")).mean()),
        float((words[:, 0] == "equivalent").mean()),
    )


def differences(power: Power, effect: float, studies: int, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """Arm - base of simulated studies, [study, arm, seed]; the first arm has the effect."""
    own = rng.standard_normal((studies, power.arms, seeds))
    base = rng.standard_normal((studies, 1, seeds))
    d = power.noise * (math.sqrt(1 - SHARED) * own - math.sqrt(SHARED) * base)
    d[:, 0] += effect
    return d


def known(power: Power, studies: int, rng: np.random.Generator) -> np.ndarray:
    """The variance that earlier studies would have told, [study]; 0 where they tell nothing."""
    df = power.noise_df
    return power.noise**2 * rng.chisquare(df, studies) / df if df else np.zeros(studies)


def replay(
    d: np.ndarray, variance: np.ndarray, design: Design, margin: float, futility: float
) -> tuple[np.ndarray, np.ndarray]:
    """Seeds used and words, [study, arm], of races over these differences, [study, arm, seed]."""
    studies, arms, planned = d.shape
    seeds, words = np.full((studies, arms), planned), np.full((studies, arms), "inconclusive")
    active = np.ones((studies, arms), bool)
    squares, df = np.zeros((studies, arms)), np.zeros((studies, arms))
    promised = Noise(df=float(from_past(design.prior_df, np.array(arms))))
    for n in (n for n in design.looks if n > 1):
        seen = d[:, :, :n]
        squares[active] = (seen.var(axis=2) * n)[active]
        df[active] = n - 1  # an arm that has stopped keeps what it told
        known_df = pasts(variance, design.prior_df, squares / np.maximum(df, 1), df)
        pooled, total = pool(squares.sum(1), df.sum(1), arms, Noise(variance, known_df))  # pyrefly: ignore
        total = _limited(np.asarray(total), squares, df, n - 1, np.where(known_df > 0, design.prior_df, math.inf))
        sd = np.sqrt(np.maximum(squares / (n - 1), np.asarray(pooled)[:, None]))
        mean, error = seen.mean(2), sd / math.sqrt(n)
        half = design.each(n, total)[:, None] * error
        word = _words(mean - half, mean + half, margin)
        decided = word != "inconclusive"
        words = np.where(active & decided, word, words)
        goes_on = active & ~decided & (n < planned)
        while n < planned:  # as in `verdict.race`: the fewer go on, the less the last look knows of the noise
            _, last = pool(0.0, np.where(goes_on, planned - 1, df).sum(1), arms, promised)  # pyrefly: ignore
            chance = chance_of_better(mean, sd, np.maximum(total, last)[:, None], n, design)
            futile = goes_on & (chance < futility)
            goes_on &= ~futile
            if not futile.any():
                break
        seeds[active & ~goes_on] = n
        active = goes_on
    return seeds, words


def _limited(total: np.ndarray, squares: np.ndarray, df: np.ndarray, own: int, prior_df: np.ndarray) -> np.ndarray:
    """Noise of one arm is known no better than arms scatter, as in `verdict.race`."""
    return np.minimum(total, np.minimum(scatters(squares / np.maximum(df, 1), df), prior_df) + own)


def _words(low: np.ndarray, high: np.ndarray, margin: float) -> np.ndarray:
    within = (-margin < low) & (high < margin)
    return np.select([within, high < 0, low > 0], ["equivalent", "better", "worse"], "inconclusive")
