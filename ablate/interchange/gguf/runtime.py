"""llama.cpp, as the wheel `xllamacpp` has it: what it makes of a GGUF, to compare with what was scored.

Its server lives in this process and gives log p of every token of the vocabulary for what follows a text, so a row of T
tokens is T questions. What it has read of a row it keeps, keys and values in float32, as when text is written. One
thread, no flash attention: two calls give equal numbers.
"""

import importlib
import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

QUIET = -1


class Runtime:
    """The Reader of `interchange.contract`."""

    def __init__(self, path: Path) -> None:
        from gguf import GGUFReader

        llama: Any = importlib.import_module("xllamacpp")
        keys = GGUFReader(path).fields
        name = keys["general.architecture"].contents()
        self.vocabulary = keys[f"{name}.vocab_size"].contents()

        params = llama.CommonParams()
        params.model.path = str(path)
        params.n_ctx = keys[f"{name}.context_length"].contents()
        params.n_parallel, params.warmup = 1, False
        params.cache_type_k = params.cache_type_v = llama.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = llama.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.verbosity = QUIET
        self.server = llama.Server(params)
        direct = urllib.request.ProxyHandler({})  # no proxy knows a server that listens on this machine alone
        self.open = urllib.request.build_opener(direct).open
        self.letter = self.tokens("a")[0]

    def logits(self, tokens_T: list[int]) -> np.ndarray:
        """(T, V), float32: log p, which are logits too."""
        return np.stack([self._next(tokens_T[: end + 1]) for end in range(len(tokens_T))])

    def tokens(self, text: str) -> list[int]:
        return self._ask("tokenize", content=text, add_special=True, parse_special=False)["tokens"]

    def _next(self, tokens_T: list[int]) -> np.ndarray:
        # Of a token that ends a text, or only a part of a character, the server would not tell log p: it writes another
        only = [[self.letter, 1000.0]]
        how = {"n_predict": 1, "n_probs": self.vocabulary, "logit_bias": only, "cache_prompt": True}
        found = self._ask("completion", prompt=tokens_T, **how)
        row_V = np.full(self.vocabulary, -np.inf, dtype=np.float32)
        for one in found["completion_probabilities"][0]["top_logprobs"]:
            row_V[one["id"]] = one["logprob"]
        return row_V

    def _ask(self, what: str, **body: Any) -> dict[str, Any]:
        url = f"{self.server.listening_address}/{what}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with self.open(request) as answer:
            return json.load(answer)
