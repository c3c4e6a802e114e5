"""What a run costs before it is run: parameters, FLOPs per token, bytes of memory.

FLOPs are not a formula beside the model: every part declares its own, so a new mixer is counted by
the code that computes it. Convention (that of PaLM and of `torch.utils.flop_counter`): a product of
(m, k) and (k, n) is 2mkn; attention counts all L x L pairs though half are masked; elementwise work
and looking up a token are free; training is three times the forward pass, and a teacher's forward pass is added.

    budget.of(Settings()).training_flops        {1024: 10223616}       row length -> per token

Memory is what one device holds at the peak of a training step. Activations are measured, not
guessed: the forward pass runs on fake tensors, which have shapes but no bytes, and whatever autograd
keeps is added up. It is the CPU's way of computing; a GPU keeps less (attention). Blocks that are
recomputed keep their inputs, and one of them at a time all the rest. What a strategy divides among all
devices (PIECES) counts as one part of several, and beside it what is whole for the moment. Where a CPU trains, the
state before the last step is kept beside it, from which that step is taken once more (`fit.probe`).
"""

import functools
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ablate.model import match
from ablate.model.language import LanguageModel, costly, matrices
from ablate.model.linear import product
from ablate.run.settings import Model, Settings, Size, Where

BF16 = 2  # bytes; matrices that FSDP has gathered, where products are of bfloat16
FP32 = 4  # bytes; parameters, gradients and moments that are not quantised, in either precision
# Of bitsandbytes: values in its table of 8 bits and in a block of one scale, and values below which a
# parameter's moments stay in 32 bits
TABLE, LEAST_VALUES = 256, 4096
FP64 = 8  # bytes; the average of the weights
# What a strategy holds in parts, one on each device
PIECES = {
    "zero1": ("optimizer", "master"),
    "zero2": ("optimizer", "master", "gradients"),
    "zero3": ("optimizer", "gradients", "weights", "average"),
    "fsdp": ("optimizer", "gradients", "weights", "average"),
}
MICRO_TOKENS = 16_384  # on a CPU, where more at once gain nothing
USABLE = 0.8  # of a GPU's memory: the rest is for logits of a chunk, libraries and gaps between blocks


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one device."""

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    loss: int  # gradients of the hidden states and of the head, taken with the loss
    master: int = 0  # DeepSpeed's own copy of the weights, which it steps at stages 1 and 2
    gathered: int = 0  # weights that are whole for the moment, where each device holds a part of them
    teacher: int = 0  # its weights, whole on every device
    kept: int = 0  # the state before the last step, which a CPU keeps beside the run's

    @property
    def total(self) -> int:
        return sum(vars(self).values())


@dataclass(frozen=True, kw_only=True)
class Budget:
    size: Size  # as built
    parameters: int
    embedding: int  # of these: token embedding, and the head unless tied
    forward_flops: dict[int, int]  # row length -> FLOPs per token
    state_bytes: int  # of one sequence of the longest row at inference, 16-bit values
    settings: Settings = field(repr=False, compare=False)

    @property
    def training_flops(self) -> dict[int, int]:
        """Row length -> FLOPs per token, forward and backward, and forward of a teacher; evaluation not included."""
        taught = self.settings.distill.flops
        return {length: 3 * flops + (taught[length] if taught else 0) for length, flops in self.forward_flops.items()}

    @functools.cached_property
    def memory(self) -> Memory:
        """Of one device; traced when asked for, which takes a hundred times as long as all else here."""
        settings, length = self.settings, max(self.forward_flops)
        average = settings.averaging.kind != "none"
        return memory_of(settings, self.size, max(1, self._tokens // length), length, average, self.in_parts)

    @property
    def in_parts(self) -> bool:
        """Whether a device works its rows of a step off in several parts."""
        return self._tokens * _devices(self.settings) < self.settings.step_tokens * max(self.settings.ramp.multiples)

    @property
    def _tokens(self) -> int:
        """That a device works off at a time."""
        settings = self.settings
        return min(settings.where.micro_tokens or MICRO_TOKENS, settings.step_tokens // _devices(settings))


def of(settings: Settings, vocabulary: int | None = None) -> Budget:
    """The budget of a run; `vocabulary` if the tokenizer has another size than `data.vocabulary`."""
    if vocabulary is not None:
        settings = replace(settings, data=replace(settings.data, vocabulary=vocabulary))
    size, lengths = match.sized(settings), tuple(sorted(set(settings.length.lengths)))
    texts = 2 if settings.data.pairs else 1  # of a row, of which none looks at the others
    counts = of_model(settings.model, size, settings.data.vocabulary, lengths, texts)
    return Budget(settings=settings, size=size, **counts)


@functools.cache
def of_model(model: Model, size: Size, vocabulary: int, lengths: tuple[int, ...], texts: int = 1) -> dict[str, Any]:
    """What follows from the model alone, counted once for all the runs of a study that share it."""
    with torch.device("meta"):
        language = LanguageModel(model, size, vocabulary)
    return {
        "parameters": count(language),
        "embedding": vocabulary * size.width * (1 if model.tied else 2),
        "forward_flops": {length: language.flops(length // texts) for length in lengths},
        "state_bytes": language.state_bytes(lengths[-1] // texts),
    }


def count(model: torch.nn.Module) -> int:
    """Parameters; one shared by embedding and head counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def memory_of(settings: Settings, size: Size, rows: int, length: int, average: bool, in_parts: bool = False) -> Memory:
    """What one device holds with `rows` rows of `length` tokens at a time; `in_parts`: a step has more of them."""
    vocabulary = settings.data.vocabulary
    with torch.device("meta"):
        model = LanguageModel(settings.model, size, vocabulary)
    weights, strategy = FP32 * count(model), settings.where.strategy
    state = {
        "weights": weights,
        "gradients": weights,
        "optimizer": optimizer_bytes(model, settings.optimizer.name),
        "average": FP64 * count(model) if average else 0,
        "master": weights if strategy in ("zero1", "zero2") else 0,
        "teacher": FP32 * settings.distill.parameters,
    }
    held = in_pieces(strategy, in_parts)
    for name in held:
        state[name] = -(-state[name] // pieces(settings.where))
    narrow = strategy == "fsdp" and settings.precision != "fp32" and settings.model.linear == "dense"
    return Memory(
        **state,
        kept=state["weights"] + state["optimizer"] if _keeps_state(settings.where) else 0,
        gathered=_gathered(model, BF16 if narrow else FP32) if "weights" in held else 0,
        activations=activation_bytes(settings, vocabulary, rows, length),
        loss=FP32 * size.width * (rows * length + vocabulary),
    )


def micro_tokens(settings: Settings, device_bytes: int) -> int:
    """Tokens of as many of the longest rows as fit into a device of that memory; one row when none fits.

    Follows from what all runs that share a beginning have in common, and from the kind of device: not from what is
    free at the moment, nor from `length`, `averaging` or `step_tokens`. So a run that resumes, or grows from another's
    trunk, works its steps off in the same parts, and its sums have the same bits.
    """
    size, length = match.sized(settings), settings.data.span
    usable = USABLE * device_bytes / settings.where.runs_per_device
    one, two = (memory_of(settings, size, rows, length, average=True, in_parts=True).total for rows in (1, 2))
    return length * max(1, int((usable - one) / (two - one)) + 1)


def _keeps_state(where: Where) -> bool:
    """Whether the last step can be taken once more, and what it starts from lies where the run is trained."""
    on_cpu = where.device == "cpu" or not torch.cuda.is_available()
    return where.strategy == "single" and not where.compile and on_cpu


def _devices(settings: Settings) -> int:
    return settings.where.devices * settings.where.nodes


def in_pieces(strategy: str, in_parts: bool) -> list[str]:
    """What is cut; `in_parts`: the rows of a step too. FSDP has whole gradients then, until the last rows."""
    whole = ["gradients"] if strategy == "fsdp" and in_parts else []
    return [name for name in PIECES.get(strategy, ()) if name not in whole]


def pieces(where: Where) -> int:
    """Devices that hold one copy of what a strategy cuts: all, or under FSDP those of a node, if it has several."""
    hybrid = where.strategy == "fsdp" and where.devices > 1
    return where.devices if hybrid else where.devices * where.nodes


def _gathered(model: LanguageModel, of_block: int) -> int:
    """Bytes of what belongs to no block, of the largest block, of its gradient, and of the block fetched next;
    `of_block`: of a number in a block."""
    blocks = [count(block) for block in model.blocks]
    return FP32 * (count(model) - sum(blocks)) + 3 * of_block * max(blocks)


def optimizer_bytes(model: LanguageModel, name: str) -> int:
    """Bytes of the moments that `optimizer.name` keeps; `fit.optimizer` says of which parameters."""
    orthogonal = matrices(model) if name == "muon" else {}
    quantised = {key for key, parameter in model.named_parameters() if name == "adamw8bit" and _in_8_bits(parameter)}
    total = 2 * TABLE * FP32 if quantised else 0
    for key, parameter in model.named_parameters():
        moments = 1 if key in orthogonal else 2
        values, scales = parameter.numel(), -(-parameter.numel() // TABLE)
        total += moments * (values + FP32 * scales if key in quantised else FP32 * values)
    return total


def _in_8_bits(parameter: Tensor) -> bool:
    return parameter.ndim > 1 and parameter.numel() >= LEAST_VALUES


def activation_bytes(settings: Settings, vocabulary: int, rows: int, length: int) -> int:
    """Bytes that autograd keeps between the forward and the backward pass, parameters not counted.

    With where.recompute that and what the backward pass brings back: all else that the largest block keeps.
    """
    recompute = settings.where.recompute
    return _activations(settings.model, match.sized(settings), settings.precision, vocabulary, rows, length, recompute)


@functools.cache
def _activations(
    model: Model, size: Size, precision: str, vocabulary: int, rows: int, length: int, recompute: bool | str
) -> int:
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32")
    with FakeTensorMode(), autocast:
        language = LanguageModel(model, size, vocabulary)
        language.recompute, language.narrow = recompute, precision == "bf16"
        tokens_BL = torch.zeros(rows, length, dtype=torch.long)
        with _Costly() as costly_ones:
            kept = kept_bytes(language, tokens_BL)
        if not recompute:
            return kept
        x_BLD = torch.zeros(rows, length, size.width, dtype=torch.bfloat16 if language.narrow else torch.float32)
        anew = max(kept_bytes(block, x_BLD) for block in language.blocks)
        if recompute != "selective":
            return kept + anew
        return kept + costly_ones.bytes + anew - costly_ones.bytes // len(language.blocks)


class _Costly(TorchDispatchMode):
    """Adds up the bytes that `recompute=selective` keeps, of blocks that are run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in costly():
            self.bytes += sum(one.untyped_storage().nbytes() for one in tree_leaves(out) if isinstance(one, Tensor))
        return out


def kept_bytes(model: torch.nn.Module, inputs: Tensor) -> int:
    """Bytes of every storage that a forward pass leaves behind: its result and what autograd saved."""
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        keep(model(inputs))
    return sum(kept.values())


@functools.cache
def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs per second that a large product reaches here, best of several: what 100 % MFU would be."""
    # One thread is at its peak in a small product already, and every run of a sweep asks.
    width = 8192 if device.type == "cuda" else 1024 if torch.get_num_threads() > 1 else 512
    # A generator of its own: measuring must not move anyone else's random numbers.
    generator = torch.Generator(device).manual_seed(0)
    a = torch.rand(width, width, device=device, generator=generator).to(dtype)
    return 2 * width**3 / min(_seconds_of_product(a) for _ in range(8))


def _seconds_of_product(a: Tensor) -> float:
    start = time.perf_counter()
    product(a, a)
    if a.is_cuda:
        torch.cuda.synchronize(a.device)
    return time.perf_counter() - start
