"""Curves whose end is known: what extrapolation is calibrated and graded on.

    in scope    a constant learning rate
      schedules    MultiPowerLaw: 25 M, 100 M, 400 M parameters, constant rate, 24,000 and 72,000 steps
      sizes        Porian et al.: widths at the doublings of FLOPs of a run, constant rate, two data sets
      speedruns    modded-nanogpt, the part before the cooldown: 30 % of track 3 (its recipes name
                   cooldown_frac = 0.7), 59 % of the records of 2024 (600 of 1,480 steps cool down); means of replicates
    out of scope, measured all the same
      cooling      MultiPowerLaw, cosine
      cooling-slowly  Porian et al., cosine beyond the end of the run
      beginnings   a mix_sweep of ours of 1 M parameters and 300,000 tokens, the part before the decay

`parts`: prefixes to extrapolate from, as shares of the tokens of a curve. The speedruns have seven evaluations, so
their prefix is five of them. A source is one laboratory: its curves resemble each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.laws.curve_laws import MIN_POINTS
from ablate.laws.curves import is_late
from bench.curves import ROOT, TABLES, recipes

SCOPE = ("schedules", "sizes", "speedruns")
BEYOND = ("cooling", "cooling-slowly", "beginnings")
STABLE = {"track_3": 0.3, "track_1_short/2024": 0.59}  # of the steps, before the cooldown


@dataclass(frozen=True)
class Prefix:
    """What is fitted, and what came after."""

    source: str
    part: str  # "first" (30 %) or "half"
    tokens: np.ndarray
    losses: np.ndarray
    end: float  # tokens
    truth: float  # loss there
    doubled: tuple[float, float] | None  # tokens at about twice the prefix, and the loss there

    @property
    def curve(self) -> tuple[str, float, float]:
        """Of which curve it is a prefix: the first part and the half of one end at the same point."""
        return self.source, self.end, self.truth


def prefixes() -> list[Prefix]:
    """All that the tables here give; without them, the beginnings alone."""
    found = list(_beginnings())
    if TABLES.exists():
        found += [*_schedules("constant", "schedules"), *_schedules("cosine", "cooling")]
        found += [*_sizes("const", "sizes"), *_sizes("kaplan", "cooling-slowly"), *_speedruns()]
    return found


def _schedules(shape: str, source: str) -> Iterator[Prefix]:
    for path in sorted((TABLES / "thu-yao-01-luo+MultiPowerLaw" / "loss_curve_repo").glob(f"csv_*/{shape}_*.csv")):
        table = pd.read_csv(path)
        yield from _cut(source, table.step, table.loss, {"first": 0.3, "half": 0.5})


def _sizes(decay: str, source: str, least: int = 9) -> Iterator[Prefix]:
    """Evaluations double from one to the next: the prefixes end at a quarter and at half."""
    table = pd.read_csv(TABLES / "formll+resolving-scaling-law-discrepancies" / "isoflop_points.csv")
    keys = ["dataset", "hparams", "warmup", "param_count", "split", "n_params"]
    for _, rows in table[table.decay == decay].groupby(keys):
        curve = rows.sort_values("tokens").drop_duplicates("tokens")
        if len(curve) >= least:
            yield from _cut(source, curve.tokens, curve.loss, {"first": 0.26, "half": 0.51})


def _speedruns() -> Iterator[Prefix]:
    table = recipes()
    for track, stable in STABLE.items():
        for _, rows in table[table.record.str.contains(track)].groupby("record"):
            stage = rows[(rows.step > 0) & (rows.step <= stable * rows.step.max())]
            mean = stage.groupby("step").val_loss.mean()
            if len(mean) > MIN_POINTS:
                yield from _cut("speedruns", mean.index, mean, {"first": 0.8})


def _beginnings() -> Iterator[Prefix]:
    table = pd.read_csv(ROOT / "bench" / "beginnings.csv")
    table = table[table.metric.isin(["general", "code", "science", "qa"]) & (table.tokens <= 0.8 * table.tokens.max())]
    for _, rows in table.groupby(["arm", "metric"]):
        mean = rows.groupby("tokens").bpb.mean()
        yield from _cut("beginnings", mean.index, mean, {"first": 0.5, "half": 0.7})


def _cut(source: str, tokens: pd.Series, losses: pd.Series, parts: dict[str, float]) -> Iterator[Prefix]:
    n, y = np.asarray(tokens, float), np.asarray(losses, float)
    for part, share in parts.items():
        seen = int((n <= share * n[-1]).sum())
        late = max(min(int((~is_late(seen)).sum()), seen - MIN_POINTS), 0)
        if seen - late < MIN_POINTS:
            continue
        after = int(np.abs(n - 2 * n[seen - 1]).argmin())
        doubled = (float(n[after]), float(y[after])) if abs(n[after] / n[seen - 1] - 2) < 0.1 else None
        yield Prefix(source, part, n[late:seen], y[late:seen], float(n[-1]), float(y[-1]), doubled)
