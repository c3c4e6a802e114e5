"""Compiled by block: the same model, one graph for each kind of block and length of rows, and none that evaluates."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd

from ablate.data.windows import IGNORED
from ablate.model.language import LanguageModel, build
from ablate.run.settings import Mamba, Model, Size
from ablate.scores import loss

SIZE, MAMBA = Size(width=32, depth=3, heads=2, kv_heads=1, hidden=32), Mamba(state=8, head_width=16, chunk=16)


class Graphs:
    """A compiler that leaves graphs as they are, and remembers the shapes that they were made for."""

    def __init__(self) -> None:
        self.made: list[list[Any]] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        self.made.append([size for one in inputs if isinstance(one, Tensor) for size in one.shape])
        boxed = lambda graph, _: make_boxed_func(graph.forward)  # noqa: E731
        return aot_autograd(fw_compiler=boxed, bw_compiler=boxed)(graph, inputs)


@pytest.fixture
def graphs() -> Graphs:
    torch._dynamo.reset()
    return Graphs()


def tokens(length: int) -> Tensor:
    return torch.randint(64, (2, length), generator=torch.Generator().manual_seed(length))


def gradients(model: LanguageModel, tokens_BL: Tensor) -> list[Tensor]:
    y_BLD = model(tokens_BL)
    return [y_BLD, *torch.autograd.grad(y_BLD.sin().sum(), tuple(model.parameters()))]


def off(ours: Tensor, its: Tensor) -> float:
    """The largest difference, relative to the largest number."""
    return float((ours - its).abs().max() / its.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "kinds"), [("A", 1), ("L", 1), ("MMA", 2)])
def test_a_growing_row_makes_one_graph_a_length_and_kind_of_block(graphs, pattern, kinds):
    plain = build(made := Model(pattern=pattern, mamba=MAMBA), SIZE, 64, seed=0)
    model = build(made, SIZE, 64, seed=0)
    model.compile_blocks(backend=graphs, fullgraph=True)
    for number, length in enumerate([16, 32, 64], start=1):
        for ours, its in zip(gradients(model, tokens(length)), gradients(plain, tokens(length)), strict=True):
            assert off(ours, its) < 1e-5
        assert len(graphs.made) == number * kinds
        gradients(model, tokens(length))
        model.eval()
        with torch.no_grad():
            assert torch.equal(model(tokens(48)), plain(tokens(48)))  # an evaluation of its own length
        model.train()
        assert len(graphs.made) == number * kinds


@pytest.mark.slow
def test_blocks_that_are_recomputed_are_compiled_too(graphs):
    plain, model = (build(Model(), SIZE, 64, seed=0) for _ in range(2))
    model.recompute = True
    model.compile_blocks(backend=graphs, fullgraph=True)
    for ours, its in zip(gradients(model, tokens(32)), gradients(plain, tokens(32)), strict=True):
        assert off(ours, its) < 1e-5
    assert len(graphs.made) == 1


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
def test_the_fused_loss_is_the_loss(monkeypatch, graphs, compiled):
    """Of logits in several chunks, the last of them smaller: nats of every target and all gradients."""
    monkeypatch.setattr(loss, "LEAST_ROWS", 16)
    monkeypatch.setitem(loss.CHUNK_LOGITS, "cpu", 1)
    fused = torch.compile(loss.plain_of_logits, backend=graphs, dynamic=False) if compiled else loss.plain_of_logits
    monkeypatch.setattr(loss, "_compiled", lambda: fused)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 20, 8, generator=generator).requires_grad_()
    head = torch.randn(50, 8, generator=generator).requires_grad_()
    targets = torch.randint(50, (2, 20), generator=generator).masked_fill(torch.arange(20) % 5 == 0, IGNORED)
    domain_B, bytes_V = torch.zeros(2, dtype=torch.long), torch.ones(50)
    found = []
    for way in (True, False):
        sums = loss.loss_sums(hidden, head, targets, domain_B, bytes_V, 1, fused=way)
        found.append([*sums, *torch.autograd.grad(sums.total * 0.3, (hidden, head))])
    for ours, its in zip(*found, strict=True):
        assert off(ours, its) < 1e-5
    assert len(graphs.made) == 2 * compiled  # a whole chunk and the last
