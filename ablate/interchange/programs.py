"""The programs that read a model, each as a side that reads a prompt and writes on: what `interchange.pace` measures.

    torch       the network here, with what it keeps, in float32 and bfloat16
    onnx        ONNX Runtime on the folder that `--to onnx` writes
    llama.cpp   its server, in this process, on the file that `--to gguf` writes

Each does what it does for its users: torch and llama.cpp work out the logits of a prompt's last token alone, and ONNX
those of all. The words do not matter, so the tokens are drawn, and the likeliest is written on with.
"""

import importlib
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ablate.interchange.contract import Form, Leaving
from ablate.interchange.forms import FORMS
from ablate.run.machine import package_version
from ablate.run.settings import UserError

if TYPE_CHECKING:
    import torch

QUIET = -1


class Asked(NamedTuple):
    """Tokens of a prompt and of a text, and threads."""

    prompt: int
    decode: int
    threads: int


class Program(Protocol):
    """A model loaded by a program."""

    def read(self) -> None:
        """The prompt, from nothing."""
        ...

    def write(self) -> float:
        """So many tokens behind the prompt that was read last; the share of the work that went into that."""
        ...


class Side(NamedTuple):
    """One program and one type of weights, as `run.speeds` has them."""

    runtime: str
    type: str
    version: str
    bytes: int
    own: bool
    program: Program


class LeftOut(NamedTuple):
    runtime: str
    type: str
    why: str


def of_torch(leaving: Leaving, asked: Asked, folder: Path) -> Iterator[Side | LeftOut]:
    import torch

    size = sum(parameter.numel() for parameter in leaving.language.parameters())
    for type, dtype, width in (("fp32", torch.float32, 4), ("bf16", torch.bfloat16, 2)):
        program = Torch(leaving, asked, dtype)
        yield Side("torch", type, torch.__version__, width * size, False, program)


def of_onnx(leaving: Leaving, asked: Asked, folder: Path) -> Iterator[Side | LeftOut]:
    def load(folder: Path) -> Program:
        [path] = folder.glob("*/*.onnx")
        return Onnx(path, asked)

    yield from _written("onnx", FORMS["onnx"], "onnxruntime", leaving, folder, load)


def of_llama(leaving: Leaving, asked: Asked, folder: Path) -> Iterator[Side | LeftOut]:
    def load(folder: Path) -> Program:
        [path] = folder.glob("*.gguf")
        return Llama(path, asked)

    yield from _written("llama.cpp", FORMS["gguf"], "xllamacpp", leaving, folder, load)


SIDES = {"torch": of_torch, "onnx": of_onnx, "llama.cpp": of_llama}


def _written(
    runtime: str, form: Form, package: str, leaving: Leaving, folder: Path, load: Callable[[Path], Program]
) -> Iterator[Side | LeftOut]:
    """Every type of a form, written to a folder and loaded from there."""
    version = package_version(package) or ""
    for type in form.types:
        if why := form.misfit(leaving, type):
            yield LeftOut(runtime, type, why)
            continue
        at = folder / f"{runtime}-{type}"
        at.mkdir()
        form.write(leaving, type, at)
        models = [path for path in at.rglob("*") if path.suffix in (".onnx", ".onnx_data", ".gguf")]
        size = sum(path.stat().st_size for path in models)
        yield Side(runtime, type, version, size, type in BITS and _own(leaving, runtime, BITS[type]), load(at))


BITS = {"int8": 8, "int4": 8, "q8_0": 8, "q4_0": 4}  # that weights may have; ONNX has 8 beside 4 where they are needed


def _own(leaving: Leaving, runtime: str, bits: int) -> bool:
    """Whether these are the numbers that a compressed run computed with: llama.cpp has no zeros and no factors."""
    if (packed := leaving.packed) is None:
        return False
    forms = [stored.form for stored in packed.stored.values()]
    whole = all(form.format.numbers == "int" and form.format.bits <= bits for form in forms)
    plain = all(form.symmetric for form in forms) and not any(name.endswith(FACTORS) for name in packed.tensors)
    return whole and (runtime == "onnx" or plain)


FACTORS = ".factors"  # of AWQ (`compress.packed`, which loads torch)


class Torch:
    def __init__(self, leaving: Leaving, asked: Asked, dtype: "torch.dtype") -> None:
        import copy

        import torch

        torch.set_num_threads(asked.threads)
        self.language, self.asked = copy.deepcopy(leaving.language).to(dtype).eval(), asked
        self.tokens_1L = torch.from_numpy(_tokens(leaving, asked))

    def read(self) -> None:
        from ablate.model.cache import Cache

        self.cache = Cache(self.language, 1, self.asked.prompt + self.asked.decode)
        self._next(self.tokens_1L)

    def write(self) -> float:
        for _ in range(self.asked.decode):
            self._next(self.next_11)
        return 1.0

    def _next(self, tokens_1L: "torch.Tensor") -> None:
        import torch

        with torch.inference_mode():
            x_1LD = self.language(tokens_1L, self.cache)
            self.next_11 = (x_1LD[:, -1:] @ self.language.head_weight.T).argmax(-1)


class Onnx:
    def __init__(self, path: Path, asked: Asked) -> None:
        from ablate.interchange.onnx import Runtime

        self.runtime, self.asked = Runtime(path, asked.threads), asked
        [one] = [one for one in self.runtime.session.get_outputs() if one.name == "logits"]
        self.tokens_1L = _drawn(one.shape[-1], asked)

    def read(self) -> None:
        self.past = self.runtime.nothing(1)
        self._next(self.tokens_1L, self.asked.prompt)

    def write(self) -> float:
        for number in range(self.asked.decode):
            self._next(self.next_11, self.asked.prompt + number + 1)
        return 1.0

    def _next(self, tokens_1L: np.ndarray, so_far: int) -> None:
        logits_1LV, self.past = self.runtime.read(tokens_1L, np.ones((1, so_far), np.int64), self.past)
        self.next_11 = logits_1LV[:, -1:].argmax(-1)


class Llama:
    """For `write` its server reads at least the prompt's last token again, and with a state that it cannot take a token
    back from, as Mamba's, all of it."""

    def __init__(self, path: Path, asked: Asked) -> None:
        from gguf import GGUFReader

        llama: Any = importlib.import_module("xllamacpp")
        keys = GGUFReader(path).fields
        vocabulary = keys[f"{keys['general.architecture'].contents()}.vocab_size"].contents()
        self.tokens, self.asked = _drawn(vocabulary, asked)[0].tolist(), asked
        params = llama.CommonParams()
        params.model.path, params.n_ctx = str(path), asked.prompt + asked.decode + 1
        params.n_parallel, params.warmup, params.verbosity = 1, False, QUIET
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked.threads
        self.server = llama.Server(params)
        self.open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def read(self) -> None:
        self._ask(1, kept=False)

    def write(self) -> float:
        took = self._ask(self.asked.decode, kept=True)
        again = took["prompt_ms"] if took["prompt_n"] > 1 else 0.0
        return took["predicted_ms"] / (again + took["predicted_ms"])

    def _ask(self, tokens: int, kept: bool) -> dict[str, float]:
        """How long what took, by its own clock."""
        body = {"prompt": self.tokens, "n_predict": tokens, "cache_prompt": kept, "ignore_eos": True, "temperature": 0}
        url = f"{self.server.listening_address}/completion"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with self.open(request) as answer:
            found = json.load(answer)
        if (written := found["tokens_predicted"]) != tokens:
            few = f"llama.cpp wrote {written} of {tokens} tokens: its rows are no longer than those of the run"
            raise UserError(f"--decode {tokens}: with --prompt {self.asked.prompt} must fit in data.span; {few}")
        return found["timings"]


def _tokens(leaving: Leaving, asked: Asked) -> np.ndarray:
    return _drawn(len(leaving.language.head_weight), asked)


def _drawn(vocabulary: int, asked: Asked) -> np.ndarray:
    return np.random.default_rng(0).integers(0, vocabulary, (1, asked.prompt))
