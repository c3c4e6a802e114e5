"""Exact and near duplicates: of documents that say the same, the longest stays, then that of the smallest sha256.

    round 0    of every document: sha256, length, a key for each band of its MinHash signature (Broder 1997)
               documents with a key in common are nominated, each beside those nearest to it in length
    round 1    of those nominated: the runs of RUN words that they are made of
               longest first, a document goes if a nominated one that stays holds `copies.share` of its runs

A signature only nominates, since of unverified removals most were found to be wrong, and what is removed is like one
document that stays, never like one that went. In mathematics and in questions all numbers of a document must be in
the other as well: two problems that differ in their numbers are two problems.
"""

import hashlib
import re
import zlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from ablate.corpus.bounds import Bounds
from ablate.corpus.document import Document
from ablate.corpus.step import Measured, Result
from ablate.corpus.words import among, batches, runs, wholes, words
from ablate.run.settings import UserError

RUN = 5  # words
BANDS, ROWS = 16, 7  # 112 hashes; of pairs with .8 of their runs in common 98 % are nominated, 92 % by 14 bands of 8
SEED = 7
NEIGHBOURS = 8  # documents of a band that one is compared with: half are the longest, half those next in length
SAMPLE = 4096  # runs of a longer document of which as many are compared, those of the lowest numbers
HEAD = 80  # characters that name a document
FIGURE = re.compile(r"\S*\d\S*")
EXACT = ("math", "qa")  # kinds of which all numbers count


class Signatures(NamedTuple):
    """Of the documents of a part, or of all: 84 bytes a document."""

    numbers_D: np.ndarray  # uint64: the first half of a quarter of the text's sha256, which is what it is known by
    orders_D: np.ndarray  # uint64: the same of source and meta; of equal texts the smallest stays
    bytes_D: np.ndarray  # uint32
    keys_DB: np.ndarray  # uint32


class Nominated(NamedTuple):
    stays: dict[int, int]  # of texts that are there more than once, the place of the one that stays
    numbers_N: np.ndarray  # texts to be looked at, sorted
    pairs_P2: np.ndarray  # two of them, the one that would stay first; in the order in which to decide


class Candidate(NamedTuple):
    order: int
    head: str  # source and beginning
    runs_R: np.ndarray  # uint32, sorted
    below: int  # all runs with numbers below are here
    figures: frozenset[int]


class Removed(NamedTuple):
    stays: dict[int, int]
    twins: dict[int, tuple[float, int]]  # of a text that goes: the share of it that is in the one that stays
    heads: dict[int, str]


class Copies:
    name, rounds = "copies", 2

    def __init__(self, kind: str, limits: Bounds) -> None:
        self.exact, self.share = kind in EXACT, limits["copies.share"]

    def key(self) -> dict[str, Any]:
        return {"name": self.name, "version": 1, "share": self.share, "figures": self.exact, "rensa": version("rensa")}

    def look(self, round: int, documents: Sequence[Document], told: Any) -> Any:
        if round:
            return _candidates(documents, told, self.exact)
        parts = [_signatures(batch) for batch in batches(documents, lambda document: document.text)]
        return Signatures(*map(np.concatenate, zip(*parts, strict=True))) if parts else None

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> Any:
        if round == 0:
            return _nominated([note for note in notes if note is not None])
        found: dict[int, Candidate] = {}
        for number, candidate in (pair for note in notes for pair in note.items()):
            found[number] = min(found.get(number, candidate), candidate, key=lambda one: (one.order, one.head))
        twins = self._twins(told.pairs_P2, found)
        heads = {number: found[number].head for number in {*told.stays, *(twin for _, twin in twins.values())}}
        return Removed(told.stays, twins, heads)

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        results = []
        for place, document in enumerate(documents, start=first):
            number, removed = _number(document.text), None
            if told.stays.get(number, place) != place:
                removed = Measured("copies.exact", 1.0, self.share, told.heads[number])
            elif number in told.twins:
                share, twin = told.twins[number]
                removed = Measured("copies.near", share, self.share, told.heads[twin])
            results.append(Result((), removed=removed) if removed else Result((document,)))
        return results

    def _twins(self, pairs_P2: np.ndarray, found: dict[int, Candidate]) -> dict[int, tuple[float, int]]:
        """Of the texts that go, how much of each is in one that stays."""
        twins: dict[int, tuple[float, int]] = {}
        for stays, goes in pairs_P2.tolist():
            if stays not in twins:  # of texts that go, nothing follows
                share = contained(found[goes], found[stays])
                if share >= max(self.share, twins.get(goes, (0.0, 0))[0] + 1e-9):
                    twins[goes] = share, stays
        return twins


def contained(one: Candidate, other: Candidate) -> float:
    """Share of the runs of one text that are in another; 0 if a figure is not."""
    if not one.figures <= other.figures:
        return 0.0
    below = min(one.below, other.below)
    mine, others = (runs_R[: np.searchsorted(runs_R, below)] for runs_R in (one.runs_R, other.runs_R))
    return float(among(mine, others).mean()) if len(mine) else 0.0


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _order(document: Document) -> int:
    """Of equal texts the one of the smallest order stays. An id is made of the source and the text."""
    return _number(f"{document.source}\0{document.meta.get('id', '')}")


def _shingles(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the runs of all documents, one after another, and where each document begins and the last ends.

    A text of fewer words is one run.
    """
    found = words(texts)
    numbers_W = runs(found, RUN)
    kept = numbers_W != 0
    numbers, owners = numbers_W[kept], found.documents_W[kept]
    short = np.flatnonzero(np.bincount(owners, minlength=len(texts)) == 0)
    if len(short):
        numbers, owners = np.concatenate([numbers, wholes(found)[short]]), np.concatenate([owners, short])
        order = np.argsort(owners, kind="stable")
        numbers, owners = numbers[order], owners[order]
    return numbers, np.searchsorted(owners, np.arange(len(texts) + 1))


def _signatures(documents: Sequence[Document]) -> Signatures:
    try:
        import rensa
    except ImportError:
        raise UserError("the rule copies needs `pip install ablate[corpus]`") from None
    digests: Any = getattr(rensa, "RMinHash").digest_matrix_from_flat_token_hashes  # noqa: B009  its types are not told
    numbers, borders = _shingles([document.text for document in documents])
    rows = digests(numbers, borders.astype(np.uint64), BANDS * ROWS, SEED).to_rows()
    hashes_DBR = np.array(rows, dtype=np.uint64).reshape(len(documents), BANDS, ROWS)
    keys_DB = (hashes_DBR * FACTORS_R).sum(axis=2)
    keys_DB = ((keys_DB ^ (keys_DB >> np.uint64(29))) * FACTORS_R[0]) >> np.uint64(32)
    return Signatures(
        np.array([_number(document.text) for document in documents], dtype=np.uint64),
        np.array([_order(document) for document in documents], dtype=np.uint64),
        np.array([document.bytes for document in documents], dtype=np.uint32),
        keys_DB.astype(np.uint32),
    )


def _figures(text: str) -> frozenset[int]:
    return frozenset(zlib.crc32(figure.encode()) for figure in FIGURE.findall(text))


def _nominated(notes: Sequence[Signatures]) -> Nominated:
    if not notes:
        return Nominated({}, np.zeros(0, dtype=np.uint64), np.zeros((0, 2), dtype=np.uint64))
    numbers_D, orders_D, bytes_D = (np.concatenate([note[part] for note in notes]) for part in range(3))
    # Longest first, then smallest sha256, then smallest order: of equal texts the first stays
    ranked = np.lexsort((orders_D, numbers_D, np.uint32(0xFFFFFFFF) - bytes_D))
    ordered_D = numbers_D[ranked]
    again_D = np.zeros(len(ranked), dtype=bool)
    again_D[1:] = ordered_D[1:] == ordered_D[:-1]
    followed = np.flatnonzero(again_D & ~np.roll(again_D, 1)) - 1
    stays = dict(zip(ordered_D[followed].tolist(), ranked[followed].tolist(), strict=True))
    texts_T = ranked[~again_D]
    pairs = np.zeros(0, dtype=np.uint64)
    for band in range(BANDS):
        keys_T = np.concatenate([note.keys_DB[:, band] for note in notes])[texts_T]
        pairs = np.union1d(pairs, _pairs(keys_T))
    pairs_P2 = np.stack([pairs & LOW, pairs >> HALF], axis=1)  # sorted by the second, which is the one that would go
    pairs_P2 = numbers_D[texts_T][pairs_P2.astype(np.int64)]
    looked = np.unique(np.concatenate([pairs_P2.ravel(), ordered_D[followed]]))
    return Nominated(stays, looked, pairs_P2)


def _pairs(keys_T: np.ndarray) -> np.ndarray:
    """Pairs of ranks with an equal key, each as one number: the worse rank, and in the lower half the better."""
    order = np.argsort(keys_T, kind="stable")
    keys = keys_T[order]
    heads = (
        np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, dtype=np.int64)
    )
    inside = np.arange(len(keys)) - np.repeat(heads, np.diff(np.append(heads, len(keys))))  # place in its group
    found = []
    for step in range(1, NEIGHBOURS // 2 + 1):
        later = np.flatnonzero(inside >= step)
        found.append((order[later].astype(np.uint64) << HALF) | order[later - step].astype(np.uint64))
        longest = later[inside[later] >= NEIGHBOURS // 2 + step]
        better = order[longest - inside[longest] + step - 1]
        found.append((order[longest].astype(np.uint64) << HALF) | better.astype(np.uint64))
    return np.unique(np.concatenate(found))


def _candidates(documents: Sequence[Document], told: Nominated, exact: bool) -> dict[int, Candidate]:
    numbers = np.array([_number(document.text) for document in documents], dtype=np.uint64)
    chosen = np.flatnonzero(among(numbers, told.numbers_N))
    found: dict[int, Candidate] = {}
    for batch in batches(chosen.tolist(), lambda place: documents[place].text):
        shingles, borders = _shingles([documents[place].text for place in batch])
        for place, first, last in zip(batch, borders[:-1], borders[1:], strict=True):
            runs_R = np.unique((shingles[first:last] >> HALF).astype(np.uint32))
            below = 1 << 32 >> max(0, (len(runs_R) // SAMPLE).bit_length())
            document = documents[place]
            candidate = Candidate(
                _order(document),
                f"{document.source}: {document.text[:HEAD]}",
                runs_R[: np.searchsorted(runs_R, below)].copy(),
                below,
                frozenset(zlib.crc32(figure.encode()) for figure in FIGURE.findall(document.text))
                if exact
                else frozenset(),
            )
            number = int(numbers[place])
            found[number] = min(found.get(number, candidate), candidate, key=lambda one: (one.order, one.head))
    return found


HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
FACTORS_R = np.random.default_rng(SEED).integers(1 << 63, size=ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
