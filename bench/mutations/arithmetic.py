"""Mutations of what a model is and how it is computed: constants, initial weights, types, kernels, versions."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablate.fit import conditions, module, run
from ablate.model import attention, language, linear, parts
from ablate.model.language import LanguageModel
from ablate.model.mamba import Mamba2
from bench.mutations.data import Change, Tampering, around, value


def built(change: Callable[[LanguageModel], Any]) -> Tampering:
    """The model changed after it was built."""

    def tampered(build: Change, *args: Any) -> LanguageModel:
        model = build(*args)
        with torch.no_grad():
            change(model)
        return model

    return around(module, "build", tampered)


def drawn(change: Callable[[str, Tensor], Any]) -> Tampering:
    """Other initial parameters: change(name, parameter) in place."""

    def tampered(initialise: Change, model: LanguageModel, seed: int) -> LanguageModel:
        initialise(model, seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                change(name, parameter)
        return model

    return around(language, "initialise", tampered)


def asked(**changed: Any) -> Tampering:
    """A model of another architecture than was asked for."""

    def tampered(build: Change, model: Any, size: Any, *rest: Any) -> LanguageModel:
        of_model = {name: value for name, value in changed.items() if hasattr(model, name)}
        of_size = {name: value for name, value in changed.items() if hasattr(size, name)}
        return build(dataclasses.replace(model, **of_model), dataclasses.replace(size, **of_size), *rest)

    return around(module, "build", tampered)


def switched(set_to: Callable[[Any], Any], new: Any, old: Any) -> Tampering:
    """A switch of torch that holds for the whole process, while in force."""

    @contextmanager
    def tampered() -> Iterator[None]:
        set_to(new)
        try:
            yield
        finally:
            set_to(old)

    return tampered


def with_dropout(model: LanguageModel) -> None:
    feed = model._stack[1].feed
    feed.down = nn.Sequential(feed.down, nn.Dropout(0.1))  # pyrefly: ignore


def only(name: str, change: Callable[[Tensor], Any]) -> Callable[[str, Tensor], Any]:
    return lambda found, parameter: change(parameter) if found == name else None


def coarse(build: Change, *args: Any) -> Any:
    made = build(*args)
    made.sums_D3 = made.sums_D3.float()
    return made


def in_small_chunks(model: LanguageModel) -> None:
    for mixer in model.modules():
        if isinstance(mixer, Mamba2):
            mixer.mamba = dataclasses.replace(mixer.mamba, chunk=16)


def exchanged(model: LanguageModel) -> None:
    model.blocks = nn.ModuleList(reversed(model._stack))


@contextmanager
def one_generator() -> Iterator[None]:
    """Parameters drawn one after the other from one generator: a layer more shifts all that follow."""
    with mock.patch.object(language, "_generator", return_value=torch.Generator().manual_seed(0)):
        yield


@contextmanager
def threads(number: int) -> Iterator[None]:
    set_threads = torch.set_num_threads
    with mock.patch.object(run.torch, "set_num_threads", side_effect=lambda asked: set_threads(number)):
        yield
    set_threads(1)


CONSTANTS = {
    "eps of all norms times ten": built(
        lambda model: [setattr(m, "eps", m.eps * 10) for m in model.modules() if isinstance(m, parts.RMSNorm)]
    ),
    "eps of one norm": built(lambda model: setattr(model.norm, "eps", 2e-5)),
    "base of rotation 9000": built(
        lambda model: [setattr(m, "theta", 9000.0) for m in model.modules() if isinstance(m, parts.Rotary)]
    ),
    "rotation a token late": around(parts, "turns", lambda turns, position_L, *rest: turns(position_L + 1, *rest)),
    "angles in bfloat16": around(parts, "turns", lambda turns, *a: turns(*a).bfloat16().float()),
    "dropout in one layer": built(with_dropout),
    "scores scaled otherwise": around(attention, "_scale", lambda scale, q: scale(q) * 1.01),
    "attention that looks ahead": around(attention, "_mask", lambda mask, q, end: mask(q, end) * 0.0),
    "another activation": value(
        parts._SwiGLU, "apply", lambda gate_up: F.gelu(gate_up.chunk(2, -1)[0]) * gate_up.chunk(2, -1)[1]
    ),
    "no last norm": built(lambda model: setattr(model.norm, "forward", lambda x: x)),
    "embedding scaled": around(
        language.LanguageModel, "forward", lambda forward, self, tokens: forward(self, tokens) * 1.001
    ),
    "a bias in one layer": built(
        lambda model: model._stack[0].register_forward_hook(lambda m, inputs, output: output + 1e-4)
    ),
    "a layer whose mixer is skipped": built(
        lambda model: setattr(model._stack[1].mixer, "forward", lambda x: torch.zeros_like(x))
    ),
    "gradient stopped in one layer": built(
        lambda model: model._stack[0].feed.register_forward_hook(lambda m, inputs, output: output.detach())
    ),
}
ARCHITECTURE = {
    "an untied head": asked(tied=False),
    "one layer more": asked(depth=3),
    "another number of key heads": asked(kv_heads=2),
    "a wider feed-forward": asked(hidden=40),
    "normed queries": asked(qk_norm=True),
    "another feed-forward": asked(feed="relu2"),
}
INITIAL = {
    "one parameter 1 % larger": drawn(only("blocks.0.feed.down.weight", lambda p: p.mul_(1.01))),
    "one number of one parameter": drawn(only("embedding.weight", lambda p: p[3, 3].add_(1e-6))),
    "norms that begin at 1.001": drawn(lambda name, p: p.mul_(1.001) if p.ndim < 2 else None),
    "residual matrices not shrunk": drawn(lambda name, p: p.mul_(2.0) if name.endswith(language.RESIDUAL) else None),
    "all matrices larger": around(language, "std", lambda std, *a: std(*a) * 1.05),
    "uniform for normal": drawn(
        only("embedding.weight", lambda p: p.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(0)))
    ),
    "weights of another seed": around(module, "build", lambda build, *args: build(*args[:3], args[3] + 1)),
    "another meaning of the seed": around(language, "_generator", lambda generator, seed, name: generator(name, seed)),
    "draws that depend on those before": one_generator,
    "weights rounded once": drawn(lambda name, p: p.copy_(p.bfloat16())),
    "the weights of two layers exchanged": built(exchanged),
}
TYPES = {
    "weights in bfloat16": built(lambda model: model.bfloat16()),
    "weights in float64": built(lambda model: model.double()),
    "one layer in bfloat16": built(
        lambda model: model._stack[0].register_forward_hook(lambda m, inputs, out: out.bfloat16().float())
    ),
    "mixed precision": around(
        run.L, "Trainer", lambda trainer, **more: trainer(**(more | {"precision": "bf16-mixed"}))
    ),
    "sums in float32": around(run, "Pretraining", coarse),
}
KERNELS = {
    "another kernel of attention": value(attention, "LONGEST", 0),
    "attention in blocks of 16": value(attention, "BLOCK", 16),
    "products without oneDNN": value(linear, "HAS_ONEDNN", False),
    "the plain norm": value(parts._RMSNorm, "apply", lambda x, w, eps: F.rms_norm(x, w.shape, w, eps)),
    "two threads": lambda: threads(2),
    "not deterministic": around(run.L, "Trainer", lambda trainer, **more: trainer(**(more | {"deterministic": False}))),
    "products of less precision": switched(torch.set_float32_matmul_precision, "medium", "highest"),
    "denormals flushed": switched(torch.set_flush_denormal, True, False),
}
MACHINE = {
    "another version of torch": around(
        conditions, "package_version", lambda version, name: "2.12.1" if name == "torch" else version(name)
    ),
    "another version of Lightning": around(
        conditions, "package_version", lambda version, name: "2.5.0" if name == "lightning" else version(name)
    ),
    "another Python": value(conditions.platform, "python_version", lambda: "3.12.0"),
    "another processor": value(conditions, "processor", lambda: "another"),
    "other sources": value(conditions, "code", lambda: "0123456789abcdef"),
}
OF_MODEL = {
    "states that decay otherwise": drawn(lambda name, p: p.add_(0.1) if name.endswith("A_log") else None),
    "chunks of 16": built(in_small_chunks),
}
OF_LATENT = {
    "eps of the latent's norm": built(
        lambda model: [setattr(m, "eps", 1e-4) for n, m in model.named_modules() if n.endswith("kv_norm")]
    ),
}
OF_TERNARY = {
    "eps of ternary norms": built(
        lambda model: [setattr(m, "eps", 1e-4) for n, m in model.named_modules() if n.endswith(".norm")]
    ),
    "scales of inputs 0.1 % larger": around(linear, "int8", lambda int8, x: (int8(x)[0], int8(x)[1] * 1.001)),
}
