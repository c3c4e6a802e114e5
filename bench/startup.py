"""What a run of a sweep costs besides its training: our launcher against Hydra's own and its joblib plugin.

Whole commands are timed as a user types them, four arms of a few steps, once with two and once with four seeds, W&B
offline as by default. From the wall time comes off what the workers spent training, and so

    wall - training / workers  =  once per sweep  +  (runs / workers) * per run

has two equations for its two unknowns. Nothing is instrumented, and all launchers are treated alike;
their one short evaluation a run counts as start-up. Arms are as many in both, for what a plan or a report says of an
arm is no cost of a run.
"""

import json
import os
import subprocess
import sys
import time

from bench import cases
from bench.rounds import ROOT, Row

ROUNDS = 5
ARMS = ("0.0", "0.05", "0.15", "0.4")
FEW, MANY = 2, 4  # seeds
STEPS = 4
COMMON = [
    "controls=none",
    "data.span=256",
    "step_tokens=1024",
    f"tokens={STEPS * 1024}",
    "evaluation={times: 1, spans: 1}",
    "where.device=cpu",
]
CORES = len(os.sched_getaffinity(0))
LAUNCHERS = {  # words that choose it, runs at once
    "ours": (["hydra/launcher=study"], CORES),
    "Hydra's": (["hydra/launcher=basic"], 1),
    "joblib's": (["hydra/launcher=joblib", f"hydra.launcher.n_jobs={CORES}"], CORES),
}


def startup(quick: bool) -> list[Row]:
    """seconds that a run of a sweep costs besides its training"""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in LAUNCHERS}
    overheads: dict[str, list[float]] = {name: [] for name in LAUNCHERS}
    for _ in range(1 if quick else ROUNDS):
        for name, (launcher, workers) in LAUNCHERS.items():
            short, long = (overhead(launcher, workers, seeds) for seeds in (FEW, MANY))
            runs = (len(ARMS) * FEW / workers, len(ARMS) * MANY / workers)
            per_run = (long - short) / (runs[1] - runs[0])
            found[name].append((per_run, short - per_run * runs[0]))
            overheads[name].append(long / runs[1])
    rows = []
    for name in LAUNCHERS:
        limit = 1.0 if name == "ours" else None
        case = f"{len(ARMS) * FEW} and {len(ARMS) * MANY} runs"
        rows += [
            Row(case, f"{name}, s per run of a worker", [one[0] for one in found[name]], limit, "at most"),
            Row(case, f"{name}, s once per sweep", [one[1] for one in found[name]]),
            Row(case, f"{name}, s of the sweep / runs of a worker", overheads[name]),
        ]
    return rows


def overhead(launcher: list[str], workers: int, seeds: int) -> float:
    """Seconds of a whole sweep in which no worker trains."""
    swept = [f"mixture.share={','.join(ARMS)}", f"seed={','.join(map(str, range(seeds)))}"]
    with cases.outputs() as outputs:
        where = [f"where.outputs={outputs}", *launcher]
        command = [sys.executable, "-m", "ablate.train", "-m", *swept, *COMMON, *where]
        begin = time.perf_counter()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        wall = time.perf_counter() - begin
        results = [json.loads(path.read_text()) for path in outputs.glob("runs/*/result.json")]
    assert len(results) == len(ARMS) * seeds, f"{len(results)} of {len(ARMS) * seeds} runs are done"
    return wall - sum(result["seconds"] for result in results) / workers
