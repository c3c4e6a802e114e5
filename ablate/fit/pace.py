"""How fast a run will train, for a prediction before the first run is done.

small model    measured on a few real steps (model, loss, gradients, optimizer) of random tokens, for no
               product of matrices says what it reaches: it spends much of its time elsewhere
large model    a share of the device's peak: neither built nor trained, which would take minutes and gigabytes
"""

import time

import numpy as np
import torch

from ablate.data.batches import Batch
from ablate.data.windows import Windows
from ablate.fit import optimizer as optimizers
from ablate.fit.objectives import OBJECTIVES
from ablate.model import budget, match
from ablate.model.language import build
from ablate.plan.timeline import Timeline
from ablate.run.settings import Settings

SECONDS = 0.4  # spent on each row length after the first step, which is not counted
LARGE = 5e6  # parameters from which on nothing is built
SHARE = 1 / 3  # of the peak: 0.29 at 1 M and 0.35 at 7 M parameters on one core (`bench speed`); on GPUs 0.3 to 0.5
H100 = 989e12  # FLOPs per second in bf16 without sparsity, by its data sheet


def predicted(timeline: Timeline) -> tuple[float, str]:
    """FLOPs per second of all processes of a run together, and how they are known."""
    settings = timeline.settings
    processes = settings.where.devices * settings.where.nodes
    if processes == 1 and budget.of(settings).parameters < LARGE:
        return flops_per_second(timeline), "measured on a few steps"
    peak, source = _peak(settings)
    return processes * peak * SHARE, f"each at a third of {source}"


def _peak(settings: Settings) -> tuple[float, str]:
    """FLOPs per second that one device can do at most, and which device that is."""
    where, gpu = settings.where, torch.cuda.is_available()
    if where.peak_tflops:
        return where.peak_tflops * 1e12, f"where.peak_tflops={where.peak_tflops:g}"
    if where.device == "cuda" and not gpu:
        return H100, "the peak of an H100, as no GPU is visible here"
    device = torch.device("cuda" if gpu and where.device != "cpu" else "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(where.threads or threads)
    dtype = torch.float32 if settings.precision == "fp32" or device.type == "cpu" else torch.bfloat16
    try:
        peak = budget.peak_flops(device, dtype)
    finally:
        torch.set_num_threads(threads)
    return peak, f"the peak measured here, {peak / 1e12:.2g} TFLOP/s"


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
    objective = OBJECTIVES[s.objective](s)
    rows = min(s.step_tokens, s.where.micro_tokens or budget.MICRO_TOKENS) // length or 1
    model = build(s.model, match.sized(s), s.data.vocabulary, s.seed, valued=objective.valued).to(device)
    model.narrow = s.precision == "bf16"
    optimizer = optimizers.build(model, s.optimizer)
    generator = torch.Generator().manual_seed(s.seed)  # its own: measuring moves no one else's numbers
    windows = torch.randint(s.data.vocabulary, (rows, length + 1), generator=generator)
    batch = Batch.of(Windows(windows.numpy(), None), np.zeros(rows, dtype=np.int64)).to(device)
    ones = torch.ones(s.data.vocabulary, device=device)

    def step() -> float:
        begin = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=s.precision != "fp32"):
            sums = objective(model, batch, ones, 1)
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
