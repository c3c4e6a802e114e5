"""Speed on one GPU by itself: ceilings, attention, whole models in a bare loop, small ones with CUDA graphs."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ablate.fit import optimizer as optimizers
from ablate.fit.objectives import NextToken
from ablate.model import budget, sdpa
from ablate.model.language import LanguageModel, build
from ablate.run.parse import from_plain
from ablate.run.settings import Settings
from bench.gpu_tools import DEVICE, batch_of, seconds_of, sync, tell

Size = dict[str, int]
H200 = 989e12  # dense bf16 FLOP/s by its data sheet
ZAGREUS = {"width": 960, "depth": 32, "heads": 15, "kv_heads": 5, "hidden": 2560}
DAVINCI = {"width": 2048, "depth": 36, "heads": 16, "kv_heads": 2, "hidden": 11008}
MICRO = {"width": 256, "depth": 8, "heads": 4, "kv_heads": 4, "hidden": 704}
NANO = {"width": 128, "depth": 4, "heads": 4, "kv_heads": 2, "hidden": 384}
TINY = {"width": 32, "depth": 2, "heads": 2, "kv_heads": 1, "hidden": 64}


def ceilings(dry: bool) -> None:
    """A large product in each type, and a copy."""
    width = 256 if dry else 8192
    for dtype, tf32 in ((torch.bfloat16, False), (torch.float32, False), (torch.float32, True)):
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        a = torch.rand(width, width, device=DEVICE).to(dtype)
        seconds = seconds_of(lambda a=a: a @ a, 3 if dry else 20)
        tell("ceilings", what=f"product {dtype}{' TF32' if tf32 else ''}", tflops=2 * width**3 / seconds / 1e12)
    numbers = torch.empty(2**20 if dry else 2**30, device=DEVICE)
    seconds = seconds_of(lambda: numbers.clone(), 3 if dry else 20)
    tell("ceilings", what="copy", terabytes_per_second=2 * numbers.nbytes / seconds / 1e12)


SHAPES = {  # query heads, heads of keys, width of a key, width of a value
    "15 / 5 x 64": (15, 5, 64, 64),
    "16 / 2 x 128": (16, 2, 128, 128),
    "latent, 80 and 64": (16, 16, 80, 64),
}


def attention(dry: bool) -> None:
    """Forward and backward of each kernel and shape; which one torch and which one we choose."""
    rows, length = (1, 64) if dry else (4, 4096)
    for shape, (heads, groups, key, value) in SHAPES.items():
        for dtype in (torch.bfloat16, torch.float32):
            sizes = ((heads, key), (groups, key), (groups, value))
            qkv = [torch.randn(rows, h, length, k, device=DEVICE, dtype=dtype, requires_grad=True) for h, k in sizes]
            for kernel, inside in _kernels():
                with contextlib.suppress(RuntimeError), inside:  # RuntimeError: not for this shape or type
                    seconds = seconds_of(lambda qkv=qkv: _attended(qkv), 2 if dry else 10)
                    flops = 3.5 * 2 * rows * heads * length**2 * (key + value) / 2
                    found = {"ms": 1e3 * seconds, "tflops": flops / seconds / 1e12}
                    tell("attention", shape=shape, type=str(dtype), kernel=kernel, **found)
    for deterministic in (True, False):
        major = torch.cuda.get_device_capability()[0] if torch.cuda.is_available() else 0
        sdpa.choose(major, deterministic)
        tell("attention", deterministic=deterministic, chosen=sdpa.first())


def _kernels() -> Iterator[tuple[str, Any]]:
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION):
        yield backend.name, sdpa_kernel(backend)
    yield "as torch chooses", contextlib.nullcontext()
    with contextlib.suppress(ImportError):  # of its wheel
        torch.nn.attention.activate_flash_attention_impl("FA3")
        yield "FA3", sdpa_kernel(SDPBackend.FLASH_ATTENTION)


def _attended(qkv: list[Tensor]) -> None:
    q, k, v = qkv
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])
    y.sum().backward()


# name -> settings of the run, and whether kernels must repeat
WAYS: dict[str, tuple[dict[str, Any], bool]] = {
    "eager, repeatable": ({"precision": "bf16-mixed"}, True),
    "eager": ({"precision": "bf16-mixed"}, False),
    "bf16 stream": ({"precision": "bf16"}, False),
    "compiled": ({"precision": "bf16-mixed", "where": {"compile": True}}, False),
    "compiled, bf16 stream": ({"precision": "bf16", "where": {"compile": True}}, False),
    "compiled, graphs": ({"precision": "bf16", "where": {"compile": True, "graphs": True}}, False),
    "compiled, bf16 stream, repeatable": ({"precision": "bf16", "where": {"compile": True}}, True),
    "compiled, bf16 stream, recomputed": ({"precision": "bf16", "where": {"compile": True, "recompute": True}}, False),
}


def zagreus(dry: bool) -> None:
    """0.44 B parameters, in every way, and transformers' model of the same shape; what matters most comes first."""
    best = "compiled, bf16 stream"
    _ways("zagreus", ZAGREUS, 128_256, 4096, 4, [best, "eager, repeatable"], dry)
    _transformers("zagreus", ZAGREUS, 128_256, 4096, 4, dry)
    _ways("zagreus", ZAGREUS, 128_256, 4096, 16, [best], dry)
    _ways("zagreus", ZAGREUS, 128_256, 4096, 4, [way for way in WAYS if way not in (best, "eager, repeatable")], dry)


def davinci(dry: bool) -> None:
    """3.09 B parameters: eager, compiled, recomputed, against what the budget says of its memory."""
    ways = ["compiled, bf16 stream", "eager", "compiled, bf16 stream, recomputed"]
    _ways("davinci", DAVINCI, 151_936, 4096, 4, ways, dry)


def small(dry: bool) -> None:
    """1 M and 10 M parameters at three sizes of step: eager, compiled, and with CUDA graphs."""
    for name, size, vocabulary in (("nano", NANO, 2048), ("micro", MICRO, 4096)):
        for rows in [1] if dry else [1, 16, 64]:
            _ways(name, size, vocabulary, 1024, rows, ["eager", "compiled, bf16 stream", "compiled, graphs"], dry)
            if not dry:
                _graphed(name, size, vocabulary, rows)


def _ways(part: str, size: Size, vocabulary: int, length: int, rows: int, ways: list[str], dry: bool) -> None:
    for way in ways:
        changes, repeatable = WAYS[way]
        one = shaped(TINY if dry else size, 512 if dry else vocabulary, 64 if dry else length, changes)
        try:
            found = measured(one, rows, repeatable, 2 if dry else 10)
        except torch.OutOfMemoryError:
            found = {"ended": "out of memory"}
        tell(part, way=way, rows=rows, **found)


def shaped(size: Size, vocabulary: int, length: int, changes: dict[str, Any]) -> Settings:
    where = {"micro_tokens": 2**20, "compile": False} | changes.get("where", {})
    data = {"vocabulary": vocabulary, "span": length}
    plain = {"data": data, "size": size, "length": {"lengths": [length]}, "step_tokens": length, "tokens": length}
    return from_plain(plain | changes | {"where": where})


def measured(one: Settings, rows: int, repeatable: bool, steps: int) -> dict[str, Any]:
    """A bare loop over the model: seconds, share of the peak, memory against the budget's."""
    torch.use_deterministic_algorithms(repeatable)
    major = torch.cuda.get_device_capability()[0] if torch.cuda.is_available() else 0
    sdpa.choose(major, repeatable)
    model = build(one.model, one.size, one.data.vocabulary, one.seed).to(DEVICE)
    model.recompute, model.narrow = one.where.recompute, one.precision == "bf16"
    if one.where.compile and DEVICE == "cuda":
        model.compile_blocks(mode="reduce-overhead" if one.where.graphs else None)
    step = _step(model, one, rows)
    begin = time.perf_counter()
    step()
    sync()
    first = time.perf_counter() - begin
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = seconds_of(step, steps)
    length = one.data.span
    flops = budget.of(one).training_flops[length] * rows * length
    found = {"tokens_per_second": rows * length / seconds, "ms": 1e3 * seconds, "first_step_seconds": first}
    found |= {"share_of_peak": flops / seconds / H200, "kernels": model.kernels(torch.device(DEVICE), length)}
    if DEVICE == "cuda":
        said = budget.memory_of(one, one.size, rows, length, average=False).total
        found |= {"gigabytes": torch.cuda.max_memory_allocated() / 1e9, "budget_gigabytes": said / 1e9}
    return found


def _step(model: LanguageModel, one: Settings, rows: int) -> Callable[[], None]:
    fused = one.where.compile and DEVICE == "cuda"
    settings = one if fused or not one.where.compile else _settings_plain(one)
    objective, optimizer = NextToken(settings), optimizers.build(model, one.optimizer)
    batch = batch_of(rows, one.data.span, one.data.vocabulary)
    ones = torch.ones(one.data.vocabulary, device=DEVICE)

    def step() -> None:
        optimizer.zero_grad()
        if one.where.graphs and fused:
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=one.precision != "fp32", cache_enabled=False):
            sums = objective(model, batch, ones, 1)
        (sums.total / (rows * one.data.span)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def _settings_plain(one: Settings) -> Settings:
    """On a CPU nothing is compiled: that takes minutes."""
    return dataclasses.replace(one, where=dataclasses.replace(one.where, compile=False, graphs=False))


def _graphed(part: str, size: Size, vocabulary: int, rows: int) -> None:
    """Forward and backward pass of one micro-batch as a CUDA graph; the optimizer stays outside."""
    one = shaped(size, vocabulary, 1024, {"precision": "bf16"})
    model = build(one.model, one.size, vocabulary, one.seed).to(DEVICE)
    model.narrow = True
    step = _step(model, one, rows)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    sync()
    for parameter in model.parameters():
        parameter.grad = None
    graph, objective, batch = torch.cuda.CUDAGraph(), NextToken(one), batch_of(rows, 1024, vocabulary)
    ones = torch.ones(vocabulary, device=DEVICE)
    with torch.cuda.graph(graph), torch.autocast(DEVICE, torch.bfloat16, cache_enabled=False):
        (objective(model, batch, ones, 1).total / (rows * 1024)).backward()
    optimizer = optimizers.build(model, one.optimizer)

    def replayed() -> None:
        graph.replay()
        optimizer.step()

    seconds = seconds_of(replayed, 20)
    tell(part, way="CUDA graph", rows=rows, ms=1e3 * seconds, tokens_per_second=rows * 1024 / seconds)


def _transformers(part: str, size: Size, vocabulary: int, length: int, rows: int, dry: bool) -> None:
    """The bare loop of others: LlamaForCausalLM of the same shape, sdpa, autocast, fused AdamW."""
    from transformers import LlamaForCausalLM

    from ablate.model.convert import config_to_hf

    if dry:
        size, vocabulary, length = TINY, 512, 64
    one = shaped(size, vocabulary, length, {})
    with torch.device("meta"):
        config = config_to_hf(LanguageModel(one.model, one.size, vocabulary))
    config.use_cache, config._attn_implementation = False, "sdpa"
    torch.use_deterministic_algorithms(False)
    model = LlamaForCausalLM(config).to(DEVICE)  # pyrefly: ignore
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    tokens_BL = batch_of(rows, length, vocabulary).tokens_BL

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(DEVICE, torch.bfloat16):
            loss = model(input_ids=tokens_BL, labels=tokens_BL).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    step()
    seconds = seconds_of(step, 2 if dry else 10)
    tell(part, way="transformers, eager", rows=rows, ms=1e3 * seconds, tokens_per_second=rows * length / seconds)
