"""Whether the monitor finds trouble, how often it finds some where there is none, and what becomes of a run.

false        spikes found in runs that nothing is wrong with: made up (`bench.courses`), on seeds that the rule was not
             tuned on, and real ones over stages, lengths, ramps and rates
planted, end, recovery      real runs with trouble in one step: `bench.troubled`
killed       the same, at any moment: `bench.killed`
overhead     what a step takes longer for being looked at and noted, against a step of 11 ms, and against what the step
             of those runs takes on this machine now
"""

import importlib
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import lightning as L
import torch

from ablate.fit.every_step import EveryStep
from ablate.fit.module import Pretraining
from ablate.fit.monitor import Monitor
from ablate.fit.watch import LOG_ROWS
from ablate.run.parse import from_plain
from ablate.run.processes import cores
from ablate.run.record import Record
from ablate.verdict.selftest import Rate
from bench.courses import COURSES, DOMAINS, power_law
from bench.killed import killed
from bench.rounds import Row
from bench.trained import LONGER, many, trained
from bench.troubled import ends, recovery

SIMULATED = range(4000, 4046)  # seeds, which the rule was not tuned on; a few more than 100,000 steps that are judged
SEEDS = range(100, 104)  # of clean real runs
STEP_SECONDS = 0.011
NOTED, PART = 2000, 50  # steps whose noting is timed, and of a part of them
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
    """spikes found and made up, what becomes of runs that have some, and what looking for them costs"""
    importlib.import_module("ablate.fit.warm")  # once, before this process is forked
    # a process that has trained on several threads cannot be forked: the child waits for threads that it does not have
    with multiprocessing.get_context("fork").Pool(1) as pool:
        recovered = pool.apply(recovery, (quick,))
    return [*false(quick), *ends(quick), *recovered, *killed(quick), *overheads()]


def false(quick: bool) -> list[Row]:
    """Alarms in what nothing is wrong with."""
    rows = []
    for name in COURSES:
        jobs = [(name, seed) for seed in (SIMULATED[:2] if quick else SIMULATED)]
        with multiprocessing.get_context("fork").Pool(cores()) as pool:
            found = pool.starmap(simulated, jobs)
        rows += _alarms(f"simulated, {name}", found, limit=1.0)
    kinds, seeds = (list(CLEAN)[:2], SEEDS[:1]) if quick else (list(CLEAN), SEEDS)
    watched = LONGER | {"monitor": {"act": "skip"}}
    runs = many([watched | CLEAN[kind] | {"seed": seed} for kind in kinds for seed in seeds])
    return rows + _alarms("real, clean", [(len(one.spikes), one.judged) for one in runs], limit=None)


def _alarms(case: str, found: list[tuple[int, int]], limit: float | None) -> list[Row]:
    """Of alarms and judged steps of many runs; too few real steps can be had for a limit of theirs."""
    alarms, judged = (sum(column) for column in zip(*found, strict=True))
    rate = Rate(alarms, judged)
    return [
        Row(case, "steps judged", [float(judged)]),
        Row(case, "false alarms", [float(alarms)]),
        Row(case, "in 100,000 steps", [1e5 * rate.value], limit, "at most"),
        Row(case, "in 100,000 steps, exact 95 % bound", [1e5 * rate.bound]),
    ]


def watching() -> Monitor:
    """A monitor with the usual settings, of a run that reads as many domains as the courses have."""
    names = [f"d{number}" for number in range(DOMAINS)]
    return Monitor(from_plain({"data": {"domains": names}, "monitor": {"act": "skip"}}))


def simulated(course: str, seed: int) -> tuple[int, int]:
    """Alarms in a run that nothing is wrong with, and steps that were judged."""
    one, alarms, judged = watching(), 0, 0
    for phase, step_D2, norm in COURSES[course](seed):
        look = one.look(phase, step_D2, norm)
        judged += int(one.count_F[0] >= one.settings.least)
        alarms += look.spike
        if not look.spike:
            one.take_in(look)
    return alarms, judged


def overheads() -> list[Row]:
    """In rounds, of this process's own time."""
    plain = trained({}).result
    own, rows = 1e3 * plain["seconds"] / plain["step"], []
    rows.append(Row("overhead", "a step of such a run, ms", [own]))
    for case, seconds in {"looked at": looking, "noted": noting}.items():
        milliseconds = [1e3 * seconds() for _ in range(3)]
        rows.append(Row(f"overhead, {case}", "of a step, ms", milliseconds))
        shares = [one / (1e3 * STEP_SECONDS) for one in milliseconds]
        rows.append(Row(f"overhead, {case}", "of a step of 11 ms", shares, 0.01, "at most"))
        rows.append(Row(f"overhead, {case}", "of a step here", [one / own for one in milliseconds], 0.01, "at most"))
    return rows


def looking() -> float:
    """Seconds that looking at a step adds to it, of this process's own time: of the quickest of many parts, since what
    else goes on takes the caches."""
    one, sums_D3, fallen, norm = watching(), torch.ones(DOMAINS, 3, dtype=torch.float64), torch.ones(()), torch.ones(())
    seen, found = list(power_law(0))[:1000], []
    for first in range(0, len(seen), PART):
        begin = time.process_time()
        for phase, step_D2, size in seen[first : first + PART]:
            before = sums_D3.clone(), fallen.clone()
            sums_D3.zero_()
            fallen.zero_()
            torch.cat([norm.double().reshape(1), sums_D3[:, :2].clone().flatten()]).cpu().numpy()
            look = one.look(phase, step_D2, size)
            if not look.spike:
                one.take_in(look)
            sums_D3 += before[0]
            fallen += before[1]
        found.append((time.process_time() - begin) / PART)
    return min(found)


def noting() -> float:
    """Seconds that noting its loss and norm adds to a step (`fit.every_step`), the rows that are written included."""
    sums_D3, norm, found = torch.ones(DOMAINS, 3, dtype=torch.float64), torch.ones(()), []
    module = mock.Mock(spec=Pretraining, learnt=True, grad_norm=norm, device=norm.device)
    trainer = mock.Mock(spec=L.Trainer, max_steps=NOTED, is_global_zero=True)
    trainer.strategy.reduce = lambda sums, reduce_op: sums
    with tempfile.TemporaryDirectory() as folder:
        one = EveryStep(Record(Path(folder)), every=NOTED // LOG_ROWS)
        for first in range(0, NOTED, PART):
            begin = time.process_time()
            for trainer.global_step in range(first + 1, first + PART + 1):
                before_3 = sums_D3.sum(0)
                module.own_2 = (sums_D3.sum(0) - before_3)[:2]
                one.on_train_batch_end(trainer, module)
            found.append((time.process_time() - begin) / PART)
    return min(found)
