"""What several benches read or draw: published curves, where tables lie beside this repository; planted studies."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parent.parent
TABLES = ROOT.parent / "shared" / "tables"
# spread over arms of E and of log A; noise of a run, of an evaluation; arms
PLANTED = {
    "wide": (0.05, 0.05, 0.0015, 0.0005, 16),
    "many": (0.02, 0.05, 0.0015, 0.0005, 64),
    "noisy": (0.03, 0.05, 0.004, 0.004, 16),
}


@dataclass(frozen=True)
class Whole:
    """A study: ends are arms x seeds; truth, the expected final loss of each arm."""

    ends: np.ndarray
    truth: np.ndarray


def whole(rng: np.random.Generator, seeds: int, spread: str = "wide") -> Whole:
    """A planted study of losses E + A, whose arms share their seeds' luck as far as twice their own."""
    level, scale, own, evaluation, arms = PLANTED[spread]
    truth = 2.8 + level * rng.standard_normal(arms) + 0.5 * np.exp(scale * rng.standard_normal(arms))
    luck = own * (2 * rng.standard_normal(seeds) + rng.standard_normal((arms, seeds)))
    return Whole(truth[:, None] + luck + evaluation * rng.standard_normal((arms, seeds)), truth)


def recipes() -> pd.DataFrame:
    table = pd.read_csv(TABLES / "KellerJordan+modded-nanogpt" / "val_curves.csv.gz")
    return table.drop_duplicates(["run", "step"])  # some records list the runs of an earlier one again
