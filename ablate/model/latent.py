"""Multi-head latent attention with a decoupled rotary key: the mixer `L` (DeepSeek-V2, arXiv:2405.04434).

Keys and values of all heads are made from one short latent per token, and that latent is all that
is kept at inference. A rotation between latent and key would depend on the position, and the two
products around it could not be merged into one; so positions get a short key of their own, which
all heads share:

    x ── kv_down ── norm ── c ── kv_up ──┬── content key of each head  K ┐
    │                                    └── value of each head        K │  key of a head: [ K | P ]
    ├── k_rope ── rotary ── one key for all heads                      P ┘
    └── q  (or q_down ── norm ── q_up) ── query of each head [ K | P ], the last P of it rotated

Cache per token: C + P values, against 2 G K for attention with G key-value heads.

Shapes: B rows, L tokens of a row, D width, H heads, K = D / H width of a head's content key and of
its value, P width of the rotary key, C rank of the latent, R = C + P, T tokens kept.
"""

import math

import torch
from torch import Tensor, nn

from ablate.model.attention import cached_attention, causal_attention, kernel
from ablate.model.cache import Reading, State
from ablate.model.linear import LINEARS
from ablate.model.parts import CACHE_BYTES, RMSNorm, Rotary
from ablate.run.settings import Model, Size

# Of the norms of the latents, whatever `model.norm_eps`: theirs in DeepSeek's code and in transformers.
LATENT_EPS = 1e-6


class LatentAttention(nn.Module):
    """`size.kv_heads` does not count here: every head has a key and a value of its own."""

    def __init__(self, model: Model, size: Size) -> None:
        super().__init__()
        linear, latent = LINEARS[model.linear], model.latent
        self.heads, self.width = size.heads, size.width // size.heads
        self.kv_rank, self.q_rank, self.rope_width = latent.kv_rank, latent.q_rank, latent.rope_width
        self.rotary = Rotary(model.rope_theta)
        queries = self.heads * (self.width + self.rope_width)
        if self.q_rank:
            self.q_down = linear(size.width, self.q_rank)
            self.q_norm = RMSNorm(self.q_rank, LATENT_EPS)
            self.q_up = linear(self.q_rank, queries)
        else:
            self.q = linear(size.width, queries)
        self.kv_down = linear(size.width, self.kv_rank)
        self.kv_norm = RMSNorm(self.kv_rank, LATENT_EPS)
        self.kv_up = linear(self.kv_rank, self.heads * 2 * self.width)
        self.k_rope = linear(size.width, self.rope_width)
        self.out = linear(self.heads * self.width, size.width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        k_BLHK, v_BLHK = self._content(self._latent(x_BLD))
        y_BHLK = causal_attention(
            self._queries(x_BLD).transpose(1, 2),
            torch.cat((k_BLHK, self._shared_key(x_BLD)), dim=-1).transpose(1, 2),
            v_BLHK.transpose(1, 2),
        )
        return self.out(y_BHLK.transpose(1, 2).flatten(2))

    def cached(self, x_BLD: Tensor, state: State, at: Reading) -> Tensor:
        """Kept are the inputs of `kv_up` and the rotary keys: one head of keys, and in it of values, for all queries.

        `kv_up` is merged into the queries and into what comes out, so nothing kept is ever written out.
        """
        turn_BLP2, ranks = at.turns(self.rope_width, self.rotary.theta), self.kv_rank + self.rope_width
        latent_BLC, up_OC = self.kv_up.factors(self._latent(x_BLD))
        new_BLR = torch.cat((latent_BLC, self._rope_key(x_BLD, turn_BLP2)[:, :, 0].to(latent_BLC.dtype)), dim=-1)
        kept_B1TR = at.kept(state, "latent", new_BLR)[:, None]
        if at.fresh:
            return self(x_BLD)
        k_up_HKC, v_up_HKC = up_OC.unflatten(0, (self.heads, 2, self.width)).unbind(1)
        content_BHLK, rope_BHLP = (
            self._queries(x_BLD, turn_BLP2).transpose(1, 2).split((self.width, self.rope_width), dim=-1)
        )
        q_BHLR = torch.cat((content_BHLK @ k_up_HKC, rope_BHLP), dim=-1)
        q_BHLR = q_BHLR * math.sqrt(ranks / (self.width + self.rope_width))  # attention divides by the root of R
        y_BHLC = cached_attention(q_BHLR, kept_B1TR, kept_B1TR[..., : self.kv_rank], at)
        return self.out((y_BHLC @ v_up_HKC.mT).transpose(1, 2).flatten(2))

    def _queries(self, x_BLD: Tensor, turn_BLP2: Tensor | None = None) -> Tensor:
        """(B, L, H, K + P), the last P rotated."""
        q = self.q_up(self.q_norm(self.q_down(x_BLD))) if self.q_rank else self.q(x_BLD)
        content_BLHK, rope_BLHP = q.unflatten(-1, (self.heads, -1)).split((self.width, self.rope_width), dim=-1)
        return torch.cat((content_BLHK, self.rotary(rope_BLHP, turn_BLP2)), dim=-1)

    def _latent(self, x_BLD: Tensor) -> Tensor:
        return self.kv_norm(self.kv_down(x_BLD))

    def _content(self, latent_BLC: Tensor) -> tuple[Tensor, ...]:
        """Keys and values made from the latent, each (B, L, H, K); they know no position."""
        return self.kv_up(latent_BLC).unflatten(-1, (self.heads, -1)).split(self.width, dim=-1)

    def _shared_key(self, x_BLD: Tensor) -> Tensor:
        """(B, L, H, P): the rotary key, one and the same for all heads."""
        return self._rope_key(x_BLD).expand(-1, -1, self.heads, -1)

    def _rope_key(self, x_BLD: Tensor, turn_BLP2: Tensor | None = None) -> Tensor:
        return self.rotary(self.k_rope(x_BLD)[:, :, None], turn_BLP2)

    def flops(self, length: int) -> int:
        """Forward FLOPs per token as in training, where keys and values are written out; all L x L pairs count."""
        queries = (self.q_down, self.q_up) if self.q_rank else (self.q,)
        matrices = sum(matrix.flops() for matrix in (*queries, self.kv_down, self.kv_up, self.k_rope, self.out))
        scores, sums = 2 * self.heads * (self.width + self.rope_width) * length, 2 * self.heads * self.width * length
        return matrices + scores + sums

    def kernel(self, device: torch.device, length: int) -> str:
        return kernel(device, length)

    def state_bytes(self, length: int) -> int:
        """Bytes of the cache of latents and rotary keys that one sequence of `length` tokens needs at inference."""
        return (self.kv_rank + self.rope_width) * length * CACHE_BYTES
