"""Linear maps: the matrices that every mixer and feed-forward is made of.

A seam of its own, because a whole family of architectures differs only here (weights of one, two
or 1.58 bits). No biases, as in every Llama-like model: they cost memory traffic and buy nothing.

    LINEARS["dense"](inputs=128, outputs=384)
"""

from torch import nn


class Dense(nn.Linear):
    """`y = x W^T`, weight (outputs, inputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def flops(self) -> int:
        """Forward FLOPs per token: one multiplication and one addition per weight."""
        return 2 * self.in_features * self.out_features


LINEARS = {"dense": Dense}
