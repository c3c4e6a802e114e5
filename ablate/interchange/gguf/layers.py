"""The parts of a layer of a GGUF, by their names there, without `blk.N.` before and `.weight` behind.

A GGUF matrix is some rows of one of ours, in an order: that is all that `Rows` says, so numbers of few bits go through
as they are. What must be computed is a function of the block.

Shapes: H heads, K width of a head.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ablate.model.families.common import State, halves_from_pairs
from ablate.run.settings import Model, Size


class Rows(NamedTuple):
    """Rows of the parameter of a block, or of all of the model's, in the order of the file; None: as they are."""

    name: str
    order: Tensor | None = None


Made = Callable[[State], Tensor]  # of the parameters of a block
Layout = dict[str, Rows | Made]


def norms() -> Layout:
    return {"attn_norm": Rows("mixer_norm"), "ffn_norm": Rows("feed_norm")}


def gated(size: Size) -> Layout:
    gate, up = torch.arange(2 * size.hidden).chunk(2)
    return {
        "ffn_gate": Rows("feed.gate_up", gate),
        "ffn_up": Rows("feed.gate_up", up),
        "ffn_down": Rows("feed.down"),
    }


def attention(size: Size, halves: bool) -> Layout:
    width = size.width // size.heads
    count = (size.heads, size.kv_heads, size.kv_heads)
    q, k, v = torch.arange(sum(count) * width).split([heads * width for heads in count])
    if halves:
        q, k = rotary_order(q, size.heads), rotary_order(k, size.kv_heads)
    return {
        "attn_q": Rows("mixer.qkv", q),
        "attn_k": Rows("mixer.qkv", k),
        "attn_v": Rows("mixer.qkv", v),
        "attn_output": Rows("mixer.out"),
    }


def rotary_order(row_N: Tensor, heads: int) -> Tensor:
    return halves_from_pairs(row_N.view(heads, -1, 1)).flatten()


def mamba2(model: Model) -> Layout:
    groups = model.mamba.groups
    return {
        "ssm_in": Rows("mixer.in_proj"),
        "ssm_conv1d": lambda b: b["mixer.conv1d.weight"].squeeze(1),
        "ssm_conv1d.bias": lambda b: b["mixer.conv1d.bias"],
        "ssm_dt.bias": lambda b: b["mixer.dt_bias"],
        "ssm_a": lambda b: -b["mixer.A_log"].exp()[:, None],
        "ssm_d": lambda b: b["mixer.D"][:, None],
        "ssm_norm": lambda b: b["mixer.norm.weight"].unflatten(0, (groups, -1)),
        "ssm_out": Rows("mixer.out_proj"),
    }
