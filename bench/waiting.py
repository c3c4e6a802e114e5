"""How much of a step passes between the end of the last one and its batch being there.

Everything is in it: laying rows out, reading them from disk, the loader, and Lightning between steps.
"""

from bench import cases
from bench.rounds import Row
from bench.speed import WARMUP, process, total_steps

ROUNDS = 3


def waiting(quick: bool) -> list[Row]:
    """share of the step spent waiting for data, in percent"""
    return [
        Row(size, "waiting, % of the step", [share(size, quick) for _ in range(1 if quick else ROUNDS)], 1.0, "at most")
        for size in cases.VOCABULARY
    ]


def share(size: str, quick: bool) -> float:
    """Percent, over the steps after the first ones."""
    found = process("ours", size, "fp32", total_steps(size, quick))
    return 100 * sum(found["waiting"][WARMUP[size] :]) / sum(found["seconds"][WARMUP[size] :])
