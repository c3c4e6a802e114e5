"""What bf16-mixed gains over float32 on this machine, through the whole of our path.

On a CPU with AVX-512 bf16 instructions its products are twice as quick; without them it loses.
"""

import functools

from bench.rounds import Row, ratios, run
from bench.speed import tokens_per_second

ROUNDS = 5


def precision(quick: bool) -> list[Row]:
    """tokens per second of ours in both precisions"""
    names = ("fp32", "bf16-mixed")
    sides = {name: functools.partial(tokens_per_second, "ours", "micro", name, quick) for name in names}
    found = run(sides, 1 if quick else ROUNDS)
    gain = ratios(found["bf16-mixed"], found["fp32"])
    rows = [Row("micro", f"{name}, tokens/s", values) for name, values in found.items()]
    return [*rows, Row("micro", "bf16-mixed / fp32", gain, 1.6)]
