"""What the parts of `bench gpu` share: the device, a clock that waits for it, and the line of a finding."""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ablate.data.batches import Batch
from ablate.data.windows import Windows

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    torch.set_num_threads(1)  # others use it, too


def tell(part: str, **found: Any) -> None:
    """One finding."""
    rounded = {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in found.items()}
    print(json.dumps({"part": part} | rounded), flush=True)


def sync() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def seconds_of(work: Callable[[], Any], repeats: int) -> float:
    """Of one time, after one that is not counted."""
    work()
    sync()
    begin = time.perf_counter()
    for _ in range(repeats):
        work()
    sync()
    return (time.perf_counter() - begin) / repeats


def batch_of(rows: int, length: int, vocabulary: int) -> Batch:
    """Random tokens of one domain, on the device."""
    windows = np.random.default_rng(0).integers(vocabulary, size=(rows, length + 1))
    return Batch.of(Windows(windows, None), np.zeros(rows, dtype=np.int64)).to(torch.device(DEVICE))
