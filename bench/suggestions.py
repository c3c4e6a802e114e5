"""Whether the predicted gain of a suggested mixture comes true: studies of planted worlds, then fresh seeds.

A study has 3 to 7 domains, up to 24 mixtures drawn at random beside its base, and 2, 3 or 5 seeds that shift all arms
alike. Its surrogate chooses a mixture; as many fresh seeds of that and of the base measure the gain. `holds` is how
often the interval of 95 % had it; `too little`, how often less was measured than the interval allows. MODEL was chosen
on worlds below SEALED, the worlds here lie above it. `without the noise` is what was printed until 2026-11-28.
"""

from dataclasses import dataclass

import numpy as np

from ablate.laws.proposal import Noise, best, gain
from ablate.laws.surrogate import Surrogate, Swarm, estimate
from bench.isoflops import Share
from bench.rounds import Row
from tests.worlds.catalogue import KINDS, SEALED, world
from tests.worlds.ngram import World

STUDIES, QUICK, FIRST = 1400, 70, SEALED + 2000
SHIFT = 3.0  # what a seed does to all arms, in the noise of one run
DOMAINS, MOST, SEEDS = (3, 8), 25, (2, 3, 5)  # from and below; mixtures, below; seeds of a study
LOW, HIGH = 0.93, 0.97


@dataclass(frozen=True)
class Outcome:
    """interval: as predicted, (middle, low, high); plain: half width without the noise of a run."""

    kind: str
    seeds: int
    interval: tuple[float, float, float]
    plain: float
    measured: float

    @property
    def holds(self) -> bool:
        return self.interval[1] <= self.measured <= self.interval[2]


def suggestions(quick: bool) -> list[Row]:
    """shares of studies, with Clopper-Pearson 95 %"""
    found = [outcome(seed) for seed in range(FIRST, FIRST + (QUICK if quick else STUDIES))]
    one_seed = [outcome(seed, (1,)) for seed in range(FIRST, FIRST + len(found) // 2)]
    case = f"{len(found)} planted studies"
    rows: list[Row] = [
        Share(case, "interval holds", _held(found), LOW),
        Share(case, "interval holds, upper", _held(found), HIGH, "at most"),
        Share(case, "too little", [float(one.measured < one.interval[1]) for one in found]),
        Share(case, "without the noise", [float(abs(one.measured - one.interval[0]) <= one.plain) for one in found]),
        Share("of one seed", "interval holds", _held(one_seed)),
    ]
    return rows + [Share(kind, "interval holds", _held([one for one in found if one.kind == kind])) for kind in KINDS]


def _held(found: list[Outcome]) -> list[float]:
    return [float(one.holds) for one in found]


def outcome(seed: int, seeds: tuple[int, ...] = SEEDS) -> Outcome:
    """One study, what it predicts, and what fresh seeds measure."""
    rng = np.random.default_rng([11, seed])
    one = world(seed, domains=int(rng.integers(*DOMAINS)))
    swarm, noise, number = study(one, rng, seeds)
    found = estimate(swarm)
    mixture = best(found, np.random.default_rng(0))
    pair = np.stack([mixture, swarm.weights[0]])
    fresh = np.mean([one.run(pair, rng).mean(1) for _ in range(number)], 0)
    interval = gain(found, mixture, noise, number)
    return Outcome(one.kind, number, interval, _plain(found, pair), float(fresh[1] - fresh[0]))


def study(one: World, rng: np.random.Generator, seeds: tuple[int, ...]) -> tuple[Swarm, Noise | None, int]:
    """The arms' means over the seeds, the noise left in one run, and how many seeds there are."""
    domains, sets, number = one.num_domains, len(one.own), int(rng.choice(seeds))
    base = np.r_[0.55, np.full(domains - 1, 0.45 / (domains - 1))]
    base = base if rng.random() < 0.5 else one.priors[str(rng.choice(list(one.priors)))]
    concentration = np.full(domains, rng.choice([0.5, 1.0, 2.0]))
    weights = np.concatenate([[base], rng.dirichlet(concentration, int(rng.integers(domains + 1, MOST - 1)))])
    luck = SHIFT * one.noise * rng.standard_normal((number, sets))
    runs_SMT = np.stack([one.run(weights, rng) + luck[i] for i in range(number)])
    means = runs_SMT.mean(0)
    left = (runs_SMT - means - runs_SMT.mean(1, keepdims=True) + means.mean(0)).mean(2)
    freedom = (len(weights) - 1) * (number - 1)
    noise = Noise(float(np.sqrt((left**2).sum() / freedom)), freedom) if freedom else None
    return Swarm(tuple(map(str, range(domains))), weights, means, one.own, np.full(sets, 1 / sets)), noise, number


def _plain(found: Surrogate, pair: np.ndarray) -> float:
    return 1.96 * float(np.sqrt((found.metric(pair)[1] ** 2).sum()))
