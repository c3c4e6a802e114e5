"""Which two of every four weights stay: the masks of 2:4.

    magnitude    the two largest |w|
    wanda        the two largest |w| x rms of the input of that column (Wanda, arXiv:2306.11695)

`compensate` chooses masks of its own (SparseGPT).

Shapes: O outputs, I inputs.
"""

from torch import Tensor

from ablate.model.grid import two_of_four


def magnitude(weight_OI: Tensor) -> Tensor:
    return two_of_four(weight_OI.abs())


def wanda(weight_OI: Tensor, gram_II: Tensor) -> Tensor:
    return two_of_four(weight_OI.abs() * gram_II.diagonal().sqrt().to(weight_OI.dtype))
