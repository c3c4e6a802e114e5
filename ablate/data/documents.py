"""Documents as they stream by: clean, none twice, up to a limit; and which sources are held out.

A document is one piece of text and the name of what it was taken from. Chapters of one book share
a source, so the split moves whole sources: no book is half trained on and half validated on.
Which sources are held out follows from their names and sizes alone, never from the order in which
the documents came:

    sources in the order of their hash    c (2%)   a (8%)   d (1%)   b (3%) ...
    held out of the asked 5%              c        -        d        -      ...

A source is held out when that brings the held-out bytes nearer to the share asked for; one that is
larger than twice what is still missing stays in train. No more is asked for than HELD_OUT_BYTES.

Texts and sources are known by the first 8 bytes of their hash (`key`): names of many millions would not fit in memory.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from ablate.corpus import turns
from ablate.corpus.document import BINARY, Document, order_key
from ablate.corpus.words import among

HELD_OUT_BYTES = 16_000_000  # of a domain: more text makes no score surer, and near copies of all of it are looked for
BATCH_BYTES = 1_000_000  # of documents that are looked at together
BATCH = 1000


class Seen:
    """Keys that have come by, 8 bytes each, in sorted runs of which each is at most half as long as the one before."""

    def __init__(self) -> None:
        self.runs: list[np.ndarray] = []

    def new(self, keys_D: np.ndarray) -> np.ndarray:
        """Which of these keys had not come by, of equal ones the first; from now on all have."""
        new_D = np.zeros(len(keys_D), dtype=bool)
        new_D[np.unique(keys_D, return_index=True)[1]] = True
        new_D &= ~self.known(keys_D)
        run = np.sort(keys_D[new_D])
        while self.runs and len(self.runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self.runs.pop(), run]))
        if len(run):
            self.runs.append(run)
        return new_D

    def known(self, keys_D: np.ndarray) -> np.ndarray:
        """Which of these keys have come by."""
        known_D = np.zeros(len(keys_D), dtype=bool)
        for run in self.runs:
            known_D |= among(keys_D, run)
        return known_D


class Repeats(Seen):
    """Nothing has come by: texts that are there twice are left, for level 2 to find."""

    def new(self, keys_D: np.ndarray) -> np.ndarray:
        return np.ones(len(keys_D), dtype=bool)


def key(name: str) -> int:
    """What a text or a source is known by; sorts as `order_key` does."""
    return int.from_bytes(order_key(name)[:8])


def keys(names: Iterable[str]) -> np.ndarray:
    return np.array([key(name) for name in names], dtype=np.uint64)


def cleaned(documents: Iterable[Document]) -> Iterator[Document]:
    """Clean documents; those that are then empty or a repetition of an earlier one are dropped."""
    seen = Seen()
    for batch in batches(documents):
        yield from first_seen(batch, seen)[0]


def first_seen(documents: Iterable[Document], seen: Seen) -> tuple[list[Document], np.ndarray, int]:
    """Those that are not empty once clean, and had not come by; what has come by with them; and how many of the others
    have other parts than the document of their text that stays.

    A text is known by its key, and one that has parts by a key of these too.
    """
    clean_D = [turns.cleaned(document) for document in documents]
    clean_D = [document for document in clean_D if document.text]
    keys_D = keys(document.text for document in clean_D)
    new_D = seen.new(keys_D)
    left = [document for document, new in zip(clean_D, new_D, strict=True) if new]
    gone = [document for document, new in zip(clean_D, new_D, strict=True) if not new]
    seen.new(of_parts := _keys_of_parts(left))
    other = int((~seen.known(_keys_of_parts(gone))).sum())
    return left, np.concatenate([keys_D[new_D], of_parts]), other


def _keys_of_parts(documents: Iterable[Document]) -> np.ndarray:
    return keys(f"{document.text}\0{document.meta[turns.PARTS]}" for document in documents if turns.has_parts(document))


def batches(documents: Iterable[Document], size: int = BATCH_BYTES) -> Iterator[list[Document]]:
    """Consecutive documents, about `size` bytes at a time."""
    batch, size_bytes = [], 0
    for document in documents:
        batch.append(document)
        size_bytes += len(document.text)
        if size_bytes >= size or len(batch) == BATCH:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def capped(documents: Iterable[Document], limit_bytes: int) -> Iterator[Document]:
    """The first `limit_bytes` of text, the last document cut to fit unless it is bytes or has parts; 0: all."""
    left = limit_bytes or float("inf")
    for document in documents:
        if document.bytes > left:
            start = document.text.encode()[: int(left)].decode(errors="ignore").rstrip()
            if start and document.meta.get("format") not in BINARY and not turns.has_parts(document):
                yield document._replace(text=start)
            return
        yield document
        left -= document.bytes
        if left <= 0:
            return


def held_out(keys_S: np.ndarray, sizes_S: np.ndarray, share: float) -> np.ndarray:
    """Keys of the sources to validate on, sorted: some, never all.

    `keys_S`: of two sources or more, sorted; `sizes_S`: bytes of each.
    """
    missing = min(share * int(sizes_S.sum()), HELD_OUT_BYTES)
    held = []
    for place, size in enumerate(sizes_S):
        if size < 2 * missing and len(held) < len(keys_S) - 1:
            held.append(place)
            missing -= int(size)
    return keys_S[held or [int(np.argmin(sizes_S))]]
