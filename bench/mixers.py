"""Tokens per second of every mixer beside attention, and of the scan in chunks beside its definition.

    python -m bench.mixers MMMA 1024 8        one measurement, in a process of its own: {"tokens_per_second": ...}

The blocks of `size=nano`, mixer and feed-forward, at equal width, forward and backward, one thread,
float32; embedding and head, which all of them share, are left out. 4096 tokens at a time, as in `speed`.

What to expect (`bench/results/mixers.json`): attention's work a token grows with the row, a scan's does not, so M
comes nearer from 256 tokens to 1024. L computes wider keys and values than grouped queries need; ternary
matrices are products of floats here, after two roundings: their gain is in memory, not on this path.
"""

import functools
import json
import sys
import time
from collections.abc import Callable

import torch
import yaml

from ablate.model.language import build
from ablate.model.ssd import ssd, ssd_recurrent
from ablate.run.settings import Model, Size
from bench import cases
from bench.rounds import ROOT, Row, ratios, report, run

MODELS = {
    "A": Model(),
    "L": Model(pattern="L"),
    "M": Model(pattern="M"),
    "MMMA": Model(pattern="MMMA"),
    "ternary": Model(linear="ternary"),
}
LENGTHS = (256, 1024)
SCANS = {"chunks of 64": 64, "chunks of 32": 32, "recurrence": 0}  # tokens of a chunk; 0: token by token
SCAN_SHAPE = {"rows": 4, "heads": 8, "width": 32, "state": 32}  # that of nano
LEAST_GAIN = 5  # of chunks over the recurrence, at LENGTHS[-1]
WARMUP, REPEATS, ROUNDS = 2, 6, 3


def mixers(quick: bool) -> list[Row]:
    """tokens per second at equal width, forward and backward, and each over attention"""
    rows = []
    for length in LENGTHS:
        found = measured(list(MODELS), length, quick)
        rows += [Row(f"length {length}", f"{name}, tokens/s", values) for name, values in found.items()]
        rows += [Row(f"length {length}", f"{name} / A", ratios(found[name], found["A"])) for name in list(MODELS)[1:]]
    scans, case = measured(list(SCANS), LENGTHS[-1], quick), f"scan {LENGTHS[-1]}"
    chunks, smaller, recurrence = scans.values()
    rows.append(Row(case, "chunks of 64 / recurrence", ratios(chunks, recurrence), LEAST_GAIN))
    rows.append(Row(case, "chunks of 32 / chunks of 64", ratios(smaller, chunks)))
    return rows


def measured(names: list[str], length: int, quick: bool) -> dict[str, list[float]]:
    """Tokens per second of each, in turn, round after round."""
    sides = {name: functools.partial(tokens_per_second, name, length, 1 if quick else REPEATS) for name in names}
    return run(sides, 1 if quick else ROUNDS)


def tokens_per_second(name: str, length: int, repeats: int) -> float:
    command = [sys.executable, "-m", "bench.mixers", name, str(length), str(repeats)]
    return report(command)["tokens_per_second"]


def of_model(name: str, length: int) -> Callable[[], torch.Tensor]:
    """A forward pass through all blocks, from hidden states."""
    size = Size(**yaml.safe_load((ROOT / "conf" / "size" / "nano.yaml").read_text()))
    model = build(MODELS[name], size, cases.VOCABULARY["nano"], seed=0)
    x_BLD = torch.randn(cases.STEP_TOKENS // length, length, size.width)
    return lambda: functools.reduce(lambda x, block: block(x), model.blocks, x_BLD)


def of_scan(chunk: int, length: int) -> Callable[[], torch.Tensor]:
    """The scan alone; its inputs ask for gradients, as in training."""
    rows, heads, width, state = SCAN_SHAPE.values()
    x, dt = torch.randn(rows, length, heads, width), torch.rand(rows, length, heads) / 10
    A, B, C = -torch.rand(heads) * 16, torch.randn(rows, length, 1, state), torch.randn(rows, length, 1, state)
    for y in (x, dt, A, B, C):
        y.requires_grad_()
    return lambda: ssd(x, dt, A, B, C, chunk) if chunk else ssd_recurrent(x, dt, A, B, C)


def main() -> None:
    name, length, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    forward = of_scan(SCANS[name], length) if name in SCANS else of_model(name, length)
    for _ in range(WARMUP):
        forward().sum().backward()
    begin = time.perf_counter()
    for _ in range(repeats):
        forward().sum().backward()
    seconds = time.perf_counter() - begin
    print(json.dumps({"tokens_per_second": repeats * cases.STEP_TOKENS / seconds}))


if __name__ == "__main__":
    main()
