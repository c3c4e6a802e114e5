"""How much of a running average of the weights each step's weights become.

    average <- average + share * (weights - average)

    step      ...  79  80   81    82          from step 80 on
    uniform        0   1   1/2   1/3          plain mean of all since (Izmailov et al. 2018, arXiv 1803.05407)
    ema            0   1   0.01  0.01         exponential, decay 0.99

A share of 1 begins the average with the weights themselves, so that it never holds the zeros or
the early weights it would have to forget.
"""

import numpy as np

from ablate.run.settings import Averaging
from ablate.run.steps import steps_of


def shares(averaging: Averaging, total: int) -> np.ndarray:
    """Share of the new weights in the average after each of steps 0..total-1, 0 while there is none."""
    start = steps_of(averaging.start, total) if averaging.kind != "none" else total
    share = np.zeros(total)
    if averaging.kind == "uniform":
        share[start:] = 1 / np.arange(1, total - start + 1)
    else:
        share[start:] = 1 - averaging.decay
        share[start : start + 1] = 1
    return share
