"""How well a finished run foretells a text: what level 3 scores documents by (`corpus.score`, kind perplexity).

    reader = reader_of(outputs)("mix_sweep/share_40/0")
    reader.bits_per_byte("def naïve(n): ...")

A document is read by itself, so that its score does not depend on the documents beside it: half a span at a time, with
the half before it as context.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ablate.data.tokenizer import Tokenizer
from ablate.data.tokens import prepared
from ablate.fit import saved
from ablate.model.language import LanguageModel
from ablate.run import lookup
from ablate.run.record import Record
from ablate.run.settings import Settings, UserError
from ablate.scores.requests import Request, score

CHARACTERS = 50_000  # of a document that are read, from its beginning


@dataclass(frozen=True)
class Reader:
    """A run that reads text, in any process."""

    folder: Path
    weights: str  # their sha256
    fingerprint: str  # of the text that it was trained on, and so of its tokenizer

    def key(self) -> dict[str, Any]:
        return {"weights": self.weights, "text": self.fingerprint, "characters": CHARACTERS, "device": _device()}

    def bits_per_byte(self, text: str) -> float:
        """0 of a text without tokens."""
        of, text = _loaded(self.folder), text[:CHARACTERS]
        tokens, half = of.tokenizer.encode(text, add_special_tokens=False).ids, of.settings.data.span // 2
        pieces = [tuple(tokens[start : start + half]) for start in range(0, len(tokens), half)]
        requests = [Request(*pair) for pair in zip([(of.end,), *pieces], pieces, strict=False)]
        with saved.as_there(of.settings, 1, torch.device(_device())):  # one thread: processes work side by side
            found = score(of.language, requests, longest=2 * half)
        return sum(one.nats for one in found) / math.log(2) / max(1, len(text.encode()))


def reader_of(outputs: Path) -> Callable[[str], Reader]:
    """Gives the reader of a run by any of its names (`run.lookup`). Raises UserError for one that is not finished."""

    def of_run(name: str) -> Reader:
        record = lookup.find(name, outputs)
        if not record.done:
            raise UserError(f"{record.id} is not finished; the command that started it goes on with it")
        return Reader(record.folder.resolve(), (record.result() or {})["weights_sha256"], record.fingerprint)

    return of_run


class _Loaded(NamedTuple):
    settings: Settings
    language: LanguageModel
    tokenizer: Tokenizer
    end: int


@functools.lru_cache(maxsize=1)
def _loaded(folder: Path) -> _Loaded:
    record = Record(folder)
    corpus, language = prepared(folder.parents[1], record.fingerprint), saved.load(record)
    return _Loaded(record.settings(), language.to(_device()), corpus.tokenizer(), corpus.end)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
