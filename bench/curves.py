"""Families of loss curves to race: published ones, where the tables lie beside this repository, and planted ones.

    optimizers     modded-nanogpt, track 3: recipes that differ in the optimizer, 2,700 to 3,325 steps, at equal steps
    speedruns      modded-nanogpt, track 1: recipes of three seasons, 1,290 to 2,315 steps, at equal steps
    mixtures       this repository's own experiments/mix_sweep: losses weighted by random weights of the domains
    sizes          Porian et al. (2024), no decay or a fixed long one: models of equal FLOPs at each point
    schedules      MultiPowerLaw: schedules at 24,000 steps that share their plateau and cross when they decay
    planted-*      E + A t^-alpha with noise of seed and evaluation, drawn anew each time

A race is one matrix: rows are arms, one run each, columns the evaluations of a run, the last its end. Replicate
runs of a recipe give many races; the truth to keep is the lowest last value of the very runs raced.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parent.parent
TABLES = ROOT.parent / "shared" / "tables"


@dataclass(frozen=True)
class Race:
    """parts: of the run done at each evaluation, the last 1; losses: arms x evaluations."""

    family: str
    parts: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class Whole:
    """A study: losses are arms x seeds x evaluations; truth, the expected final loss of each arm."""

    parts: np.ndarray
    losses: np.ndarray
    truth: np.ndarray


Draw = Callable[[np.random.Generator], Race]


def families() -> dict[str, Draw]:
    """What can be drawn from here: published families only where their tables are."""
    found = {f"planted-{name}": _planted(f"planted-{name}", *spread) for name, spread in PLANTED.items()}
    found["mixtures"] = _mixtures()
    if TABLES.exists():
        table = recipes()
        for name, (track, steps) in NANOGPT.items():
            found[name] = _replicates(name, table[table.record.str.contains(track)], steps)
        found |= {f"sizes-{data}": _sizes(f"sizes-{data}", data) for data in ("rw", "owt2")}
        found["schedules"] = _schedules()
    return found


# spread over arms of E, of log A and of alpha; noise of a run, of an evaluation; arms
PLANTED = {
    "wide": (0.05, 0.05, 0.02, 0.0015, 0.0005, 16),
    "close": (0.004, 0.02, 0.005, 0.0015, 0.0005, 16),
    "crossing": (0.03, 0.15, 0.05, 0.0015, 0.0005, 16),
    "many": (0.02, 0.05, 0.02, 0.0015, 0.0005, 64),
    "noisy": (0.03, 0.05, 0.02, 0.004, 0.004, 16),
}
PARTS = np.arange(1, 21) / 20
NANOGPT = {  # a part of the record's name; the evaluations raced, the last the objective
    "optimizers": ("track_3", tuple(range(125, 2626, 125))),
    "speedruns-2025": (r"track_1_short/2025-0", tuple(range(125, 1626, 125))),
    "speedruns-2024": (r"track_1_short/2024", tuple(range(125, 1376, 125))),
    "speedruns-late": (r"track_1_short/2025-1", tuple(range(250, 1751, 250))),
}


def _planted(name: str, level: float, scale: float, power: float, own: float, evaluation: float, arms: int) -> Draw:
    def draw(rng: np.random.Generator) -> Race:
        curves = _laws(rng, level, scale, power, arms)
        return Race(name, PARTS, curves + _luck(rng, own, evaluation, (arms,)))

    return draw


def whole(rng: np.random.Generator, seeds: int, spread: str = "wide") -> Whole:
    """A planted study whose arms share their seeds' luck as far as twice their own."""
    level, scale, power, own, evaluation, arms = PLANTED[spread]
    curves = _laws(rng, level, scale, power, arms)
    shared = _luck(rng, 2 * own, 0.0, (1, seeds))
    return Whole(PARTS, curves[:, None] + shared + _luck(rng, own, evaluation, (arms, seeds)), curves[:, -1])


def _laws(rng: np.random.Generator, level: float, scale: float, power: float, arms: int) -> np.ndarray:
    E = 2.8 + level * rng.standard_normal((arms, 1))
    A = 0.5 * np.exp(scale * rng.standard_normal((arms, 1)))
    alpha = 0.5 + power * rng.standard_normal((arms, 1))
    return E + A * PARTS**-alpha


def _luck(rng: np.random.Generator, own: float, evaluation: float, runs: tuple[int, ...]) -> np.ndarray:
    """A run's luck builds up along the way, more of it early: a random walk in the logarithm of tokens."""
    shape = (*runs, len(PARTS))
    walk = np.cumsum(rng.standard_normal(shape) * np.sqrt(np.diff(np.log(PARTS), prepend=-4)), axis=-1)
    return own * walk / 2 + evaluation * rng.standard_normal(shape)


def _mixtures() -> Draw:
    table = pd.read_csv(ROOT / "experiments" / "mix_sweep" / "curves.csv")
    domains = ["general", "code", "science", "qa"]
    table = table[table.metric.isin(domains)].pivot_table(
        index=["seed", "arm"], columns=["metric", "step"], values="bpb"
    )

    def draw(rng: np.random.Generator) -> Race:
        runs = table.loc[rng.choice(table.index.get_level_values("seed").unique())]
        weights = rng.dirichlet(np.ones(len(domains)))
        losses = np.sum([w * runs[domain].to_numpy() for w, domain in zip(weights, domains, strict=True)], axis=0)
        return Race("mixtures", np.arange(1, losses.shape[1] + 1) / losses.shape[1], losses)

    return draw


def recipes() -> pd.DataFrame:
    table = pd.read_csv(TABLES / "KellerJordan+modded-nanogpt" / "val_curves.csv.gz")
    return table.drop_duplicates(["run", "step"])  # some records list the runs of an earlier one again


def _replicates(name: str, table: pd.DataFrame, steps: tuple[int, ...], arms: int = 8) -> Draw:
    wide = table.pivot_table(index=["record", "run"], columns="step", values="val_loss").reindex(columns=list(steps))
    wide = wide.dropna()
    recipes = {record: rows.to_numpy() for record, rows in wide.groupby(level="record")}

    def draw(rng: np.random.Generator) -> Race:
        chosen = rng.choice(list(recipes), size=min(arms, len(recipes)), replace=False)
        losses = np.stack([rng.choice(recipes[record]) for record in chosen])
        return Race(name, np.asarray(steps) / steps[-1], losses)

    return draw


def _sizes(name: str, data: str) -> Draw:
    table = pd.read_csv(TABLES / "formll+resolving-scaling-law-discrepancies" / "isoflop_points.csv")
    table = table[(table.dataset == data) & (table.decay != "chinchilla")]  # there every point is a run of its own
    keys = ["file", "hparams", "warmup", "decay", "param_count", "split", "experiment"]
    wides = [
        rows.pivot_table(index="n_params", columns="flops", values="loss") for _, rows in table.groupby(keys, sort=True)
    ]
    races = [race for wide in wides for race in _windows(wide)]

    def draw(rng: np.random.Generator) -> Race:
        parts, losses = races[rng.integers(len(races))]
        return Race(name, parts, losses)

    return draw


def _windows(wide: pd.DataFrame, points: int = 5, least: int = 4) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Arms with `points` consecutive doublings of FLOPs up to each end where at least so many have them."""
    for end in range(points, wide.shape[1] + 1):
        part = wide.iloc[:, end - points : end].dropna()
        if len(part) >= least:
            flops = part.columns.to_numpy(float)
            yield flops / flops[-1], part.to_numpy()


def _schedules() -> Draw:
    names = ["constant_24000", "cosine_24000", "wsd_20000_24000", "wsdld_20000_24000", "constant_72000", "cosine_72000"]
    folder, steps = TABLES / "thu-yao-01-luo+MultiPowerLaw" / "loss_curve_repo", np.arange(3000, 23501, 500)

    def draw(rng: np.random.Generator) -> Race:
        size = rng.choice([25, 100, 400])
        curves = [pd.read_csv(folder / f"csv_{size}" / f"{name}.csv") for name in names]
        losses = [np.interp(steps, curve.step, curve.loss.rolling(4, min_periods=1).mean()) for curve in curves]
        return Race("schedules", steps / steps[-1], np.stack(losses))

    return draw
