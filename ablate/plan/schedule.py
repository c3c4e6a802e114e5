"""The learning rate of every optimizer step: warmup, plateau, decay.

    peak       ______________
              /              \\            constant: decay = 0
             /                \\           cosine:   decay = 1, shape = cosine
    final * /                  \\___       WSD:      decay = 0.2, any shape
           0  warmup      total - decay    total

Indexed by optimizer step, never by micro-batch (a public trainer confused the two, and its decay
never came). The first step already moves the weights; the last has exactly `final` times the peak.
"""

import numpy as np

from ablate.moments import steps_of
from ablate.settings import Schedule


def rates(schedule: Schedule, peak: float, total: int) -> np.ndarray:
    """Learning rate of steps 0..total-1, shape (total,), float64."""
    step = np.arange(total, dtype=np.float64)
    warmup = min(steps_of(schedule.warmup, total), total)
    decay = min(steps_of(schedule.decay, total), total - warmup)
    rising = (step + 1) / max(warmup, 1)
    progress = np.clip((step + 1 - (total - decay)) / max(decay, 1), 0.0, 1.0)
    return peak * np.minimum(rising, 1.0) * SHAPES[schedule.shape](progress, schedule.final)


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


SHAPES = {"linear": linear, "cosine": cosine, "sqrt": sqrt, "exponential": exponential}
