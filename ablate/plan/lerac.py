"""Learning rate curriculum: layers near the input learn at the full rate first, the others join them.

    factor          embedding  ____________________     low = 1
      of the         block 1          ___/              low = lowest ** (1 / (depth + 1))
      rate             ...        ___/
                      head   ___/                       low = lowest
                             0          k               step

LeRaC (arXiv 2205.09180) raises the rate of layer j exponentially from eta_j(0) to the common eta at
iteration k: eta_j(t) = eta_j(0) (eta / eta_j(0)) ** (t / k). Divided by eta that is
low_j ** (1 - t / k), which multiplies with any schedule. A public trainer never let its layers
converge; here the factor is exactly 1 from step k on.
"""

import numpy as np

from ablate.run.optimizer import LeRaC
from ablate.run.steps import steps_of


def factors(lerac: LeRaC, layers: int, total: int) -> np.ndarray:
    """Factors of the rate, shape (total, layers); takes no memory to speak of without a curriculum."""
    if lerac.lowest == 1:
        return np.broadcast_to(1.0, (total, layers))
    low = lerac.lowest ** (np.arange(layers) / (layers - 1))
    left = np.maximum(1 - np.arange(total) / steps_of(lerac.until, total), 0.0)
    # Written out to one shape: over broadcast operands numpy chooses between two kinds of power, which
    # differ in the last bit, by where in memory the operands happen to lie
    return np.tile(low, total).reshape(total, layers) ** np.repeat(left, layers).reshape(total, layers)
