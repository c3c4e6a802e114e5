"""How a matrix is made smaller: the methods, by the name that `compress.method` gives them.

    round      to the nearest number of the format          magnitude    2:4: the two largest of every four stay
    gptq       later columns make up for earlier ones       wanda        2:4: the same, by weight times input
    awq        finer where inputs are large                 sparsegpt    2:4: later columns make up for earlier ones

A method is made from (weight_OI, gram_II, form). `gram_II` is the mean of x x^T over the inputs x of the layer, on
calibration text; methods that are not `informed` get none. Those that are `fitted` are given weights that make up for
what the layers before have lost (`compress.inputs`), and what errors of the outputs do (`compress.outputs`). What 2:4
leaves may be rounded too (2:4-int4).
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from ablate.compress import awq, prune
from ablate.compress.compensate import compensated
from ablate.compress.forms import Form
from ablate.compress.grid import Matrix, rounded


class Method(NamedTuple):
    made: Callable[..., Matrix]
    informed: bool  # needs calibration text
    sparse: bool  # is for formats that are 2:4, and the others for those that are not
    fitted: bool = False  # to what the layer gave before and what that does, and not to its weights


def _magnitude(weight_OI: Tensor, _: None, form: Form) -> Matrix:
    return rounded(weight_OI, form, kept_OI=prune.magnitude(weight_OI))


def _wanda(weight_OI: Tensor, gram_II: Tensor, form: Form) -> Matrix:
    return rounded(weight_OI, form, kept_OI=prune.wanda(weight_OI, gram_II))


METHODS = {
    "round": Method(lambda weight_OI, _, form: rounded(weight_OI, form), informed=False, sparse=False),
    "gptq": Method(compensated, informed=True, sparse=False, fitted=True),
    "awq": Method(awq.scaled, informed=True, sparse=False),
    "magnitude": Method(_magnitude, informed=False, sparse=True),
    "wanda": Method(_wanda, informed=True, sparse=True),
    "sparsegpt": Method(compensated, informed=True, sparse=True, fitted=True),
}
