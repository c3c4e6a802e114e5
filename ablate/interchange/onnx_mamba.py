"""Mamba-2 as operations of ONNX: `ssd.ssd` with a state that goes in and comes out, at any length.

A row is cut into chunks of T = min(chunk, L) tokens, which the graph works out from L as it runs, and filled up with
tokens that neither write nor decay. The state before the first token is the one that comes in.

Shapes: B rows, L tokens of a row, E channels of the convolution, W tokens that it sees, G groups of R heads, P width
of a head, N width of the state, C chunks, T tokens of a chunk, Z = C + 1 states: the one that comes in, and the one
that each chunk leaves behind.
"""

from typing import NamedTuple

import numpy as np

from ablate.interchange.onnx_graph import Graph
from ablate.interchange.onnx_parts import Reading, silu
from ablate.interchange.onnx_weights import Weights, normed
from ablate.model.mamba import Mamba2


class Triangle(NamedTuple):
    """1.0 where s < t, and where s <= t; else 0.0."""

    behind_TT: str
    upto_TT: str


class Chunks(NamedTuple):
    """How rows are cut, the same in all layers."""

    length: str  # of a row
    fill: str  # tokens before the first one, none, and behind the last
    tokens: str  # of a chunk
    inside: Triangle  # of the tokens of a chunk
    over: Triangle  # of the states Z


def chunks(graph: Graph, tokens_BL: str, chunk: int) -> Chunks:
    length = graph.op("Shape", tokens_BL, start=1, end=2)
    tokens = graph.op("Min", length, graph.ints(chunk))
    missing = graph.op("Mod", graph.op("Sub", tokens, graph.op("Mod", length, tokens)), tokens)
    fill = graph.op("Concat", graph.ints(0), missing, axis=0)
    states = graph.op("Add", graph.op("Div", graph.op("Add", length, missing), tokens), graph.ints(1))
    return Chunks(length, fill, tokens, _triangle(graph, tokens), _triangle(graph, states))


def _triangle(graph: Graph, size: str) -> Triangle:
    ones_TT = graph.op("Expand", graph.floats(1.0), graph.op("Concat", size, size, axis=0))
    behind_TT = graph.op("Trilu", ones_TT, graph.array(np.int64(-1)), upper=0)
    return Triangle(behind_TT, graph.op("Trilu", ones_TT, upper=0))


def mamba(graph: Graph, weights: Weights, layer: int, mixer: Mamba2, x_BLD: str, at: Reading, cut: Chunks) -> str:
    options, name = mixer.mamba, f"blocks.{layer}.mixer"
    inner, states, heads, groups = mixer.inner, mixer.states, mixer.heads, options.groups
    channels = inner + 2 * states
    wide = weights.product(f"{name}.in_proj", x_BLD)
    z, xbc, dt = graph.ops("Split", 3, wide, graph.ints(inner, channels, heads), axis=-1)
    xbc = silu(graph, _convolved(graph, layer, mixer, graph.op("Mul", xbc, at.counted_BL1), channels))
    x, b, c = graph.ops("Split", 3, xbc, graph.ints(inner, states, states), axis=-1)
    bias = graph.array(mixer.dt_bias.detach().numpy())
    dt_BLH = graph.op("Mul", graph.op("Softplus", graph.op("Add", dt, bias)), at.counted_BL1)
    x_BLHP = graph.op("Reshape", x, graph.ints(0, 0, heads, options.head_width))
    b, c = (graph.op("Reshape", one, graph.ints(0, 0, groups, options.state)) for one in (b, c))
    y_BLHP = _scanned(graph, layer, mixer, (x_BLHP, dt_BLH, b, c), cut)
    through = graph.op("Mul", x_BLHP, graph.array(mixer.D.detach().numpy()[:, None]))
    y_BLI = graph.op("Reshape", graph.op("Add", y_BLHP, through), graph.ints(0, 0, inner))
    gated = graph.op("Mul", y_BLI, silu(graph, z))
    gated_BLGI = graph.op("Reshape", gated, graph.ints(0, 0, groups, -1))
    y_BLI = graph.op("Reshape", normed(graph, gated_BLGI, mixer.norm.eps), graph.ints(0, 0, inner))
    y_BLI = graph.op("Mul", y_BLI, graph.array(mixer.norm.weight.detach().numpy()))
    return weights.product(f"{name}.out_proj", y_BLI)


def _convolved(graph: Graph, layer: int, mixer: Mamba2, x_BLE: str, channels: int) -> str:
    """Each channel's weighted sum over a token and the W - 1 before it; its last W inputs are kept, as elsewhere."""
    width, shape = mixer.mamba.conv, ["batch", channels, mixer.mamba.conv]
    past_BEW = graph.input(f"past_conv.{layer}", shape)
    seen_BLE = graph.op("Concat", graph.op("Transpose", past_BEW, perm=[0, 2, 1]), x_BLE, axis=1)
    last_BWE = graph.op("Slice", seen_BLE, graph.ints(-width), graph.ints(2**62), graph.ints(1))
    graph.output(f"present_conv.{layer}", graph.op("Transpose", last_BWE, perm=[0, 2, 1]), shape)
    weight_EW = mixer.conv1d.weight.detach().numpy()[:, 0]
    assert mixer.conv1d.bias is not None
    total = graph.array(mixer.conv1d.bias.detach().numpy())
    for token in range(width):
        ends = token + 1 - width or 2**62
        part = graph.op("Slice", seen_BLE, graph.ints(token + 1), graph.ints(ends), graph.ints(1))
        total = graph.op("Add", graph.op("Mul", part, graph.array(weight_EW[:, token])), total)
    return total


def _scanned(graph: Graph, layer: int, mixer: Mamba2, given: tuple[str, str, str, str], cut: Chunks) -> str:
    """y (B, L, H, P)."""
    x_BLHP, dt_BLH, b_BLGN, c_BLGN = given
    groups, state, width = mixer.mamba.groups, mixer.mamba.state, mixer.mamba.head_width
    repeats = mixer.heads // groups
    written_BLHP = graph.op("Mul", x_BLHP, graph.op("Unsqueeze", dt_BLH, graph.ints(3)))
    decay_BLH = graph.op("Mul", dt_BLH, graph.array(-mixer.A_log.detach().exp().numpy()))
    x_BCGRTP = _cut(graph, written_BLHP, cut, (groups, repeats, width), [0, 1, 3, 4, 2, 5])
    a_BCGRT1 = _cut(graph, decay_BLH, cut, (groups, repeats, 1), [0, 1, 3, 4, 2, 5])
    b_BCG1TN = _cut(graph, b_BLGN, cut, (groups, 1, state), [0, 1, 3, 4, 2, 5])
    c_BCG1TN = _cut(graph, c_BLGN, cut, (groups, 1, state), [0, 1, 3, 4, 2, 5])

    between_BCGRTT = _segments(graph, a_BCGRT1, cut.inside, 4)
    scores_BCG1TT = graph.op("MatMul", c_BCG1TN, _turned(graph, b_BCG1TN))
    y_BCGRTP = graph.op("MatMul", graph.op("Mul", scores_BCG1TT, between_BCGRTT), x_BCGRTP)

    to_end_BCGR1T = graph.op("Slice", between_BCGRTT, graph.ints(-1), graph.ints(2**62), graph.ints(4))
    kept_BCGRPT = graph.op("Mul", _turned(graph, x_BCGRTP), to_end_BCGR1T)
    left_BCGRPN = graph.op("MatMul", kept_BCGRPT, b_BCG1TN)
    before_BCGRPN = _carried(graph, layer, mixer, left_BCGRPN, a_BCGRT1, cut)
    read_BCGRTP = graph.op("MatMul", c_BCG1TN, _turned(graph, before_BCGRPN))
    from_start_BCGRT1 = graph.op("Exp", graph.op("CumSum", a_BCGRT1, graph.array(np.int64(4))))
    y_BCGRTP = graph.op("Add", y_BCGRTP, graph.op("Mul", read_BCGRTP, from_start_BCGRT1))
    y_BCTGRP = graph.op("Transpose", y_BCGRTP, perm=[0, 1, 4, 2, 3, 5])
    filled_BLHP = graph.op("Reshape", y_BCTGRP, graph.ints(0, -1, mixer.heads, width))
    return graph.op("Slice", filled_BLHP, graph.ints(0), cut.length, graph.ints(1))


def _carried(graph: Graph, layer: int, mixer: Mamba2, left_BCGRPN: str, a_BCGRT1: str, cut: Chunks) -> str:
    """The state before each chunk (B, C, G, R, P, N); the one behind the last goes out."""
    options, repeats = mixer.mamba, mixer.heads // mixer.mamba.groups
    shape = ["batch", mixer.heads, options.head_width, options.state]
    first_BHPN = graph.input(f"past_ssm.{layer}", shape)
    parts = (1, options.groups, repeats, options.head_width, options.state)
    first_B1GRPN = graph.op("Reshape", first_BHPN, graph.ints(0, *parts))
    states = graph.op("Concat", first_B1GRPN, left_BCGRPN, axis=1)
    states = graph.op("Transpose", states, perm=[0, 2, 3, 1, 4, 5])
    states_BGRZS = graph.op("Reshape", states, graph.ints(0, 0, 0, -1, options.head_width * options.state))

    sum_BCGR1 = graph.op("Squeeze", graph.op("ReduceSum", a_BCGRT1, graph.ints(4)), graph.ints(5))
    sum_BGRC1 = graph.op("Transpose", sum_BCGR1, perm=[0, 2, 3, 1, 4])
    sum_BGRZ1 = graph.op("Pad", sum_BGRC1, graph.ints(1, 0), "", graph.ints(3))  # the state that comes in
    states = graph.op("MatMul", _segments(graph, sum_BGRZ1, cut.over, 3), states_BGRZS)
    states = graph.op("Reshape", states, graph.ints(0, 0, 0, -1, options.head_width, options.state))
    states_BZGRPN = graph.op("Transpose", states, perm=[0, 3, 1, 2, 4, 5])
    end = graph.op("Slice", states_BZGRPN, graph.ints(-1), graph.ints(2**62), graph.ints(1))
    graph.output(f"present_ssm.{layer}", graph.op("Reshape", end, graph.ints(0, *shape[1:])), shape)  # pyrefly: ignore
    return graph.op("Slice", states_BZGRPN, graph.ints(0), graph.ints(-1), graph.ints(1))


def _segments(graph: Graph, a_T1: str, triangle: Triangle, axis: int) -> str:
    """(..., T, T): exp of the sum of a_r over s < r <= t, term by term, and 0 at s > t (`ssd.segment_sum`)."""
    terms = graph.op("CumSum", graph.op("Mul", a_T1, triangle.behind_TT), graph.array(np.int64(axis)))
    return graph.op("Mul", graph.op("Exp", terms), triangle.upto_TT)


def _cut(graph: Graph, y: str, cut: Chunks, shape: tuple[int, int, int], perm: list[int]) -> str:
    """(B, C, ...) from (B, L, ...): filled up, cut into chunks, and transposed."""
    filled = graph.op("Pad", y, cut.fill, "", graph.ints(1))
    to = graph.op("Concat", graph.ints(0, -1), cut.tokens, graph.ints(*shape), axis=0)
    return graph.op("Transpose", graph.op("Reshape", filled, to), perm=perm)


def _turned(graph: Graph, y: str) -> str:
    return graph.op("Transpose", y, perm=[0, 1, 2, 3, 5, 4])
