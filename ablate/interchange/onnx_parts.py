"""The parts of a block as operations of ONNX, each the same arithmetic as its module in `ablate.model`.

Shapes: B rows, L new tokens of a row, S tokens of a row with those before, D width, H heads of queries, G of keys
and values, R = H / G, K width of a head, P width of a rotary key.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ablate.interchange.onnx_graph import Graph
from ablate.interchange.onnx_weights import Weights, normed
from ablate.model.attention import Attention
from ablate.model.latent import LatentAttention
from ablate.model.parts import RMSNorm, SquaredReLU, SwiGLU

LOWEST = float(np.finfo(np.float32).min)  # finite: a token that is filled up sees nothing, and must not become NaN


class Reading(NamedTuple):
    """What all layers share: which tokens count, where they stand, what they see."""

    counted_BL1: str
    position_BL: str
    mask_B1LS: str
    turns: dict[tuple[int, float], tuple[str, str]]


def reading(graph: Graph, tokens_BL: str, counted_BS: str) -> Reading:
    """Of tokens behind S - L others; those that do not count, wherever they are, are seen by none."""
    length = graph.op("Shape", tokens_BL, start=1, end=2)
    last = graph.op("Neg", length)
    ends = graph.ints(2**62)

    def new(value: str, axis: int) -> str:
        return graph.op("Slice", value, last, ends, graph.ints(axis))

    counted_BL = new(counted_BS, 1)
    place_BS = graph.op("Sub", graph.op("CumSum", counted_BS, graph.array(np.int64(1))), graph.array(np.int64(1)))
    position_BL = graph.op("Max", new(place_BS, 1), graph.array(np.int64(0)))
    total = graph.op("Squeeze", graph.op("Shape", counted_BS, start=1, end=2))
    index_S = graph.op("Range", graph.array(np.int64(0)), total, graph.array(np.int64(1)))
    before_LS = graph.op("LessOrEqual", index_S, graph.op("Unsqueeze", new(index_S, 0), graph.ints(1)))
    there_B11S = graph.op("Unsqueeze", graph.op("Cast", counted_BS, to=BOOL), graph.ints(1, 2))
    seen_B1LS = graph.op("And", there_B11S, before_LS)
    mask_B1LS = graph.op("Where", seen_B1LS, graph.floats(0.0), graph.floats(LOWEST))
    counted_BL1 = graph.op("Unsqueeze", graph.op("Cast", counted_BL, to=FLOAT), graph.ints(2))
    return Reading(counted_BL1, position_BL, mask_B1LS, {})


BOOL, FLOAT = 9, 1  # of onnx.TensorProto


def norm(graph: Graph, x: str, module: nn.Module, rows: np.ndarray | None = None) -> str:
    """RMSNorm over the last dimension; `rows` reorders its weights. A block of ternary matrices has none in front."""
    if isinstance(module, nn.Identity):
        return x
    assert isinstance(module, (RMSNorm, nn.RMSNorm))
    weight_D = module.weight.detach().numpy()[slice(None) if rows is None else rows]
    return graph.op("Mul", normed(graph, x, module.eps or 0.0), graph.array(weight_D))


def silu(graph: Graph, x: str) -> str:
    return graph.op("Mul", x, graph.op("Sigmoid", x))


def feed(graph: Graph, weights: Weights, name: str, module: nn.Module, x: str) -> str:
    if isinstance(module, SwiGLU):
        gate, up = graph.ops("Split", 2, weights.product(f"{name}.gate_up", x), axis=-1, num_outputs=2)
        return weights.product(f"{name}.down", graph.op("Mul", silu(graph, gate), up))
    assert isinstance(module, SquaredReLU)
    positive = graph.op("Relu", weights.product(f"{name}.up", x))
    return weights.product(f"{name}.down", graph.op("Mul", positive, positive))


def halves(width: int) -> np.ndarray:
    """The pairs (0, 1), (2, 3), ... of `parts.Rotary` as 0, 2, ... and 1, 3, ...: two halves are turned at once."""
    return np.arange(width).reshape(-1, 2).T.reshape(-1)


def turned(graph: Graph, x_BHLK: str, at: Reading, width: int, theta: float) -> str:
    """Rotated, of heads whose rows are as `halves` says: [a | b] becomes [a cos - b sin | b cos + a sin]."""
    cos, sin = _turns(graph, at, width, theta)
    a, b = graph.ops("Split", 2, x_BHLK, axis=-1, num_outputs=2)
    across = graph.op("Mul", graph.op("Concat", b, a, axis=-1), sin)
    return graph.op("Add", graph.op("Mul", x_BHLK, cos), across)


def _turns(graph: Graph, at: Reading, width: int, theta: float) -> tuple[str, str]:
    """[cos | cos] and [-sin | sin], each (B, 1, L, K), of the angles of `parts.turns`; all layers share them."""
    if (width, theta) not in at.turns:
        frequency_K = 1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
        place_B1L1 = graph.op("Unsqueeze", graph.op("Cast", at.position_BL, to=FLOAT), graph.ints(1, 3))
        angle = graph.op("Mul", place_B1L1, graph.array(frequency_K.numpy()))
        cos, sin = graph.op("Cos", angle), graph.op("Sin", angle)
        both = graph.op("Concat", cos, cos, axis=-1), graph.op("Concat", graph.op("Neg", sin), sin, axis=-1)
        at.turns[width, theta] = both
    return at.turns[width, theta]


def attention(graph: Graph, weights: Weights, layer: int, mixer: Attention, x_BLD: str, at: Reading) -> str:
    name, heads, groups, width = f"blocks.{layer}.mixer", mixer.heads, mixer.kv_heads, mixer.width
    order = np.arange((heads + 2 * groups) * width).reshape(-1, width)
    order[: heads + groups] = order[: heads + groups, halves(width)]
    qkv_BHLK = _by_head(graph, weights.product(f"{name}.qkv", x_BLD, order.reshape(-1)), heads + 2 * groups)
    qk_BHLK, v_BGLK = graph.ops("Split", 2, qkv_BHLK, graph.ints(heads + groups, groups), axis=1)
    if mixer.q_norm is not None and mixer.k_norm is not None:
        q, k = graph.ops("Split", 2, qk_BHLK, graph.ints(heads, groups), axis=1)
        q, k = norm(graph, q, mixer.q_norm, halves(width)), norm(graph, k, mixer.k_norm, halves(width))
        qk_BHLK = graph.op("Concat", q, k, axis=1)
    qk_BHLK = turned(graph, qk_BHLK, at, width, mixer.rotary.theta)
    q_BHLK, k_BGLK = graph.ops("Split", 2, qk_BHLK, graph.ints(heads, groups), axis=1)
    y_BLO = attended(graph, layer, (q_BHLK, k_BGLK, v_BGLK), (heads, groups, width, width), at)
    return weights.product(f"{name}.out", y_BLO)


def latent(graph: Graph, weights: Weights, layer: int, mixer: LatentAttention, x_BLD: str, at: Reading) -> str:
    """Kept are keys and values written out, as transformers keeps them, not the latents."""
    name, heads, width, rope = f"blocks.{layer}.mixer", mixer.heads, mixer.width, mixer.rope_width
    order = np.arange(heads * (width + rope)).reshape(heads, -1)
    order[:, width:] = order[:, width:][:, halves(rope)]
    if mixer.q_rank:
        x = norm(graph, weights.product(f"{name}.q_down", x_BLD), mixer.q_norm)
        q = weights.product(f"{name}.q_up", x, order.reshape(-1))
    else:
        q = weights.product(f"{name}.q", x_BLD, order.reshape(-1))
    content, rotary = graph.ops("Split", 2, _by_head(graph, q, heads), graph.ints(width, rope), axis=-1)
    q_BHLK = graph.op("Concat", content, turned(graph, rotary, at, rope, mixer.rotary.theta), axis=-1)
    kept = norm(graph, weights.product(f"{name}.kv_down", x_BLD), mixer.kv_norm)
    kv_BHLK = _by_head(graph, weights.product(f"{name}.kv_up", kept), heads)
    content, v_BHLK = graph.ops("Split", 2, kv_BHLK, axis=-1, num_outputs=2)
    shared = graph.op("Unsqueeze", weights.product(f"{name}.k_rope", x_BLD, halves(rope)), graph.ints(1))
    shared_BHLP = graph.op("Tile", turned(graph, shared, at, rope, mixer.rotary.theta), graph.ints(1, heads, 1, 1))
    k_BHLK = graph.op("Concat", content, shared_BHLP, axis=-1)
    y_BLO = attended(graph, layer, (q_BHLK, k_BHLK, v_BHLK), (heads, heads, width + rope, width), at)
    return weights.product(f"{name}.out", y_BLO)


def _by_head(graph: Graph, x_BLO: str, heads: int) -> str:
    return graph.op("Transpose", graph.op("Reshape", x_BLO, graph.ints(0, 0, heads, -1)), perm=[0, 2, 1, 3])


def attended(graph: Graph, layer: int, qkv: tuple[str, str, str], shape: tuple[int, int, int, int], at: Reading) -> str:
    """(B, L, H x K): attention over all tokens so far, whose keys and values go in and out.

    `shape`: heads of queries, of keys and values; width of a key, of a value.
    """
    (q_BHLK, k_BGLK, v_BGLK), (heads, groups, key, value) = qkv, shape
    k_BGSK = _kept(graph, f"{layer}.key", k_BGLK, ["batch", groups, "past", key])
    v_BGSK = _kept(graph, f"{layer}.value", v_BGLK, ["batch", groups, "past", value])
    q_BHLK, keys = graph.op("Mul", q_BHLK, graph.floats(key**-0.5)), graph.op("Transpose", k_BGSK, perm=[0, 1, 3, 2])
    if heads == groups:
        p_BHLS = graph.op("Softmax", graph.op("Add", graph.op("MatMul", q_BHLK, keys), at.mask_B1LS), axis=-1)
        y_BHLK = graph.op("MatMul", p_BHLS, v_BGSK)
    else:  # the queries of a group are laid end to end, so that each product covers all of them
        scores_BGMS = graph.op("MatMul", graph.op("Reshape", q_BHLK, graph.ints(0, groups, -1, key)), keys)
        by_head = graph.op("Concat", graph.ints(0, heads, -1), graph.op("Shape", k_BGSK, start=2, end=3), axis=0)
        scores_BHLS = graph.op("Add", graph.op("Reshape", scores_BGMS, by_head), at.mask_B1LS)
        p_BGMS = graph.op("Reshape", graph.op("Softmax", scores_BHLS, axis=-1), graph.op("Shape", scores_BGMS))
        y_BHLK = graph.op("Reshape", graph.op("MatMul", p_BGMS, v_BGSK), graph.ints(0, heads, -1, value))
    return graph.op("Reshape", graph.op("Transpose", y_BHLK, perm=[0, 2, 1, 3]), graph.ints(0, 0, heads * value))


def _kept(graph: Graph, name: str, new: str, shape: list[str | int]) -> str:
    """All that was kept under that name, with the new behind it."""
    kept = graph.op("Concat", graph.input(f"past_key_values.{name}", shape), new, axis=2)
    graph.output(f"present.{name}", kept, [*shape[:2], "total", shape[3]])
    return kept
