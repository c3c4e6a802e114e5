"""Held-out text that stands in training text, found and cut out: whoever trains on what is scored has learnt it.

    held out    ... w1 w2 ... w24 w25 ...     one run of RUN words in any WINDOW is kept: that of the lowest number
    training    ... w1 w2 ... w24 w25 ...     a run that is among those kept is cut, with the lines that it lies in

Two texts that share WINDOW words share one of the kept runs, since what is kept follows from the words alone
(winnowing; Schleimer, Wilkerson, Aiken 2003). So no WINDOW of held-out words is left in training text, whether words
are told by spaces or by letters and digits alone, in any case. Shorter passages may be cut too, and fewer than RUN
words be left at the ends of one. What is left of a document goes on in pieces; if half of it was cut it goes whole,
and so does one that is a held-out document itself.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from ablate.corpus.document import Document
from ablate.corpus.turns import has_parts
from ablate.corpus.words import Words, among, batches, runs, wholes, words

WINDOW = 50  # words in a row that training and held-out text never have in common
RUN = 25  # words compared at once
LEFT = 0.5  # share of a document that must be left of it
PIECE_BYTES = 200  # what is left in smaller pieces is no document
LINE_BYTES = 1000  # a cut is widened to the ends of a line that are as near as this
TABLE_BITS = 24  # of a run's number: most runs are none of those kept, as one look tells


class Cut(NamedTuple):
    """What became of some documents."""

    documents: list[Document]
    touched: int  # documents of which something went
    bytes: int  # of text that went


class Copies:
    """The held-out documents, ready to be looked for."""

    def __init__(self, kept: np.ndarray, documents: np.ndarray) -> None:
        """`kept`: numbers of runs, `documents`: of whole documents; both sorted uint64."""
        self.kept, self.documents = kept, documents
        self.table = np.zeros(1 << TABLE_BITS, dtype=bool)
        self.table[_places(kept)] = True

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        kept, documents = [], []
        for batch in batches(texts, str):
            found = words(batch)
            documents.append(wholes(found))
            kept += [np.unique(_winnowed(runs(one, RUN))) for one in _tellings(found)]
        nothing = np.empty(0, dtype=np.uint64)
        return cls(np.unique(np.concatenate([nothing, *kept])), np.unique(np.concatenate([nothing, *documents])))

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, kept=self.kept, documents=self.documents)

    @classmethod
    def load(cls, path: Path) -> Self:
        with np.load(path) as file:
            return cls(file["kept"], file["documents"])

    def cut(self, documents: Iterable[Document]) -> Cut:
        """The documents without what is held out."""
        kept, touched, cut_bytes = [], 0, 0
        for batch in batches(documents, lambda document: document.text):
            found = words([document.text for document in batch])
            same_D, ranges = among(wholes(found), self.documents), self._ranges(found)
            for number, document in enumerate(batch):
                pieces = [] if same_D[number] else _pieces(document, ranges.get(number, []))
                kept += pieces
                if pieces != [document]:
                    touched += 1
                    cut_bytes += document.bytes - sum(piece.bytes for piece in pieces)
        return Cut(kept, touched, cut_bytes)

    def _ranges(self, found: Words) -> dict[int, list[tuple[int, int]]]:
        """Bytes of each document, by its number, from the first word of a run that is kept to the last."""
        ranges: dict[int, list[tuple[int, int]]] = {}
        for one in _tellings(found):
            numbers_W = runs(one, RUN)
            [maybe] = self.table[_places(numbers_W)].nonzero()
            for first in maybe[among(numbers_W[maybe], self.kept)].tolist():
                number = int(one.documents_W[first])
                offset = int(one.offsets_D[number])
                place = int(one.starts_W[first]) - offset, int(one.stops_W[first + RUN - 1]) - offset
                ranges.setdefault(number, []).append(place)
        return {number: sorted(found) for number, found in ranges.items()}


def _tellings(found: Words) -> list[Words]:
    """The words with the signs that stand alone, and, if there are any, without."""
    letters = found.letters()
    return [found] if letters is found else [found, letters]


def _places(numbers: np.ndarray) -> np.ndarray:
    return (numbers >> np.uint64(64 - TABLE_BITS)).astype(np.int64)


def _winnowed(numbers_W: np.ndarray) -> np.ndarray:
    """The lowest number among those of the runs that begin in a window, for every window; 0 is no run."""
    numbers_W = np.where(numbers_W == 0, np.iinfo(np.uint64).max, numbers_W)
    lowest, size = numbers_W, 1
    wanted = WINDOW - RUN + 1
    while size < wanted:
        step = min(size, wanted - size)
        if len(lowest) <= step:  # fewer than a window: the lowest of all
            lowest = lowest.min(initial=np.iinfo(np.uint64).max, keepdims=True)
            break
        lowest, size = np.minimum(lowest[step:], lowest[:-step]), size + step
    return lowest[lowest != np.iinfo(np.uint64).max]


def _pieces(document: Document, ranges: list[tuple[int, int]]) -> list[Document]:
    """What is left of a document without these bytes."""
    if not ranges:
        return [document]
    if has_parts(document):  # an answer without its question is no document
        return []
    text = document.text.encode()
    left, begin = [], 0
    for start, stop in [*(_widened(text, *place) for place in ranges), (len(text), len(text))]:
        if start > begin:
            left.append(text[begin:start].decode(errors="ignore").strip("\n"))
        begin = max(begin, stop)
    left = [piece for piece in left if len(piece.encode()) >= PIECE_BYTES]
    if sum(len(piece.encode()) for piece in left) < LEFT * len(text):
        return []
    return [document._replace(text=piece) for piece in left]


def _widened(text: bytes, start: int, stop: int) -> tuple[int, int]:
    """To the ends of the lines that the cut lies in, where they are near."""
    before = text.rfind(b"\n", max(start - LINE_BYTES, 0), start)
    after = text.find(b"\n", stop, stop + LINE_BYTES)
    if before < 0:
        before = -1 if start <= LINE_BYTES else start - 1
    if after < 0:
        after = len(text) if len(text) - stop <= LINE_BYTES else stop
    return before + 1, after
