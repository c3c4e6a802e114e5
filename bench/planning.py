"""How long it takes to see what a study will cost: the whole command, imports included, text prepared before.

Arms in pairs of a rate and a share of QA, each a run a seed. The last row has no seeds to spare it work:
1,000 arms of one seed, each a configuration of its own.
"""

import subprocess
import sys
import time

from bench import cases
from bench.rounds import ROOT, Row, one_thread

ROUNDS = 3
LIMIT = 10.0  # seconds, for the longest
SHARES = ("0.0", "0.05", "0.1", "0.15")
CASES = {"12 runs": (1, 3), "216 runs": (18, 3), "1000 runs": (25, 10), "1000 runs of 1000 arms": (250, 1)}


def planning(quick: bool) -> list[Row]:
    """seconds from the command to the plan of a study"""
    found: dict[str, list[float]] = {case: [] for case in CASES}
    with cases.outputs() as outputs:
        seconds(1, 1, str(outputs))  # prepares the text, where it is not prepared
        for _ in range(1 if quick else ROUNDS):
            for case, (rates, seeds) in CASES.items():
                found[case].append(seconds(rates, seeds, str(outputs)))
    return [Row(case, "dry run, s", times, LIMIT, "at most") for case, times in found.items()]


def seconds(rates: int, seeds: int, outputs: str) -> float:
    """Of one dry run of rates x 4 shares x seeds runs."""
    swept = [
        "optimizer.lr=" + ",".join(f"{1e-3 + 1e-5 * i:.5f}" for i in range(rates)),
        "mixture.share=" + ",".join(SHARES),
        "seed=" + ",".join(map(str, range(seeds))),
    ]
    where = [f"where.outputs={outputs}", "where.device=cpu", "where.dry_run=true"]
    command = [sys.executable, "-m", "ablate.train", "-m", *swept, *where, "tokens=204800"]
    begin = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=one_thread(), capture_output=True, check=True)
    return time.perf_counter() - begin
