"""What a language model keeps of the tokens it has read, so that further tokens cost only themselves.

    cache = Cache(language, rows=2, length=100)            room for 100 tokens a row
    language(prompts_BL, cache, new_B=torch.tensor([7, 4]))    rows filled up on the right
    language(next_B1, cache)                               each token stands where its row ended
    cache.of_rows(torch.tensor([0, 0, 0, 1]))              the first row three times over, each to go on by itself

A mixer says what it keeps in `cached(x_BLD, state, at) -> y_BLD`, the same numbers as its `forward` over all tokens:
attention its keys and values, latent attention its latents, Mamba-2 two states of fixed size. For a mixer without
that, its inputs are kept, and it runs over all of them again.

Shapes: B rows, L new tokens of a row, T tokens of a row so far, D width.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ablate.model.linear import Rounded
from ablate.model.parts import turns

if TYPE_CHECKING:
    from ablate.model.language import LanguageModel

State = dict[str, Tensor]  # what a layer keeps, by name; rows are the first dimension


class Cache:
    """`read_B`, on the CPU, counts the tokens that each row has read."""

    def __init__(self, language: "LanguageModel", rows: int, length: int) -> None:
        self.read_B, self.length = torch.zeros(rows, dtype=torch.int64), length
        self.states: list[State] = [{} for _ in language.blocks]
        self.rounded: Rounded = {}  # weights stay while a cache is in use

    def of_rows(self, index: Tensor) -> "Cache":
        """A cache of those rows, in that order; a row may come several times. This one stays as it is."""
        chosen = object.__new__(Cache)
        chosen.read_B, chosen.length, chosen.rounded = self.read_B[index.cpu()], self.length, self.rounded
        chosen.states = [{name: kept[index.to(kept.device)] for name, kept in state.items()} for state in self.states]
        return chosen

    def reading(self, tokens_BL: Tensor, new_B: Tensor | None) -> "Reading":
        """Where these tokens stand, which from now on count as read. Raises ValueError if a row has no room."""
        rows, num_new = tokens_BL.shape
        assert rows == len(self.read_B)
        start_B = self.read_B
        self.read_B = start_B + (num_new if new_B is None else new_B.cpu())
        if (longest := int(self.read_B.max())) > self.length:
            raise ValueError(f"a row of {longest} tokens does not fit into a cache of {self.length}")
        return Reading(start_B, self.read_B, self.length, num_new, tokens_BL.device)


class Reading:
    """One call of a model with a cache: which tokens count, where they stand, and what they may see."""

    def __init__(self, start_B: Tensor, end_B: Tensor, length: int, num_new: int, device: torch.device) -> None:
        self.length, self.end = length, int(end_B.max())
        self.start = int(start_B.max())
        self.even = self.start == int(start_B.min())
        self.fresh = self.start == 0  # no row has read anything
        self.new_B, self.offset_L = (end_B - start_B).to(device), torch.arange(num_new, device=device)
        self.position_BL = start_B.to(device)[:, None] + self.offset_L
        self.counted_BL = self.offset_L < self.new_B[:, None]
        self._turns: dict[tuple[int, float], Tensor] = {}

    @cached_property
    def seen_BLT(self) -> Tensor:
        """Which kept tokens each new one may see: those before it, and itself."""
        return torch.arange(self.end, device=self.position_BL.device) <= self.position_BL[..., None]

    @cached_property
    def slot_BL(self) -> Tensor:
        """Where each token is kept: at its position, or at the end of all room if it does not count."""
        return self.position_BL.where(self.counted_BL, self.length)

    def turns(self, width: int, theta: float) -> Tensor:
        """For `Rotary`, (B, L, width / 2, 2); all layers share it."""
        if (width, theta) not in self._turns:
            self._turns[width, theta] = turns(self.position_BL, width, theta)
        return self._turns[width, theta]

    def kept(self, state: State, name: str, new: Tensor) -> Tensor:
        """(B, ..., T, K): all that was kept under that name so far, with `new` (B, ..., L, K), which is kept too.

        What lies behind the end of a shorter row means nothing.
        """
        if name not in state:
            state[name] = new.new_zeros(*new.shape[:-2], self.length + 1, new.shape[-1])
        if self.even and self.start + new.shape[-2] <= self.length:
            state[name][..., self.start : self.start + new.shape[-2], :] = new
        else:
            slots = self.slot_BL.view(len(new), *(1 for _ in new.shape[1:-2]), -1, 1)
            state[name].scatter_(-2, slots.expand_as(new), new)
        return new if self.fresh else state[name][..., : self.end, :]

    def last(self, x_BLE: Tensor, count: int) -> Tensor:
        """The last `count` entries of each row that count, of `count` earlier ones with the new ones behind them."""
        index_BK = self.new_B[:, None] + torch.arange(count, device=x_BLE.device)
        return x_BLE.gather(1, index_BK[..., None].expand(-1, -1, x_BLE.shape[2]))


def mixed(mixer: Any, x_BLD: Tensor, state: State, at: Reading) -> Tensor:
    """What the mixer makes of new tokens, given what it keeps."""
    if hasattr(mixer, "cached"):
        return mixer.cached(x_BLD, state, at)
    y_BTD = mixer(at.kept(state, "inputs", x_BLD))
    index_BL = at.position_BL.clamp(max=y_BTD.shape[1] - 1)
    return y_BTD.gather(1, index_BL[..., None].expand(-1, -1, y_BTD.shape[2]))
