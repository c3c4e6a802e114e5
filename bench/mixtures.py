"""How well mixtures are found: planted worlds that no tuning has seen, and RegMix's own runs with fewer of them.

Planted (`tests/worlds`): RUNS runs, three of them the trivial priors (the mixture nearest to the targets, natural,
uniform), the others one after another as `laws.proposal` asks for them, or in batches. Regret is the true
metric of the mixture chosen less that of the best there is, in seed-sds of one run; `loses` is how often the best
trivial prior would have been better by more than half of one, with its Clopper-Pearson interval of 95 %. `covered`:
how often the interval of the gain over the uniform mixture held the true gain. On the same worlds, with the same
noise: a Gaussian process alone with as many runs, and, in worlds of five domains, a grid of 495 runs whose best run is
taken. Two bounds say what is left to gain: `best run`, the truly best of the runs asked for, and `no noise`, the same
search where every run tells its expected losses. `more runs` says how regret falls as the search goes on, in worlds
that do not grade.

RegMix (sail-sg/regmix, 512 runs of 1M parameters, 17 domains): Spearman between predictions from a random subset of
them and the Pile-CC loss of 64 other mixtures at 1B. `ours`, the average of laws and process, was chosen on the other
twelve validation losses, where it is as good as the law alone or better (64 runs: .954 and .953; 16: .934 and .933).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ablate.laws import mixture_laws as laws
from ablate.laws.proposal import best, lowest, next_runs
from ablate.laws.surrogate import Surrogate, Swarm, estimate
from bench.curves import TABLES
from bench.races import Mean, Rate
from bench.rounds import Row
from tests.worlds.catalogue import KINDS, SEALED, larger, world
from tests.worlds.ngram import World
from tests.worlds.optimum import minima

WORLDS, RUNS, BATCH = 100, 24, 3
MORE, LONGER = (24, 36, 48, 72), range(7500, 7700)  # runs, and the worlds that are searched so long
HALF = 0.5  # seed-sds
SUBSETS, PROXIES = 20, (16, 32, 64, 128)
REGMIX = TABLES / "sail-sg+regmix" / "data"
TARGET, TUNED_ON = "pile_cc", "wikipedia_en"


Propose = Callable[[Surrogate, int, np.random.Generator], np.ndarray]
Found = tuple[np.ndarray, Surrogate]


class Quantile(Row):
    """The ninth decile of what was measured."""

    @property
    def median(self) -> float:
        return float(np.quantile(self.values, 0.9))


def mixtures(quick: bool) -> list[Row]:
    """regret in seed-sds; p90: the ninth decile stands in the column of medians; rates with Clopper-Pearson 95 %"""
    if quick:  # whoever tunes runs this often: what grades stays unseen
        rows = planted([world(i) for i in range(len(KINDS))]) + more_runs([world(LONGER[0])])
        return rows + (regmix(2, TUNED_ON) if REGMIX.exists() else [])
    rows = planted([world(SEALED + i) for i in range(WORLDS)]) + more_runs([world(i) for i in LONGER])
    return rows + (regmix(SUBSETS, TARGET) if REGMIX.exists() else [])


def planted(worlds: list[World]) -> list[Row]:
    """All that is measured on planted worlds."""
    least = [float(one.macro(minima(one)[0])[0]) for one in worlds]
    found = [search(one, np.random.default_rng(one.seed)) for one in worlds]
    ours = [regret(*each) for each in zip(worlds, (f[0] for f in found), least, strict=True)]
    prior = [min(regret(one, p, low) for p in one.priors.values()) for one, low in zip(worlds, least, strict=True)]
    batches = [search(one, np.random.default_rng(one.seed), batch=BATCH)[0] for one in worlds]
    alone = [process_choice(search(one, np.random.default_rng(one.seed), process_alone, BATCH)[1]) for one in worlds]
    runs = [f[1].swarm.weights for f in found]
    best_run = [
        min(regret(one, run, low) for run in weights) for one, weights, low in zip(worlds, runs, least, strict=True)
    ]
    quiet = [search(silent(one), np.random.default_rng(one.seed))[0] for one in worlds]
    small = [i for i, one in enumerate(worlds) if one.num_domains == 5]
    grid = [grid_search(worlds[i], np.random.default_rng(worlds[i].seed)) for i in small]
    case = f"planted, {RUNS} runs"
    rows: list[Row] = [
        *_regrets(case, ours, HALF, 1.0),
        Rate(case, "loses", [float(r > t + HALF) for r, t in zip(ours, prior, strict=True)], 0.05, "at most"),
        Rate(case, "covered", [held(one, *f) for one, f in zip(worlds, found, strict=True)]),
        *_regrets(f"planted, batches of {BATCH}", [regret(*each) for each in zip(worlds, batches, least, strict=True)]),
        *_regrets("planted, best prior", prior),
        *_regrets("planted, best run", best_run),
        *_regrets("planted, no noise", [regret(*each) for each in zip(worlds, quiet, least, strict=True)]),
        *_regrets("planted, process alone", [regret(*each) for each in zip(worlds, alone, least, strict=True)]),
        *_regrets("planted, 5 domains, ours", [ours[i] for i in small]),
        *_regrets(
            "planted, 5 domains, grid", [regret(worlds[i], g, least[i]) for i, g in zip(small, grid, strict=True)]
        ),
    ]
    for kind in KINDS:
        rows += _regrets(f"planted, {kind}", [r for one, r in zip(worlds, ours, strict=True) if one.kind == kind])
    scale = [flipped(one, f[0]) for one, f in zip(worlds, found, strict=True) if one.kind == "flip"]
    return [*rows, Row("planted, flip, 4 x tokens", "regret", scale)]


def _regrets(case: str, values: list[float], median: float | None = None, decile: float | None = None) -> list[Row]:
    if not values:
        return []
    return [Row(case, "regret", values, median, "at most"), Quantile(case, "regret, p90", values, decile, "at most")]


def more_runs(worlds: list[World]) -> list[Row]:
    """Regret as the search goes on."""
    found: dict[int, list[float]] = {runs: [] for runs in MORE}
    for one in worlds:
        least, rng = float(one.macro(minima(one)[0])[0]), np.random.default_rng(one.seed)
        swarm = begun(one, rng)
        for runs, values in found.items():
            swarm = grown(swarm, one, runs, rng)
            values.append(regret(one, best(estimate(swarm), np.random.default_rng(1)), least))
    return [row for runs, values in found.items() for row in _regrets(f"planted, more runs: {runs}", values)]


def search(one: World, rng: np.random.Generator, propose: Propose = next_runs, batch: int = 1) -> Found:
    """The mixture chosen after RUNS runs, and the last surrogate."""
    found = estimate(grown(begun(one, rng), one, RUNS, rng, propose, batch))
    return best(found, rng), found


def begun(one: World, rng: np.random.Generator) -> Swarm:
    """Runs of the trivial priors."""
    weights, names = np.stack(list(one.priors.values())), tuple(map(str, range(one.num_domains)))
    importance = np.full(len(one.own), 1 / len(one.own))
    return Swarm(names, weights, one.run(weights, rng), one.own, importance)


def grown(
    swarm: Swarm, one: World, runs: int, rng: np.random.Generator, propose: Propose = next_runs, batch: int = 1
) -> Swarm:
    """With so many runs in all, as they are asked for."""
    while len(swarm.weights) < runs:
        new = propose(estimate(swarm), min(batch, runs - len(swarm.weights)), rng)
        losses = np.concatenate([swarm.losses, one.run(new, rng)])
        swarm = replace(swarm, weights=np.concatenate([swarm.weights, new]), losses=losses)
    return swarm


def silent(one: World) -> World:
    """The same world, whose runs have no noise."""
    return replace(one, noise=np.zeros_like(one.noise))


def process_alone(found: Surrogate, count: int, rng: np.random.Generator) -> np.ndarray:
    """What a Gaussian process without laws asks for: its lowest mean and two lower confidence bounds."""

    def lower(sds: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda mixtures: (lambda mean, sd: mean - sds * sd)(*found.metric(mixtures, laws=False))

    return np.array([lowest(lower(sds), found, rng) for sds in (0.0, 0.7, 1.4)[:count]])


def process_choice(found: Surrogate) -> np.ndarray:
    """The trained mixture of its lowest mean."""
    return found.swarm.weights[np.argmin(found.metric(found.swarm.weights, laws=False)[0])]


def grid_search(one: World, rng: np.random.Generator) -> np.ndarray:
    """The best of one run on each mixture of eighths, all of them for five domains: 495."""
    places = np.array(list(combinations(range(12), 4)))
    edges = np.pad(places, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, 12)))
    grid = (np.diff(edges, axis=1) - 1) / 8
    return grid[one.run(grid, rng).mean(1).argmin()]


def regret(one: World, mixture: np.ndarray, least: float) -> float:
    """In seed-sds."""
    return max(0.0, (float(one.macro(mixture)[0]) - least) / one.sd)


def held(one: World, mixture: np.ndarray, found: Surrogate) -> float:
    """Whether the interval of the gain over the uniform mixture, of nominal 95 %, held the true gain."""
    pair = np.stack([mixture, one.priors["uniform"]])
    mean, sd = found.metric(pair)
    true = one.macro(pair)
    return float(abs((mean[1] - mean[0]) - (true[1] - true[0])) <= 1.96 * np.sqrt((sd**2).sum()))


def flipped(one: World, mixture: np.ndarray) -> float:
    """Regret of the mixture found, with four times the tokens: what no study of one scale can see."""
    large = larger(one)
    return regret(large, mixture, float(large.macro(minima(large)[0])[0]))


def regmix(subsets: int, domain: str) -> list[Row]:
    """Rank correlation at 1B by number of proxy runs."""
    rng, rows = np.random.default_rng(0), []
    weights, losses, names = table("train", "1m")
    unseen, true, _ = table("test", "1B")
    for proxies in PROXIES:
        chosen = [rng.choice(len(weights), proxies, replace=False) for _ in range(subsets)]
        found = [ranks(names, domain, weights[i], losses[i], unseen, true) for i in chosen]
        goal = 0.97 if proxies == 64 else None
        case = f"RegMix, {proxies} of 512 runs"
        rows += [Mean(case, what, list(values), goal if what == "ours" else None) for what, values in _columns(found)]
    return rows


def _columns(found: list[dict[str, float]]) -> list[tuple[str, list[float]]]:
    return [(what, [one[what] for one in found]) for what in found[0]]


def ranks(
    names: tuple[list[str], list[str]],
    domain: str,
    weights: np.ndarray,
    losses: np.ndarray,
    unseen: np.ndarray,
    true: np.ndarray,
) -> dict[str, float]:
    """Spearman with what came out at 1B, of each way to predict."""
    domains, sets = names
    at = sets.index(domain)
    swarm = Swarm(tuple(domains), weights, losses, tuple(domains.index(one) for one in sets), np.eye(len(sets))[at])
    found = estimate(swarm)
    predicted = {
        "ours": found.metric(unseen)[0],
        "effective law": found.laws[at](unseen),
        "Gaussian process": found.metric(unseen, laws=False)[0],
        "log-linear": log_linear(weights, losses[:, at])(unseen),
    }
    return {name: float(spearmanr(values, true[:, at])[0]) for name, values in predicted.items()}


@cache
def table(kind: str, size: str) -> tuple[np.ndarray, np.ndarray, tuple[list[str], list[str]]]:
    """Weights, losses and the names of both."""
    mixed = pd.read_csv(REGMIX / f"{kind}_mixture_{size}.csv", index_col="index")
    losses = pd.read_csv(REGMIX / f"{kind}_pile_loss_{size}.csv", index_col="index").loc[mixed.index]
    names = [str(name).removeprefix("train_the_pile_") for name in mixed]
    sets = [str(name).removeprefix("metric/the_pile_").removesuffix("_val_loss") for name in losses]
    weights = mixed.to_numpy(float)
    return weights / weights.sum(1, keepdims=True), losses.to_numpy(float), (names, sets)


def log_linear(weights: np.ndarray, losses: np.ndarray) -> laws.Law:
    """L(w) = c + exp(b + sum_j t_j w_j) (Ye et al. 2024, arXiv 2403.16952, eq. 7), with a weak prior."""
    spread, domains = laws.spread_of(losses), weights.shape[1]
    centre = np.array([losses.min() - 0.3 * spread, np.log(spread), *[0.0] * domains])
    width = np.array([spread, 2.0, *[3.0] * domains])
    return laws.estimate(_log_linear, _log_linear_slopes, weights, losses, laws.MISFIT * spread, centre, width)


def _log_linear(q: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """q: c, b, t."""
    return q[0] + np.exp(np.minimum(q[1] + weights @ q[2:], laws.LARGEST))


def _log_linear_slopes(q: np.ndarray, weights: np.ndarray) -> np.ndarray:
    fall = (_log_linear(q, weights) - q[0])[:, None]
    return np.concatenate([np.ones_like(fall), fall, fall * weights], 1)
