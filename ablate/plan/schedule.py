"""The learning rate and weight decay of every optimizer step: warmup, plateau, decay, stage by stage.

    peak       ______________
              /              \\            constant: decay = 0
             /                \\           cosine:   decay = 1, shape = cosine
    final * /                  \\___       WSD:      decay = 0.2, any shape
           0  warmup      total - decay    total

A later stage (`schedule.stages`) is such a schedule of its own, over its own steps, with a multiple
of the peak and of the weight decay: a rate warmed up anew, or dropped at once.

Indexed by optimizer step, never by micro-batch (a public trainer confused the two, and its decay
never came). The first step already moves the weights; the last has exactly `final` times the peak.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ablate.run.parts import require_member
from ablate.run.settings import Schedule, ScheduleStage, SettingsError
from ablate.run.steps import steps_of


def rates(schedule: Schedule, peak: float, total: int) -> np.ndarray:
    """Learning rate of steps 0..total-1, shape (total,), float64."""
    first, *later = _lengths(schedule, total)
    parts = [_stage_rates(schedule, peak, first)]
    parts += [_stage_rates(s, s.peak * peak, n) for s, n in zip(_later(schedule, total), later, strict=True)]
    return np.concatenate(parts)


def weight_decays(schedule: Schedule, weight_decay: float, total: int) -> np.ndarray:
    """Weight decay of steps 0..total-1, shape (total,), float64: that of the optimizer times that of the stage."""
    factors = [1.0, *(stage.weight_decay for stage in _later(schedule, total))]
    return weight_decay * np.repeat(factors, _lengths(schedule, total))


def _later(schedule: Schedule, total: int) -> list[ScheduleStage]:
    return sorted(schedule.stages.values(), key=lambda stage: steps_of(stage.start, total))


def _lengths(schedule: Schedule, total: int) -> list[int]:
    """Steps of each stage, the first included."""
    edges = [0, *(steps_of(stage.start, total) for stage in _later(schedule, total)), total]
    return [last - first for first, last in pairwise(edges)]


def _stage_rates(stage: Schedule | ScheduleStage, peak: float, total: int) -> np.ndarray:
    step = np.arange(total, dtype=np.float64)
    warmup = min(steps_of(stage.warmup, total), total)
    decay = min(steps_of(stage.decay, total), total - warmup)
    rising = (step + 1) / max(warmup, 1)
    progress = np.clip((step + 1 - (total - decay)) / max(decay, 1), 0.0, 1.0)
    return peak * np.minimum(rising, 1.0) * SHAPES[stage.shape](progress, stage.final)


def linear(x: np.ndarray, final: float) -> np.ndarray:
    return 1 - x + final * x


def cosine(x: np.ndarray, final: float) -> np.ndarray:
    """Loshchilov and Hutter 2017, equation 5."""
    return final + (1 - final) * (1 + np.cos(np.pi * x)) / 2


def sqrt(x: np.ndarray, final: float) -> np.ndarray:
    """1 - sqrt: the better cooldown in Hagele et al. 2024 (arXiv 2405.18392)."""
    return final + (1 - final) * (1 - np.sqrt(x))


def exponential(x: np.ndarray, final: float) -> np.ndarray:
    """Equal factors per step, as in MiniCPM's decay (arXiv 2404.06395)."""
    return final**x


# (x, final) -> multiple of the peak, float64; x: how much of the decay is done, from 0 to 1, where it is `final`
SHAPES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "linear": linear,
    "cosine": cosine,
    "sqrt": sqrt,
    "exponential": exponential,
}


def check(schedule: Schedule) -> None:
    """Raises SettingsError for a shape that there is not, or that cannot end where it should."""
    stages = {"schedule": schedule} | {f"schedule.stages.{name}": stage for name, stage in schedule.stages.items()}
    for key, stage in stages.items():
        require_member(f"{key}.shape", stage.shape, SHAPES)
        if stage.shape == "exponential" and stage.final == 0:
            raise SettingsError(f"{key}.final={stage.final}: must be above 0 with shape=exponential")
