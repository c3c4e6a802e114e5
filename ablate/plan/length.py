"""The row length of every step, and how many rows it has.

    lengths 256 -> 512 -> 1024, constant tokens:   16 x 256    8 x 512    4 x 1024
                                constant rows:      4 x 256    4 x 512    4 x 1024

Constant tokens is the default: a curriculum then changes the length alone. With constant rows the
last stage has `step_tokens` and earlier ones fewer, so the run reads fewer tokens than `tokens`.
A ramp multiplies the rows, whatever their length.
"""

import numpy as np

from ablate.run.settings import Length, Settings
from ablate.run.steps import ramp_steps, steps_of


def row_lengths(length: Length, total: int) -> np.ndarray:
    """Tokens per row at steps 0..total-1, shape (total,), int64."""
    starts = [steps_of(start, total) for start in length.starts]
    stage = np.searchsorted(starts, np.arange(total), side="right") - 1
    return np.array(length.lengths, dtype=np.int64)[stage]


def row_counts(length: Length, step_tokens: int, total: int) -> np.ndarray:
    """Rows at steps 0..total-1 before the ramp, shape (total,), int64."""
    lengths = row_lengths(length, total)
    return step_tokens // (lengths if length.constant == "tokens" else np.full(total, length.lengths[-1]))


def multiples(settings: Settings) -> np.ndarray:
    """What the ramp multiplies the rows of every step with, shape (steps,), int64."""
    ramp = settings.ramp
    steps = ramp_steps(ramp.multiples, ramp.starts, settings.tokens, settings.step_tokens)
    return np.repeat(np.array(ramp.multiples, dtype=np.int64), steps)
