"""How often a night of a hundred ideas keeps a false one, what real ideas it keeps, and what both cost.

A night is a stream of IDEAS ideas through `verdict.statistics.stream`, on fresh seeds. Its ideas come from SLOTS
sources, and who proposes them sees all that was found before. Noise is in standard deviations of a paired difference.

    in turn       one source after the other
    best again    the source whose last idea looked best is tried again, until another looks better
    patient       best again, and an idea that is up for a retest gets as many pairs again

    normal        Student's t of 3 degrees (t3), the sign of a coin (coin), and exponential noise of idea and incumbent
    mixed         each source has a shape of its own, and each pair a noise of its own size
    half real     every other source is better by two standard deviations: a kept idea gives back its stake
    worse         all ideas are worse by half a standard deviation
    skewed        not promised: the idea has three times the incumbent's exponential noise, to either side

Beside the gate, a paired t test of each idea: at .05 with three pairs, and at .05 / IDEAS with the pairs that find two
standard deviations with POWER. Real ideas are judged at the stakes of the first, a later and the last idea of a night.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import stdtr

from ablate.verdict.statistics import stream
from ablate.verdict.statistics.paired import power
from ablate.verdict.statistics.stream import Rule
from bench.races import Mean, Rate
from bench.rounds import Row

RULE = Rule()
IDEAS, SLOTS, NIGHTS, QUICK = 100, 8, 5_000, 40
MOST, BOUND, POWER, TIMES = 0.05, 0.065, 0.8, 1.5  # targets
SIZE = 2.0  # standard deviations, of a real idea
Shape = tuple[int, int]
Noise = Callable[[np.random.Generator, Shape], np.ndarray]
Choose = Callable[[np.random.Generator, int, np.ndarray], np.ndarray]


class Nights(Rate):
    """Nights with a false keep: met when their share and the upper end of its interval are."""

    unit: ClassVar = "nights"

    @property
    def met(self) -> bool | None:
        share, _, high = self.spread
        return None if self.limit is None else share <= self.limit and high <= BOUND


class Ideas(Rate):
    unit: ClassVar = "ideas"


class Pairs(Mean):
    unit: ClassVar = "ideas"


@dataclass(frozen=True)
class World:
    """Sources of ideas: the noise and the true difference of each."""

    noises: tuple[Noise, ...]
    effects: tuple[float, ...] = (0.0,)

    def draw(self, rng: np.random.Generator, slots: np.ndarray, pairs: int) -> np.ndarray:
        """Differences of one idea a night, from these sources."""
        found = np.empty((len(slots), pairs))
        for slot in range(SLOTS):
            mine = slots == slot
            noise = self.noises[slot % len(self.noises)]
            found[mine] = noise(rng, (int(mine.sum()), pairs)) + self.effects[slot % len(self.effects)]
        return found

    def real(self, slots: np.ndarray) -> np.ndarray:
        return np.array(self.effects)[slots % len(self.effects)] < 0


def normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.standard_normal(shape)


def heavy(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.standard_t(3, shape) / np.sqrt(3)


def coin(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return 2.0 * rng.integers(0, 2, shape) - 1


def exponential(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return (rng.standard_exponential(shape) - rng.standard_exponential(shape)) / np.sqrt(2)


def uneven(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.standard_normal(shape) * np.exp(rng.standard_normal(shape))


def skewed(sign: int) -> Noise:
    def noise(rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return sign * (3 * (rng.standard_exponential(shape) - 1)) - (rng.standard_exponential(shape) - 1)

    return noise


def in_turn(rng: np.random.Generator, number: int, seen: np.ndarray) -> np.ndarray:
    return np.full(len(seen), number % SLOTS)


def best_again(rng: np.random.Generator, number: int, seen: np.ndarray) -> np.ndarray:
    """One source in four is chosen at random, or the others would never be seen."""
    return np.where(rng.random(len(seen)) < 0.25, rng.integers(0, SLOTS, len(seen)), seen.argmax(1))


MIXED = World((normal, heavy, coin, exponential, uneven))
WORLDS: list[tuple[str, World, Choose, int, float | None]] = [  # how often an idea gets its pairs; the target
    ("normal, in turn", World((normal,)), in_turn, 1, MOST),
    ("normal, best again", World((normal,)), best_again, 1, MOST),
    ("t3, best again", World((heavy,)), best_again, 1, MOST),
    ("coin, best again", World((coin,)), best_again, 1, MOST),
    ("exponential, best again", World((exponential,)), best_again, 1, MOST),
    ("mixed, best again", MIXED, best_again, 1, MOST),
    ("mixed, patient", MIXED, best_again, 2, MOST),
    ("half real, best again", World(MIXED.noises, (0.0, -SIZE)), best_again, 1, MOST),
    ("half real, in turn", World((coin,), (0.0, -SIZE)), in_turn, 1, MOST),
    ("worse, best again", World(MIXED.noises, (0.5,)), best_again, 1, MOST),
    ("skewed to worse, in turn", World((skewed(1),)), in_turn, 1, None),
    ("skewed to better, in turn", World((skewed(-1),)), in_turn, 1, None),
]


def gate(quick: bool) -> list[Row]:
    """shares of nights or ideas; from, to: Clopper-Pearson 95 % of a rate, least and most of the pairs"""
    nights, rows = QUICK if quick else NIGHTS, list[Row]()
    for case, world, choose, times, limit in WORLDS:
        false, pairs = night(np.random.default_rng(0), nights, world, choose, times)
        rows += [Nights(case, "any false keep", false, limit, "at most"), Pairs(case, "pairs an idea", pairs)]
    for name, noise in (("normal", normal), ("t3", heavy), ("coin", coin), ("skewed to worse", skewed(1))):
        rows += _tested(name, noise, nights)
    for number in (1, IDEAS // 4, IDEAS):
        for name, noise in (("normal", normal), ("t3", heavy)):
            rows += _real(name, noise, number, nights)
    return rows + _another_seed(nights)


def night(
    rng: np.random.Generator, nights: int, world: World, choose: Choose, times: int
) -> tuple[list[float], list[float]]:
    """Of each night whether a false idea was kept, and the mean number of pairs an idea."""
    pot, seen = np.full(nights, RULE.alpha), np.ones((nights, SLOTS))
    false, pairs = np.zeros(nights, bool), np.zeros(nights)
    for number in range(1, IDEAS + 1):
        slots, stakes = choose(rng, number, seen), np.asarray(stream.stake(pot, number, RULE))
        end = stream.ends(world.draw(rng, slots, times * stream.most(float(stakes.min()), RULE)), stakes, RULE)
        false |= end.kept & ~world.real(slots)
        pairs += end.pairs
        seen[np.arange(nights), slots] = end.wealth
        ended = end.kept | end.discarded
        pot = pot - stakes + np.where(ended, stream.given_back(stakes, end.wealth), 0.0)
    return false.astype(float).tolist(), (pairs / IDEAS).tolist()


def stake_of(number: int) -> float:
    """Of an idea after which nothing was given back."""
    return RULE.alpha * RULE.ideas / ((RULE.ideas + number - 1) * (RULE.ideas + number))


def fixed(level: float) -> int:
    """Pairs with which a one-sided paired t test finds a real idea with POWER."""
    return next(n for n in range(2, 200) if power(SIZE * n**0.5, n - 1, 2 * level) >= POWER)


def _tested(name: str, noise: Noise, nights: int) -> list[Row]:
    """Nights of a t test of each idea."""
    rng, rows = np.random.default_rng(0), list[Row]()
    for what, level, pairs in (("at .05, 3 pairs", 0.05, 3), ("at .05 / 100", 0.0005, fixed(0.0005))):
        kept = np.zeros(nights, bool)
        for _ in range(IDEAS):
            d = noise(rng, (nights, pairs))
            error = np.maximum(d.std(1, ddof=1), 1e-12) / pairs**0.5
            kept |= stdtr(pairs - 1, d.mean(1) / error) <= level
        rows.append(Nights(f"{name}, t test {what}", "any false keep", kept.astype(float).tolist()))
    return rows


def _real(name: str, noise: Noise, number: int, ideas: int) -> list[Row]:
    """Ideas of SIZE at the stake of an idea of that number."""
    rng, stake = np.random.default_rng(0), stake_of(number)
    end = stream.ends(noise(rng, (ideas, stream.most(stake, RULE))) - SIZE, np.full(ideas, stake), RULE)
    case, pairs = f"two sd, {name}, idea {number}", fixed(stake)
    return [
        Ideas(case, "kept", end.kept.astype(float).tolist(), POWER),
        Pairs(case, f"pairs / {pairs} of a t test", (end.pairs / pairs).tolist(), TIMES, "at most"),
    ]


def _another_seed(ideas: int) -> list[Row]:
    """Changes that do nothing, one by one: what becomes of them."""
    stake = stake_of(1)
    end = stream.ends(normal(np.random.default_rng(1), (ideas, stream.most(stake, RULE))), np.full(ideas, stake), RULE)
    return [Ideas("another seed", "discarded", end.discarded.astype(float).tolist(), 0.99)]
