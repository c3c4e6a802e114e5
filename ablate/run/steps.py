"""Moments of a run in optimizer steps: what is written as a fraction or as a count.

steps_of(0.25, 300) = 75      steps_of(40, 300) = 40
"""

from itertools import pairwise


def steps_of(moment: float, total: int) -> int:
    """Optimizer steps meant by `moment`: a fraction of `total` up to 1, otherwise a count."""
    return round(moment * total) if moment <= 1 else round(moment)


def ramp_steps(multiples: list[int], starts: list[float], tokens: int, step_tokens: int) -> list[int]:
    """Steps of each stage of a growing batch; together they read at most `tokens`.

    A start of at most 1 is a fraction of `tokens`, another one a count of steps. Where a start is not
    reached, the number is negative or 0.
    """
    steps: list[int] = []
    read = 0
    for multiple, (_, end) in zip(multiples, pairwise([*starts, None]), strict=True):
        size = multiple * step_tokens
        if end is None:
            steps.append((tokens - read) // size)
        else:
            steps.append(round((end * tokens - read) / size) if end <= 1 else round(end) - sum(steps))
        read += steps[-1] * size
    return steps
