"""Whether the monitor finds trouble, and how often it finds some where there is none (`fit.monitor`).

planted      short runs with trouble in one step: is that step, or for a rate the one after it, found?
real         the same runs without trouble, over stages, lengths, ramps and rates: spikes that are none
simulated    losses of a power law with heavy tails, over the same: 100,000 steps, what no machine trains in a minute
overhead     what a step takes longer for being looked at, against a step of 11 ms

Real runs are of 33,000 parameters and 512 tokens a step, which is noisier than any run worth watching.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ablate.data.tokens import opened
from ablate.fit.monitor import Monitor
from ablate.fit.run import train_run
from ablate.run.parse import from_plain
from ablate.run.record import Record
from ablate.run.settings import Settings
from ablate.sweep.worker import alone
from bench import cases
from bench.rounds import Row

STEPS, AT = 300, 200  # of a real run, and where trouble is planted
SEEDS = range(5)
KINDS = ("noise", "repeated", "corrupt", "rate")
LATE = 3  # steps after a rate that is too high within which it must be found
SIMULATED = 40  # runs of
LENGTH = 2500  # steps
STEP_SECONDS = 0.011
TINY: dict[str, Any] = {
    "data": {"domains": ["general", "code", "qa"], "domain_bytes": 150_000, "span": 64, "vocabulary": 512},
    "size": {"width": 32, "depth": 2, "heads": 2, "kv_heads": 1, "hidden": 64},
    "length": {"lengths": [64]},
    "tokens": 512 * STEPS,
    "step_tokens": 512,
    "evaluation": {"times": 1, "spans": 1},
}
# Settings without trouble, each with another reason for a loss or a gradient to move
CLEAN: dict[str, dict[str, Any]] = {
    "plain": {},
    "stages": {"mixture": {"stages": {"late": {"start": 0.5, "weights": {"qa": 1, "general": 1}}}}},
    "lengths": {"length": {"lengths": [16, 32, 64], "starts": [0, 0.3, 0.6]}},
    "ramp": {"ramp": {"multiples": [1, 2, 4], "starts": [0, 0.3, 0.6]}},
    "rates": {"schedule": {"warmup": 0.3, "stages": {"again": {"start": 0.5, "peak": 1.5, "warmup": 0.1}}}},
    "high rate": {"optimizer": {"lr": 1e-2}},
    "muon": {"optimizer": {"name": "muon"}},
    "mamba": {"model": {"pattern": "M"}},
}


def monitor(quick: bool) -> list[Row]:
    """spikes found and made up, and what looking for them costs"""
    seeds = SEEDS[:1] if quick else SEEDS
    rows = [Row(f"planted, {kind}", "share found", _shares(kind, seeds), 1.0) for kind in KINDS]
    kinds = list(CLEAN)[:2] if quick else list(CLEAN)
    alarms, judged = np.sum([_clean(CLEAN[kind], seed) for kind in kinds for seed in seeds], axis=0)
    rows += [Row("real, clean", "steps judged", [float(judged)]), Row("real, clean", "false alarms", [float(alarms)])]
    found = [simulated(seed) for seed in range(2 if quick else SIMULATED)]
    alarms, judged = np.sum(found, axis=0)
    rows.append(Row("simulated, clean", "steps judged", [float(judged)]))
    rows.append(Row("simulated, clean", "false alarms in 100,000 steps", [1e5 * alarms / judged], 1.0, "at most"))
    milliseconds = [1e3 * overhead() for _ in range(3)]
    shares = [one / (1e3 * STEP_SECONDS) for one in milliseconds]
    rows.append(Row("overhead", "of a step, ms", milliseconds))
    rows.append(Row("overhead", "of a step of 11 ms", shares, 0.01, "at most"))
    return rows


def _shares(kind: str, seeds: range) -> list[float]:
    """Of each seed 1 where the trouble was found, and 0 where it was not."""
    found = []
    for seed in seeds:
        record, _ = _trained({"seed": seed, "trouble": {"kind": kind, "start": AT}})
        last = AT + (LATE if kind == "rate" else 0)
        found.append(float(any(AT <= row["at"] <= last for row in record.rows("spike"))))
    return found


def _clean(changes: dict[str, Any], seed: int) -> tuple[int, int]:
    """Alarms in a run without trouble, and steps that were judged."""
    record, settings = _trained(changes | {"seed": seed})
    rows = record.rows("train")
    phases = [(row["length"], row["step"] // 10**9) for row in rows]
    blind = settings.monitor.least * len(set(phases))
    return len(record.rows("spike")), max(0, settings.steps - blind)


def _trained(changes: dict[str, Any]) -> tuple[Record, Settings]:
    with cases.outputs() as outputs:
        where = {"outputs": str(outputs), "device": "cpu", "wandb": "off", "progress": False, "saves": 1}
        settings = from_plain(TINY | {"where": where, "monitor": {"act": "skip"}} | changes)
        task = alone(settings)
        train_run(settings, opened(task.corpus), task.record)
        kept = _Rows({kind: task.record.rows(kind) for kind in ("train", "spike")})
        return kept, settings  # pyrefly: ignore[bad-return]


class _Rows:
    """Rows of a record whose folder is gone."""

    def __init__(self, kept: dict[str, list[dict[str, Any]]]) -> None:
        self.kept = kept

    def rows(self, kind: str) -> list[dict[str, Any]]:
        return self.kept[kind]


def watching(domains: int) -> Monitor:
    """A monitor with the usual settings, of a run that reads so many domains."""
    names = [f"d{number}" for number in range(domains)]
    return Monitor(from_plain({"data": {"domains": names}, "monitor": {"act": "skip"}}))


def simulated(seed: int) -> tuple[int, int]:
    """Alarms in a run that nothing is wrong with, and steps that were judged."""
    one, alarms, judged = watching(4), 0, 0
    for phase, step_D2, norm in course(seed):
        look = one.look(phase, step_D2, norm)
        judged += int(one.count_F[0] >= one.settings.least)
        alarms += look.spike
        if not look.spike:
            one.take_in(look)
    return alarms, judged


def course(seed: int) -> Iterator[tuple[tuple[float, float, float], np.ndarray, float]]:
    """Stage, length and rows, sums and gradient's norm of each step of a run.

    A row's loss is off by its domain's spread times a t variate of 8 degrees of freedom, a tenth of them twice as wide;
    the norm follows the loss, and is off by a factor whose logarithm has 5 degrees. So deviations have tails as heavy
    as those of recorded runs (DECISIONS.md).
    """
    rng = np.random.default_rng(seed)
    floor_D, fall_D = rng.uniform(0.5, 3, 4), rng.uniform(2, 5, 4)
    spread_D, power = rng.uniform(0.05, 0.5, 4), rng.uniform(0.2, 0.5)
    switches = np.sort(rng.integers(300, LENGTH, 3))
    rows_of = [int(rng.choice([1, 2, 4, 8, 16])) * factor for factor in (1, 1, 2, 4)]
    lengths = [256.0, 512.0, 512.0, 1024.0]
    weights_SD = rng.dirichlet(np.ones(4), 4)
    rewarmed = rng.integers(500, LENGTH - 200)
    for step in range(LENGTH):
        stage = int(np.searchsorted(switches, step, side="right"))
        length, rows = lengths[stage], rows_of[stage]
        domain_R = rng.choice(4, rows, p=weights_SD[stage])
        bump = 0.15 * np.exp(-0.5 * ((step - rewarmed) / 60) ** 2)  # a rate that rises again
        level_D = floor_D + fall_D * (1 + step / 10) ** -power + bump + 0.1 * stage
        wide_R = np.where(rng.random(rows) < 0.1, 2.0, 1.0)
        off_R = spread_D[domain_R] * rng.standard_t(8, rows) * wide_R / np.sqrt(length / 256)
        step_D2 = np.zeros((4, 2))
        np.add.at(step_D2[:, 0], domain_R, length * np.maximum(level_D[domain_R] + off_R, 0.05))
        np.add.at(step_D2[:, 1], domain_R, length)
        common = np.abs(off_R).mean() / spread_D.mean()
        norm = (1 + 3 * np.exp(-step / 100)) * np.exp(0.1 * rng.standard_t(5) + 0.1 * common) / np.sqrt(rows)
        yield (float(stage), length, float(rows)), step_D2, float(norm)


def overhead() -> float:
    """Seconds that looking at a step adds to it, of this process's own time."""
    one, sums_D3, fallen, norm = watching(4), torch.ones(4, 3, dtype=torch.float64), torch.ones(()), torch.ones(())
    seen = list(course(0))[:1000]
    begin = time.process_time()
    for phase, step_D2, size in seen:
        before = sums_D3.clone(), fallen.clone()
        sums_D3.zero_()
        fallen.zero_()
        torch.cat([norm.double().reshape(1), sums_D3[:, :2].clone().flatten()]).cpu().numpy()
        look = one.look(phase, step_D2, size)
        if not look.spike:
            one.take_in(look)
        sums_D3 += before[0]
        fallen += before[1]
    return (time.process_time() - begin) / len(seen)
