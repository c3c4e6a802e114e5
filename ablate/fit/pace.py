"""How fast this machine trains a model, from a few steps of it: for a prediction before the first run is done.

Real steps (model, loss, gradients, optimizer) on random tokens, for no product of matrices says what a
small model reaches: it spends much of its time elsewhere.
"""

import time

import numpy as np
import torch

from ablate.data.batches import Batch
from ablate.fit import optimizer as optimizers
from ablate.fit.objectives import OBJECTIVES
from ablate.model import budget, match
from ablate.model.language import build
from ablate.plan.timeline import Timeline

SECONDS = 0.4  # spent on each row length after the first step, which is not counted


def flops_per_second(timeline: Timeline) -> float:
    """Of one process in training this run, its row lengths weighted by their tokens."""
    settings = timeline.settings
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.where.threads or threads)
    try:
        lengths, tokens = timeline.table["length"], timeline.table["rows"] * timeline.table["length"]
        per_token = {int(length): _seconds_per_token(timeline, int(length)) for length in set(lengths.tolist())}
    finally:
        torch.set_num_threads(threads)
    seconds = sum(per_token[int(length)] * count for length, count in zip(lengths, tokens, strict=True))
    return float(timeline.flops(budget.of(settings).training_flops)[-1]) / float(seconds)


def _seconds_per_token(timeline: Timeline, length: int) -> float:
    s = timeline.settings
    device = torch.device("cuda" if s.where.device != "cpu" and torch.cuda.is_available() else "cpu")
    rows = min(s.step_tokens, s.where.micro_tokens or budget.MICRO_TOKENS) // length or 1
    model = build(s.model, match.sized(s), s.data.vocabulary, s.seed).to(device)
    optimizer = optimizers.build(model, s.optimizer)
    generator = torch.Generator().manual_seed(s.seed)  # its own: measuring moves no one else's numbers
    windows = torch.randint(s.data.vocabulary, (rows, length + 1), generator=generator)
    batch = Batch.of([*windows.numpy()], np.zeros(rows, dtype=np.int64)).to(device)
    ones = torch.ones(s.data.vocabulary, device=device)

    def step() -> float:
        begin = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=s.precision == "bf16-mixed"):
            sums = OBJECTIVES[s.objective](model, batch, ones, 1)
        (sums.total / sums.tokens_S.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    step()
    times = [step()]
    while sum(times) < SECONDS:
        times.append(step())
    return sorted(times)[len(times) // 2] / (rows * length)
