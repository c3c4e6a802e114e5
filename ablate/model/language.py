"""The language model: tokens to hidden states, a stack of blocks described by a pattern of letters.

`Model.pattern` is repeated over depth, one letter a layer, so a hybrid is one short string:

    pattern "A",  depth 4:   A A A A
    pattern "MMA", depth 6:  M M A M M A

`model.mixers` says what a mixer is and which there are.

Rows know nothing of one another. Inside a row they are one text: where a document ends and the next one
begins there is an end token and nothing else, so attention looks back and a state remembers across it,
in every mixer alike. `Mamba2.forward` can be told of borders (`seq_idx`); no batch tells it, because the
attention beside it could not keep to them.

`forward` ends with hidden states, not logits: the loss multiplies them by `head_weight` piece by
piece and never holds all logits (`scores.loss`).

Shapes: B rows, L tokens of a row, D width, V vocabulary.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts, noop_context_fn

from ablate.model.cache import Cache, Reading, State, mixed
from ablate.model.linear import HAS_ONEDNN, LINEARS, Dense, Quantised, rounded_once
from ablate.model.mixers import mixer
from ablate.model.parts import FEEDS, RMSNorm
from ablate.run.settings import Model, Size

VALUE = "value.weight"  # the one parameter that only a model of rewards has
MOST_GRAPHS = 64  # kinds of block times shapes of rows, of a run that grows its rows
# The matrices that write to the residual stream: the last one of each mixer and feed-forward.
RESIDUAL = ("mixer.out.weight", "mixer.out_proj.weight", "feed.down.weight")


class Block(nn.Module):
    """`x + mixer(norm(x))`, then `x + feed(norm(x))`; ternary matrices bring their own norms, which replace these."""

    def __init__(self, letter: str, model: Model, size: Size) -> None:
        super().__init__()
        self.mixer_norm = _norm(model, size)
        self.mixer = mixer(letter, model, size)
        self.feed_norm = _norm(model, size)
        self.feed = FEEDS[model.feed](size.width, size.hidden, model.linear)
        self.compiled: Callable[[Tensor], Tensor] | None = None  # `work`, for training

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.compiled(x_BLD) if self.compiled and self.training else self.work(x_BLD)

    def work(self, x_BLD: Tensor) -> Tensor:
        x_BLD = x_BLD + self.mixer(self.mixer_norm(x_BLD))
        return x_BLD + self.feed(self.feed_norm(x_BLD))

    def cached(self, x_BLD: Tensor, state: State, at: Reading) -> Tensor:
        x_BLD = x_BLD + mixed(self.mixer, self.mixer_norm(x_BLD), state, at)
        return x_BLD + self.feed(self.feed_norm(x_BLD))

    def flops(self, length: int) -> int:
        return self.mixer.flops(length) + self.feed.flops()

    def state_bytes(self, length: int) -> int:
        return self.mixer.state_bytes(length)


def _norm(model: Model, size: Size) -> nn.Module:
    return nn.Identity() if model.linear == "ternary" else RMSNorm(size.width, model.norm_eps)


class LanguageModel(nn.Module):
    """Parameters are not drawn here: `initialise` does that, or `build` all at once.

    `size` has widths as they are built: for a run, those of `match.sized`. With `recompute` only the
    input of each block is kept for the backward pass, which runs the block once more: less memory
    for a third more work, and the same numbers, since nothing in a block is random.
    """

    def __init__(self, model: Model, size: Size, vocabulary: int, valued: bool = False) -> None:
        super().__init__()
        assert size.match == "none", "the declared size is not the one to build: see match.sized"
        # torch would draw the weights here, and to do that on no device load its compiler, which takes seconds
        self.embedding = nn.Embedding(vocabulary, size.width, _weight=torch.empty(vocabulary, size.width))
        self.blocks = nn.ModuleList(Block(letter, model, size) for letter in letters(model.pattern, size.depth))
        self.norm = RMSNorm(size.width, model.norm_eps)
        self.head = None if model.tied else LINEARS["dense"](size.width, vocabulary)
        # What a response is worth, of its last hidden state; of the objective reward
        self.value = nn.Linear(size.width, 1, bias=False) if valued else None
        self.model, self.size = model, size
        self.recompute: bool | str = False  # where.recompute
        self.narrow = False  # of precision=bf16: what blocks hand on is bfloat16, as are their products under autocast

    @property
    def head_weight(self) -> Tensor:
        """(V, D): the rows that hidden states are compared with; the embedding itself when tied."""
        return self.embedding.weight if self.head is None else self.head.weight

    @property
    def _stack(self) -> list[Block]:
        return cast(list[Block], list(self.blocks))

    def forward(self, tokens_BL: Tensor, cache: Cache | None = None, new_B: Tensor | None = None) -> Tensor:
        """Hidden states x_BLD after the last norm; with a cache, of tokens that follow those read into it.

        `new_B` says how many tokens of each row count, where rows are filled up on the right.
        """
        if cache is not None:
            return self._cached(tokens_BL, cache, new_B)
        x_BLD = self._embedded(tokens_BL)
        for block in self.blocks:
            x_BLD = _recomputed(block, x_BLD, self.recompute) if self.recompute else block(x_BLD)
        return self.norm(x_BLD)

    def compile_blocks(self, **options: Any) -> None:
        """Blocks of one kind share a graph for each shape of rows. What evaluates or writes text is not compiled.

        A block's own work is compiled, so whatever hangs on blocks (shards, recomputation) stays outside its graph.
        """
        torch._dynamo.config.recompile_limit = MOST_GRAPHS  # pyrefly: ignore
        for block in self._stack:
            block.compiled = torch.compile(block.work, dynamic=False, **options)

    def _embedded(self, tokens_BL: Tensor) -> Tensor:
        x_BLD = self.embedding(tokens_BL)
        return x_BLD.bfloat16() if self.narrow else x_BLD

    @torch.no_grad()
    def _cached(self, tokens_BL: Tensor, cache: Cache, new_B: Tensor | None) -> Tensor:
        x_BLD, at = self._embedded(tokens_BL), cache.reading(tokens_BL, new_B)
        with rounded_once(cache.rounded):
            for block, state in zip(self._stack, cache.states, strict=True):
                x_BLD = block.cached(x_BLD, state, at)
        return self.norm(x_BLD)

    def logits(self, tokens_BL: Tensor) -> Tensor:
        """All logits (B, L, V): for tests and samples; training uses `scores.loss` instead."""
        return nn.functional.linear(self(tokens_BL), self.head_weight)

    def flops(self, length: int) -> int:
        """Forward FLOPs per token in rows of `length`: matrices and attention; looking up a token is free."""
        vocabulary, width = self.head_weight.shape
        return sum(block.flops(length) for block in self._stack) + 2 * vocabulary * width

    def kernels(self, device: torch.device, length: int) -> dict[str, str]:
        """Letter -> name of what does the work of that mixer, in rows of `length` and not compiled: for the record."""
        pairs = zip(letters(self.model.pattern, self.size.depth), self._stack, strict=True)
        return {letter: block.mixer.kernel(device, length) for letter, block in pairs}

    def state_bytes(self, length: int) -> int:
        """Bytes that one sequence of `length` tokens keeps at inference (16-bit values)."""
        return sum(block.state_bytes(length) for block in self._stack)


def _recomputed(block: nn.Module, x_BLD: Tensor, how: bool | str) -> Tensor:
    contexts = partial(create_selective_checkpoint_contexts, costly()) if how == "selective" else noop_context_fn
    options = {"use_reentrant": False, "preserve_rng_state": False}
    return cast(Tensor, checkpoint(block, x_BLD, context_fn=contexts, **options))


@cache
def costly() -> list[OpOverload]:
    """What `recompute=selective` keeps: what takes most of the time, and little memory."""
    aten = torch.ops.aten
    products = [aten.mm.default, aten.addmm.default]
    onednn = [torch.ops.mkldnn._linear_pointwise.default] if HAS_ONEDNN else []
    names = ("flash_attention", "efficient_attention", "cudnn_attention", "flash_attention_for_cpu")
    return products + onednn + [getattr(aten, f"_scaled_dot_product_{name}").default for name in names]


def letters(pattern: str, depth: int) -> str:
    """One letter of `mixers.MIXERS` per layer: the pattern, repeated and cut to `depth`."""
    return (pattern * depth)[:depth]


def build(
    model: Model,
    size: Size,
    vocabulary: int,
    seed: int,
    device: str | torch.device = "cpu",
    valued: bool = False,
) -> LanguageModel:
    """A model with its initial parameters on `device`; nothing is drawn or allocated twice."""
    with torch.device("meta"):
        language = LanguageModel(model, size, vocabulary, valued)
    return initialise(language.to_empty(device=device), seed)


@torch.no_grad()
def initialise(model: LanguageModel, seed: int) -> LanguageModel:
    """Draws every parameter from a generator of its own, seeded by (seed, parameter name).

    So a model with one more layer or another mixer starts from the same numbers wherever names and
    shapes agree, and the difference between two arms is not the luck of the draw. Draws are made on
    the CPU in float32, hence the same on every device. Parameters still on `meta` are left alone.

    Matrices and embeddings are normal with `std(model)`; those of RESIDUAL with
    `std / sqrt(2 * depth)` (GPT-2), so that the residual stream does not grow with depth: in
    models of different depth these differ by a factor, and by nothing else. Norms are 1. What is
    neither has a rule in the mixer's own `INITIAL`, by its name there, made from uniform numbers in [0, 1).
    """
    shrink = 1.0 / math.sqrt(2 * len(model.blocks))
    own = [getattr(block.mixer, "INITIAL", {}) for block in model._stack]
    rules = {f"blocks.{i}.mixer.{name}": rule for i, found in enumerate(own) for name, rule in found.items()}
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            continue
        if name in rules:
            uniform = torch.empty(parameter.shape).uniform_(generator=_generator(seed, name))
            parameter.copy_(rules[name](uniform, model.model))
            continue
        if parameter.ndim < 2:
            parameter.fill_(1.0)
            continue
        scale = std(model.model, model.size) * (shrink if name.endswith(RESIDUAL) else 1.0)
        parameter.copy_(torch.empty(parameter.shape).normal_(generator=_generator(seed, name)) * scale)
    return model


def std(model: Model, size: Size) -> float:
    """Standard deviation of a matrix at initialisation: falls with the width as 1 / sqrt(width)."""
    return model.init_scale / math.sqrt(size.width)


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def decay_groups(model: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the parameters that weight decay applies to (matrices, embeddings), and of the others (vectors).

    As in `mamba_ssm`, the weights of a convolution decay, and A_log, D, dt_bias and biases do not.
    """
    named = dict(model.named_parameters())
    decay = [name for name, parameter in named.items() if parameter.ndim >= 2]
    return decay, [name for name in named if name not in decay]


def layer_of(name: str, depth: int) -> int:
    """Where a parameter lies: 0 the embedding, then the blocks, `depth` + 1 the last norm and an untied head."""
    if name.startswith("blocks."):
        return 1 + int(name.split(".")[1])
    return 0 if name.startswith("embedding.") else depth + 1


def matrices(model: LanguageModel) -> dict[str, tuple[int, ...]]:
    """The linear maps of the blocks, by the name of the parameter: rows of each matrix that shares its product."""
    layers = {name: layer for name, layer in model.blocks.named_modules() if isinstance(layer, Dense)}
    return {f"blocks.{name}.weight": layer.splits for name, layer in layers.items()}


@torch.no_grad()
def settled(language: LanguageModel) -> LanguageModel:
    """The same model with plain matrices: of weights that were trained rounded, what it multiplies with. In place."""
    layers = {name: layer for name, layer in language.named_modules() if isinstance(layer, Quantised)}
    for name, layer in layers.items():
        with torch.device("meta"):
            dense = Dense(layer.in_features, layer.out_features, layer.splits)
        dense.weight = nn.Parameter(layer.rounded())
        language.set_submodule(name, dense)
    if layers:
        language.model = dataclasses.replace(language.model, linear="dense")
    return language
