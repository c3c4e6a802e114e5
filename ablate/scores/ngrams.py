"""Runs of words looked for in text, many at once: exact, and in a time that hardly grows with their number.

Words are numbered; a word that no run has is 0, so most places are passed over without a look. The others are looked
up by a hash of the run that begins there, and then compared word by word.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping

import numpy as np

# Words; signs of Chinese and Japanese one by one; operators between numbers, or 5 + 3 would be 5 - 3
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+|(?<=[\d) ])[-+*/^%×](?= ?[\d(])")
INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))  # soft hyphens, widths of zero
FACTOR = np.uint64(0x9E3779B97F4A7C15)

Gram = tuple[int, ...]


def normal(text: str) -> str:
    """One way of writing for all: accents as one sign with their letter, ligatures as letters, nothing invisible."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(INVISIBLE)


def words_of(text: str) -> list[str]:
    """Without case, punctuation and white space."""
    return WORD.findall(normal(text).lower())


def grams(words: Gram, length: int) -> frozenset[Gram]:
    return frozenset(words[start : start + length] for start in range(len(words) - length + 1))


class Index:
    """Runs of one length, each with the numbers of the items that it is of."""

    def __init__(self, runs: Mapping[Gram, list[int]]) -> None:
        self.runs, self.length = runs, len(next(iter(runs)))
        self.hashes = np.unique(_hashes(np.array(list(runs)).T))

    def find(self, words_N: np.ndarray) -> Iterator[tuple[int, Gram]]:
        """Where a run begins, and the run."""
        unknown = np.concatenate([[0], np.cumsum(words_N == 0)])
        starts = np.flatnonzero(unknown[self.length :] == unknown[: -self.length])
        hashes = _hashes(words_N[starts + place] for place in range(self.length))
        nearest = self.hashes[np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)]
        for start in starts[nearest == hashes].tolist():
            run = tuple(words_N[start : start + self.length].tolist())
            if run in self.runs:
                yield start, run


def _hashes(columns: Iterator[np.ndarray] | np.ndarray) -> np.ndarray:
    """Of many runs at once; each column has a word of every run."""
    total: np.ndarray | np.uint64 = np.uint64(0)
    for column in columns:
        total = (total ^ column.astype(np.uint64)) * FACTOR
        total = total ^ (total >> np.uint64(29))
    return np.atleast_1d(total)
