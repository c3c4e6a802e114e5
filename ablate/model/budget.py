"""What a run costs before it is run: parameters, FLOPs per token, bytes of memory.

FLOPs are not a formula beside the model: every part declares its own, so a new mixer is counted by
the code that computes it. Convention (that of PaLM and of `torch.utils.flop_counter`): a product of
(m, k) and (k, n) is 2mkn; attention counts all L x L pairs though half are masked; elementwise work
and looking up a token are free; training is three times the forward pass.

    budget.of(Settings()).training_flops        {1024: 10223616}       row length -> per token

Memory is what one device holds at the peak of a training step. Activations are measured, not
guessed: the forward pass runs on the `meta` device, whose tensors have shapes but no bytes, and
whatever autograd keeps is added up. It is the CPU's way of computing; a GPU keeps less (attention).
"""

import functools
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.model.language import LanguageModel
from ablate.model.linear import product
from ablate.settings import Settings

FP32 = 4  # bytes; parameters, gradients and both AdamW moments, in either precision


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one device."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    loss: int  # gradients of the hidden states and of the head, taken with the loss

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.loss


@dataclass(frozen=True, kw_only=True)
class Budget:
    parameters: int
    embedding: int  # of these: token embedding, and the head unless tied
    forward_flops: dict[int, int]  # row length -> FLOPs per token
    state_bytes: int  # of one sequence of the longest row at inference, 16-bit values
    memory: Memory

    @property
    def non_embedding(self) -> int:
        return self.parameters - self.embedding

    @property
    def training_flops(self) -> dict[int, int]:
        """Row length -> FLOPs per token, forward and backward; evaluation not included."""
        return {length: 3 * flops for length, flops in self.forward_flops.items()}


def of(settings: Settings, vocabulary: int | None = None) -> Budget:
    """The budget of a run; `vocabulary` if the tokenizer has another size than `data.vocabulary`."""
    vocabulary = vocabulary or settings.data.vocabulary
    with torch.device("meta"):
        model = LanguageModel(settings.model, settings.size, vocabulary)
    lengths = sorted(set(settings.length.lengths))
    return Budget(
        parameters=count(model),
        embedding=vocabulary * settings.size.width * (1 if settings.model.tied else 2),
        forward_flops={length: model.flops(length) for length in lengths},
        state_bytes=model.state_bytes(lengths[-1]),
        memory=_memory(model, settings, lengths[-1]),
    )


def count(model: torch.nn.Module) -> int:
    """Parameters; one shared by embedding and head counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _memory(model: LanguageModel, settings: Settings, length: int) -> Memory:
    weights = FP32 * count(model)
    devices = settings.where.devices * settings.where.nodes
    rows = max(1, min(settings.where.micro_tokens, settings.step_tokens // devices) // length)
    return Memory(
        weights=weights,
        gradients=weights,
        optimizer=2 * weights,
        activations=activation_bytes(model, rows, length, settings.precision),
        loss=FP32 * (rows * length * settings.size.width + model.head_weight.numel()),
    )


def activation_bytes(model: LanguageModel, rows: int, length: int, precision: str) -> int:
    """Bytes that autograd keeps for the backward pass of a model on `meta`, parameters not counted."""
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return x

    tokens_BL = torch.zeros(rows, length, dtype=torch.long, device="meta")
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x), autocast:
        hidden_BLD = model(tokens_BL)
    return sum(kept.values()) + hidden_BLD.untyped_storage().nbytes()


@functools.cache
def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs per second that a large product reaches here, best of several: what 100 % MFU would be."""
    width = 8192 if device.type == "cuda" else 1024
    a = torch.randn(width, width, device=device, dtype=dtype)
    return 2 * width**3 / min(_seconds_of_product(a) for _ in range(8))


def _seconds_of_product(a: Tensor) -> float:
    start = time.perf_counter()
    product(a, a)
    if a.is_cuda:
        torch.cuda.synchronize(a.device)
    return time.perf_counter() - start
