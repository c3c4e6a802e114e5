"""What a run takes of the memory, against what the budget says before it.

Each case is a run of `train_run` in a process of its own, evaluation and checkpoint included. Counted is what lives in
torch's allocator at its peak, from the first step on. The process itself takes more: its libraries, and memory that the
C library keeps for later.
"""

import json
import sys
import time
from itertools import accumulate
from typing import Any

import lightning as L
import torch
from torch.profiler import profile

from ablate.model import budget
from ablate.run.settings import Settings
from bench import cases
from bench.loops import watched
from bench.rounds import Row, report

STEPS, STEP_TOKENS = 2, 2048
WITHIN = 0.1  # of the budget
# What is changed of 10 M parameters on 8 rows of 256 tokens
CASES: dict[str, dict[str, Any]] = {
    "attention": {},
    "latent": {"model": {"pattern": "L"}},
    "mamba": {"model": {"pattern": "M"}},
    "ternary": {"model": {"linear": "ternary"}},
    "rows of 1024": {"data": {"span": 1024}, "length": {"lengths": [1024]}},
    "recomputed": {"where": {"recompute": True}},
    "muon": {"optimizer": {"name": "muon"}},
    "8 bits": {"optimizer": {"name": "adamw8bit"}},
    "averaged": {"averaging": {"kind": "ema", "start": 0.5}},
    "in 4 parts": {"where": {"micro_tokens": 512}},
}


def memory(quick: bool) -> list[Row]:
    """peaks of a run's memory over the budget's, and the budget in MiB"""
    rows = []
    for case in ("attention",) if quick else CASES:
        found = report([sys.executable, "-m", "bench.memory", case])
        ratio = found["peak"] / found["budget"]
        rows.append(Row(case, "budget, MiB", [found["budget"] / 2**20]))
        rows.append(Row(case, "off by, share of the budget", [abs(ratio - 1)], WITHIN, "at most"))
        rows.append(Row(case, "peak / budget", [ratio]))
    return rows


class Steps(L.Callback):
    """When the steps of a run began, in nanoseconds."""

    begin = 0

    # pyrefly: ignore[bad-override]
    def on_train_batch_start(self, *_: Any) -> None:
        self.begin = self.begin or time.time_ns()


def peak_of(one: Settings) -> int:
    """Bytes that live at the peak from the first step on, of all that the run has allocated."""
    steps = Steps()
    with profile(profile_memory=True) as found:
        watched(one, steps)
    profiler: Any = found.profiler
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    alive = accumulate(event.nbytes() for event in events)
    return max(bytes_ for event, bytes_ in zip(events, alive, strict=True) if steps.begin <= event.start_ns())


def main() -> None:
    (case,) = sys.argv[1:]
    torch.set_num_threads(1)
    with cases.outputs() as folder:
        steps = {"step_tokens": STEP_TOKENS, "tokens": STEPS * STEP_TOKENS}
        one = cases.settings("micro", STEPS, folder, changes=steps | CASES[case])
        print(json.dumps({"peak": peak_of(one), "budget": budget.of(one).memory.total}))


if __name__ == "__main__":
    main()
