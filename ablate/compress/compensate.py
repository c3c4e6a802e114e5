"""Weights that make up for what their neighbours lost: GPTQ and SparseGPT, a column at a time.

What a layer does to its inputs x changes by mean |(W - V) x|^2 when W becomes V; with H = mean x x^T that is
tr((W - V) H (W - V)^T). When column j of W is fixed at V_j, the best that the columns after it can do is

    W_k <- W_k - (W_j - V_j) U_jk / U_jj,    k > j,    where H^-1 = U^T U, U upper triangular

(Optimal Brain Surgeon; GPTQ, arXiv:2210.17323; SparseGPT, arXiv:2301.00774). V_j is the nearest number of the format.
For 2:4, SparseGPT drops of every four the two with the lowest w^2 / U_jj^2, which is what their loss costs after
the others have made up for it. Both at once are one pass.

DAMPING x mean(diag H) is added to the diagonal: few calibration tokens make H singular. A column whose inputs were
always 0 is then alone: it is rounded to nearest and helps no other. If all were 0, the whole matrix is rounded so.
Columns go BLOCK at a time, so that most of the work is one product.

Outputs make up for one another in the same way, where G tells what their errors do together (`compress.outputs`): the
loss is then tr(G (W - V) H (W - V)^T). Rows are done a few at a time, all columns of them, and what these lost is made
up for by the rows after them, with the G of OUTPUT_DAMPING in the place of H (YAQA, arXiv:2505.22988).

Shapes: O outputs, I inputs, G groups of a row, J columns of a block.
"""

import torch
from torch import Tensor

from ablate.compress.forms import FOUR, Form
from ablate.compress.grid import Matrix, Scales, joined, numbers, scales
from ablate.model.grid import two_of_four

DAMPING, OUTPUT_DAMPING = 0.01, 0.1
BLOCK = 128
ROWS, PASSES = 8, 64  # rows of a matrix at once, but at most so many times


def compensated(weight_OI: Tensor, gram_II: Tensor, form: Form, gram_OO: Tensor | None = None) -> Matrix:
    """The matrix in its form. `gram_II` is H, in float64; `gram_OO` is G, or None when outputs are alike."""
    upper_II, rest_OI = _upper(gram_II, DAMPING), weight_OI.float().clone()
    if gram_OO is None:
        return _Pass(rest_OI, upper_II, form).run()
    upper_OO, found = _upper(gram_OO, OUTPUT_DAMPING), []
    size = max(ROWS, -(-len(rest_OI) // PASSES))
    for start in range(0, len(rest_OI), size):
        rows, after = slice(start, start + size), slice(start + size, None)
        found.append(_Pass(rest_OI[rows], upper_II, form).run())
        lost_OI = rest_OI[rows] - found[-1].weight()
        lost_OI = torch.linalg.solve_triangular(upper_OO[rows, rows].T, lost_OI, upper=False)
        rest_OI[after] -= upper_OO[rows, after].T @ lost_OI
    return joined(found)


def _upper(gram_II: Tensor, damping: float) -> Tensor:
    """U (I, I) with U^T U = (H + damping)^-1, float32."""
    inverse_II = torch.cholesky_inverse(torch.linalg.cholesky(damped(gram_II.double(), damping)))
    return torch.linalg.cholesky(inverse_II, upper=True).float()


def damped(gram_II: Tensor, damping: float = DAMPING) -> Tensor:
    mean = gram_II.diagonal().mean()
    return gram_II + torch.eye(len(gram_II)).to(gram_II) * (damping * mean if mean > 0 else 1.0)


class _Pass:
    """One way through the columns of a matrix."""

    def __init__(self, weight_OI: Tensor, upper_II: Tensor, form: Form) -> None:
        self.rest_OI, self.upper_II, self.form = weight_OI.float().clone(), upper_II, form
        self.number_OI = torch.zeros_like(self.rest_OI)
        self.kept_OI = torch.ones_like(self.rest_OI, dtype=torch.bool)
        self.scales: list[Scales] = []

    def run(self) -> Matrix:
        inputs = self.rest_OI.shape[1]
        group = self.form.columns(inputs)
        # No block ends inside a group, whose scales are taken when all before it is done
        size = group if group < inputs and BLOCK % group else BLOCK
        for start in range(0, inputs, size):
            self._block(slice(start, min(start + size, inputs)), group)
        found = [None if part[0] is None else torch.cat(part, dim=1) for part in zip(*self.scales, strict=True)]
        return Matrix(self.form, self.number_OI, Scales(*found), self.kept_OI if self.form.format.sparse else None)

    def _block(self, block: slice, group: int) -> None:
        lost_OJ = torch.zeros_like(self.rest_OI[:, block])
        for column in range(block.start, block.stop):
            if self.form.format.sparse and column % FOUR == 0:
                four = slice(column, column + FOUR)
                self.kept_OI[:, four] = two_of_four((self.rest_OI[:, four] / self.upper_II.diagonal()[four]).square())
            if column % group == 0:
                self.scales.append(scales(self.rest_OI[:, column : column + group], self.form._replace(group=0)))
            lost_O1 = self._rounded(slice(column, column + 1)) / self.upper_II[column, column]
            after = slice(column + 1, block.stop)
            self.rest_OI[:, after] -= lost_O1 * self.upper_II[column, after]
            lost_OJ[:, column - block.start, None] = lost_O1
        self.rest_OI[:, block.stop :] -= lost_OJ @ self.upper_II[block, block.stop :]

    def _rounded(self, column: slice) -> Tensor:
        """Rounds one column; what it lost, (O, 1)."""
        number_O1 = numbers(self.rest_OI[:, column], self.form, self.scales[-1]) * self.kept_OI[:, column]
        self.number_OI[:, column] = number_O1
        scale_O1 = self.scales[-1].scale_OG
        return self.rest_OI[:, column] - (number_O1 if scale_O1 is None else number_O1 * scale_O1)
