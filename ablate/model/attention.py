"""Causal attention with grouped queries and rotary positions: the mixer `A`.

Queries, keys and values come from one matrix product, in this order along the rows of `qkv`:

    [ H heads of queries | G heads of keys | G heads of values ]      each of width K = D / H

Each of the G key-value heads serves H / G queries (GQA, arXiv:2305.13245): fewer bytes of cache
per token at nearly the loss of full attention.

Shapes: B rows, L tokens of a row, D width, H query heads, G key-value heads, K width of a head.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ablate.model.linear import LINEARS
from ablate.model.parts import rotary
from ablate.settings import Model, Size


class Attention(nn.Module):
    def __init__(self, model: Model, size: Size) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = size.heads, size.kv_heads, size.width // size.heads
        self.theta = model.rope_theta
        self.qkv = LINEARS["dense"](size.width, (self.heads + 2 * self.kv_heads) * self.width)
        self.out = LINEARS["dense"](self.heads * self.width, size.width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        qkv_BLHK = self.qkv(x_BLD).unflatten(-1, (-1, self.width))
        qk_BLHK, v_BLGK = qkv_BLHK.split((self.heads + self.kv_heads, self.kv_heads), dim=2)
        q_BLHK, k_BLGK = rotary(qk_BLHK, self.theta).split((self.heads, self.kv_heads), dim=2)
        y_BHLK = F.scaled_dot_product_attention(
            q_BLHK.transpose(1, 2),
            k_BLGK.transpose(1, 2),
            v_BLGK.transpose(1, 2),
            is_causal=True,
            enable_gqa=self.heads != self.kv_heads,
        )
        return self.out(y_BHLK.transpose(1, 2).flatten(2))

    def flops(self, length: int) -> int:
        """Forward FLOPs per token. Scores count in full (L, not L / 2), as in PaLM and torch's counter."""
        scores_and_sums = 4 * self.heads * self.width * length
        return self.qkv.flops() + self.out.flops() + scores_and_sums

    def state_bytes(self, length: int, bytes_per_value: int = 2) -> int:
        """Bytes of the key-value cache that one sequence of `length` tokens needs at inference."""
        return 2 * self.kv_heads * self.width * length * bytes_per_value
