"""Lines that many documents have: menus, notices, footers. The line goes, not the document.

A document counts once for each of its lines, and is known by the two longest of those that few others have (of all, if
most of its text is such that many have): a hundred copies of a page are one document here, while a hundred pages with
one menu are a hundred. A document that would lose half of its text
keeps all of it: it is a copy of another, and the step `copies` is for those. A short line, which people do write again
and again ("Thank you very much."), must be in a share of all documents as well. Lines of code stay where they are.

    round 0    which lines, by 32 bits of each, come up often enough in all parts together
    round 1    in how many documents these really are
"""

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ablate.corpus.bounds import Bounds
from ablate.corpus.document import Document
from ablate.corpus.step import Result

MOST = 0.5  # share of a document that may go with its lines
WORD_CHARACTERS = 5  # a line has as many characters for each word asked of it, or three in a script without spaces
LONG = 40  # characters of a line that nobody writes by chance
DIVISIONS = 32  # of all lines, counted one after the other
SHARE = 0.002  # of all documents that have a shorter line


class Told(NamedTuple):
    halves: frozenset[int]  # crc32 of lines worth a second look
    short: int  # documents in which a short line must be


class Lines:
    name, rounds = "lines", 2

    def __init__(self, kind: str, limits: Bounds) -> None:
        self.off = kind == "code"
        self.documents, self.words = int(limits["lines.documents"]), int(limits["lines.words"])

    def key(self) -> dict[str, Any]:
        bounds = {} if self.off else {"documents": self.documents, "words": self.words}
        return {"name": self.name, "version": 2, **bounds}

    def look(self, round: int, documents: Sequence[Document], told: Any) -> Any:
        """Round 0: half numbers, how many documents have each, and of how many. Round 1: pairs of line and document."""
        if self.off:
            return None
        if round:
            pairs = {pair for document in documents for pair in self._pairs(document.text, told.halves)}
            return np.array(sorted(pairs), dtype=np.uint64).reshape(-1, 2)
        halves = [np.array([*self._halves(document.text)], dtype=np.uint32) for document in documents]
        numbers, counts = np.unique(np.concatenate([_NONE, *halves]), return_counts=True)
        return numbers, np.minimum(counts, 0xFFFF).astype(np.uint16), len(documents)

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> Any:
        """Round 0: what to look at. Round 1: the lines that go."""
        if self.off:
            return None
        if round == 0:
            halves = set[int]()
            for numbers, counts in _divisions([note[:2] for note in notes], (np.dtype("u4"), np.dtype("u2"))):
                halves.update(_reached(numbers, counts, self.documents).tolist())
            return Told(frozenset(halves), max(self.documents, int(SHARE * sum(note[2] for note in notes))))
        goes = set[int]()
        for lines, documents in _divisions([note.T for note in notes], (np.dtype("u8"), np.dtype("u8"))):
            pairs_N2 = np.unique(np.stack([lines, documents], axis=1), axis=0)
            numbers, counts = np.unique(pairs_N2[:, 0], return_counts=True)
            bounds = np.where(numbers & np.uint64(1), self.documents, told.short)
            goes.update(numbers[counts >= bounds].tolist())
        return frozenset(goes)

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        return [self._cut(document, told) if told else Result((document,)) for document in documents]

    def _halves(self, text: str) -> set[int]:
        least = 3 * self.words
        return {zlib.crc32(line.encode()) for line in text.split("\n") if len(line) >= least}

    def _pairs(self, text: str, halves: frozenset[int]) -> Iterator[tuple[int, int]]:
        lines = set(text.split("\n"))
        shared = {line for line in lines if zlib.crc32(line.encode()) in halves}
        own = lines - shared
        known = own if sum(map(len, own)) >= sum(map(len, shared)) else lines
        number = _number("\n".join(sorted(known, key=lambda line: (len(line), line))[-2:]))
        yield from ((_number(line), number) for line in shared if self._enough(line))

    def _enough(self, line: str) -> bool:
        """Whether a line has the words that are asked; without spaces, the characters."""
        if line.isascii() or len(line.encode()) < 2 * len(line):
            return len(line) >= WORD_CHARACTERS * self.words and len(line.split()) >= self.words
        return len(line) >= 3 * self.words

    def _cut(self, document: Document, told: frozenset[int]) -> Result:
        lines = document.text.split("\n")
        least = 3 * self.words
        goes = [len(line) >= least and _number(line) in told and self._enough(line) for line in lines]
        lost = sum(len(line) for line, go in zip(lines, goes, strict=True) if go)
        if not lost or lost >= MOST * len(document.text):
            return Result((document,))
        text = "\n".join(line for line, go in zip(lines, goes, strict=True) if not go).strip()
        noted: dict[str, float] = {"lines.removed": sum(goes), "lines.bytes": document.bytes - len(text.encode())}
        return Result((document._replace(text=text),), noted=noted)


_NONE = np.zeros(0, dtype=np.uint32)


def _number(line: str) -> int:
    """64 bits; the lowest tells a long line."""
    number = int.from_bytes(hashlib.blake2b(line.encode(), digest_size=8).digest())
    return number & ~1 | (len(line) >= LONG)


def _divisions(notes: Sequence[Sequence[np.ndarray]], kinds: Sequence[np.dtype]) -> Iterator[list[np.ndarray]]:
    """The columns of all notes, which are sorted by the first, by the highest bits of that: all at once they take
    several times the room."""
    width = (1 << 8 * kinds[0].itemsize) // DIVISIONS
    edges = np.array([place * width for place in range(DIVISIONS)], dtype=kinds[0])
    borders = [[*np.searchsorted(note[0], edges), len(note[0])] for note in notes]
    for place in range(DIVISIONS):
        cuts = [slice(first[place], first[place + 1]) for first in borders]
        yield [
            np.concatenate([np.zeros(0, kind), *(note[column][cut] for note, cut in zip(notes, cuts, strict=True))])
            for column, kind in enumerate(kinds)
        ]


def _reached(halves: np.ndarray, counts: np.ndarray, bound: int) -> np.ndarray:
    """The numbers whose counts are together at least the bound."""
    order = np.argsort(halves)
    halves = halves[order]
    heads = np.flatnonzero(np.concatenate([[True], halves[1:] != halves[:-1]])[: len(halves)])
    return halves[heads][np.add.reduceat(counts[order].astype(np.int64), heads) >= bound] if len(heads) else halves
