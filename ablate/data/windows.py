"""Rows cut from streams: their tokens, and what each of these is to predict.

Shapes: R rows, L tokens of a row, T = L + 1 tokens of the window that a row is cut from.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from ablate.data.tokens import Corpus

IGNORED = -100  # a target that counts neither as token nor as bytes


class Stream(NamedTuple):
    """The tokens of a domain, and which of them count; None: all."""

    tokens: np.ndarray
    marks: np.ndarray | None = None

    @classmethod
    def of(cls, corpus: "Corpus", domain: str, split: str, objective: str = "") -> Self:
        """As a run of this objective reads it: to `next_token` all tokens count."""
        marks = None if objective == "next_token" else corpus.marks(domain, split)
        return cls(corpus.tokens(domain, split), marks)


class Windows(NamedTuple):
    """`tokens_RT` as they lie on disk; `marks_RT`: which of them count, None: all."""

    tokens_RT: np.ndarray
    marks_RT: np.ndarray | None

    @classmethod
    def of(cls, streams: Sequence[Stream], domain_R: np.ndarray, start_R: np.ndarray, length: int) -> Self:
        """The windows of rows of `length`, each from one of the streams."""
        places = [
            (streams[d], slice(start, start + length + 1))
            for d, start in zip(domain_R.tolist(), start_R.tolist(), strict=True)
        ]
        tokens_RT = np.stack([stream.tokens[place] for stream, place in places])
        if all(stream.marks is None for stream, _ in places):
            return cls(tokens_RT, None)
        ones = np.ones(length + 1, dtype=np.uint8)
        return cls(tokens_RT, np.stack([ones if one.marks is None else one.marks[place] for one, place in places]))

    @property
    def targets_RL(self) -> np.ndarray:
        """Every token predicts the next one; the first token of a window is no target."""
        if self.marks_RT is None:
            return self.tokens_RT[:, 1:]
        return np.where(self.marks_RT[:, 1:] == 1, self.tokens_RT[:, 1:].astype(np.int64), IGNORED)


def counted(streams: Sequence[Stream], domain_R: np.ndarray, start_R: np.ndarray, length: int) -> np.ndarray:
    """How many targets of these rows count, by stream."""
    found = np.zeros(len(streams), dtype=np.int64)
    for domain, start in zip(domain_R.tolist(), start_R.tolist(), strict=True):
        marks = streams[domain].marks
        found[domain] += length if marks is None else int(marks[start + 1 : start + length + 1].sum())
    return found
