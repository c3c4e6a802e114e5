"""Text that a language model goes on with: greedy or drawn, many prompts at once.

    [answer] = generate(language, [[0, 71, 512]], pieces, tokens=64, temperature=0.8, stop=["\n\n"], end=0)

`pieces` are the bytes of each token (`data.tokenizer.pieces`): a stop string is found where tokens cut it in two, and
a character of several bytes appears when it is whole. Bytes that are no UTF-8 become U+FFFD.

A prompt's text depends on the others beside it by rounding alone. What is drawn for it follows from the seed, its
tokens, and how often it stands before in the list.

Shapes: B rows, L tokens of a row, D width, V vocabulary.
"""

import codecs
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ablate.model.cache import Cache
from ablate.model.language import LanguageModel
from ablate.scores.draw import Draw, drawing

ROWS = 64  # prompts read at once


@dataclass
class Answer:
    """What followed a prompt. `ended`: by the "end" token, a "stop" string, or its number of "tokens"."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    ended: str = ""


def generate(
    language: LanguageModel,
    prompts: Sequence[Sequence[int]],
    pieces: Sequence[bytes],
    *,
    tokens: int,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: Sequence[str] = (),
    end: int | None = None,
    tell: Callable[[int, str], None] = lambda prompt, text: None,
) -> list[Answer]:
    """An answer to each prompt, of at most so many tokens; a stop string is no part of it.

    `tell` hears, as soon as it is sure, the number of a prompt and more of its text. Raises UserError for values that
    make no sense.
    """
    draw = drawing(tokens=tokens, stop=stop, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    assert all(prompts), "a prompt has a token at least: the end token, for a new text"
    rows = [_Row(i, list(prompt), _Text(stop), tokens, end) for i, prompt in enumerate(prompts)]
    _draw_chances(rows, draw)
    by_length = sorted(rows, key=lambda row: len(row.prompt))
    for start in range(0, len(rows), ROWS):
        _go_on(language, by_length[start : start + ROWS], pieces, draw, tell)
    return [row.answer for row in rows]


def choose(logits_BV: Tensor, draw: Draw, chance_B: Tensor) -> Tensor:
    """The next token of each row; `chance_B`, uniform in [0, 1), says which of those left."""
    if draw.temperature == 0:
        return logits_BV.argmax(-1)
    sorted_BV, token_BV = (logits_BV.double() / draw.temperature).sort(dim=-1, descending=True, stable=True)
    p_BV = sorted_BV.softmax(-1)
    left_BV = p_BV.cumsum(-1) - p_BV < draw.top_p
    if draw.top_k:
        left_BV[:, draw.top_k :] = False
    sum_BV = (p_BV * left_BV).cumsum(-1)
    rank_B1 = (sum_BV <= chance_B[:, None] * sum_BV[:, -1:]).sum(-1, keepdim=True)
    return token_BV.gather(1, rank_B1)[:, 0]


class _Text:
    """Bytes that grow, of which those are told that can no longer be part of a stop string or of half a character."""

    def __init__(self, stop: Sequence[str]) -> None:
        self.stop = [text.encode() for text in stop]
        self.found, self.told, self.text, self.stopped = b"", 0, "", False
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, piece: bytes) -> str:
        self.found += piece
        if stops := [at for text in self.stop if (at := self.found.find(text)) >= 0]:
            self.found, self.stopped = self.found[: min(stops)], True
        return self._tell(len(self.found) - (0 if self.stopped else self._maybe_stop()))

    def finish(self) -> str:
        return self._tell(len(self.found), final=True)

    def _tell(self, until: int, final: bool = False) -> str:
        more = self.decoder.decode(self.found[self.told : until], final)
        self.told, self.text = until, self.text + more
        return more

    def _maybe_stop(self) -> int:
        """Bytes at the end that a stop string may begin with."""
        lengths = (n for text in self.stop for n in range(1, len(text)) if self.found.endswith(text[:n]))
        return max(lengths, default=0)


@dataclass
class _Row:
    number: int
    prompt: list[int]
    text: _Text
    limit: int
    end: int | None
    answer: Answer = field(default_factory=Answer)
    chances: list[float] = field(default_factory=list)

    @property
    def chance(self) -> float:
        return self.chances[len(self.answer.tokens)] if self.chances else 0.0

    def take(self, token: int, pieces: Sequence[bytes]) -> str:
        """One token more; what is sure of the text since the last one."""
        if token == self.end:
            return self._ended("end")
        self.answer.tokens.append(token)
        more = self.text.add(pieces[token])
        if self.text.stopped:
            return more + self._ended("stop")
        return more + (self._ended("tokens") if len(self.answer.tokens) == self.limit else "")

    def _ended(self, why: str) -> str:
        more, self.answer.ended = self.text.finish(), why
        self.answer.text = self.text.text
        return more


@torch.no_grad()
def _go_on(
    language: LanguageModel,
    rows: list[_Row],
    pieces: Sequence[bytes],
    draw: Draw,
    tell: Callable[[int, str], None],
) -> None:
    """Token after token for all rows together, until each has ended."""
    device, new_B = language.head_weight.device, torch.tensor([len(row.prompt) for row in rows])
    tokens_BL = torch.zeros(len(rows), int(new_B.max()), dtype=torch.int64)
    for tokens_L, row in zip(tokens_BL, rows, strict=True):
        tokens_L[: len(row.prompt)] = torch.tensor(row.prompt)
    cache = Cache(language, len(rows), tokens_BL.shape[1] + rows[0].limit)
    x_BLD = language(tokens_BL.to(device), cache, new_B)
    last_BD = x_BLD[torch.arange(len(rows), device=device), new_B.to(device) - 1]
    while True:
        chance_B = torch.tensor([row.chance for row in rows], dtype=torch.float64, device=device)
        token_B = choose(F.linear(last_BD, language.head_weight).float(), draw, chance_B)
        for row, token in zip(rows, token_B.tolist(), strict=True):
            if more := row.take(token, pieces):
                tell(row.number, more)
        on = [i for i, row in enumerate(rows) if not row.answer.ended]
        if not on:
            return
        if len(on) < len(rows):
            index = torch.tensor(on)
            rows, token_B, cache = [rows[i] for i in on], token_B[index.to(device)], cache.of_rows(index)
        last_BD = language(token_B[:, None], cache)[:, 0]


def _draw_chances(rows: Sequence[_Row], draw: Draw) -> None:
    """For each row as many uniform numbers as it may need, by the seed and its prompt."""
    seen: dict[tuple[int, ...], int] = {}
    for row in rows if draw.temperature > 0 else ():
        key = tuple(row.prompt)
        seen[key] = seen.get(key, -1) + 1
        digest = hashlib.sha256(repr((draw.seed, seen[key], key)).encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
        row.chances = torch.rand(row.limit, dtype=torch.float64, generator=generator).tolist()
