"""Steps that keep documents for what they are called, not for what they say: what a study holds fixed.

draw    as many bytes as are asked for, by the hash of each document's id: a fair sample, of one text always the same
        documents first, so that a smaller one is part of a larger one
only    documents whose originals are in a list: those that all arms have
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ablate.corpus.document import Document
from ablate.corpus.step import Measured, Result

ALL = 2**64


class Draw(NamedTuple):
    """Keeps the documents of the lowest hashes, about `bytes` of text together."""

    bytes: int
    name: str = "random"
    rounds: int = 1

    def key(self) -> dict[str, Any]:
        return {"version": 1, "bytes": self.bytes}

    def look(self, round: int, documents: Sequence[Document], told: Any) -> np.ndarray:
        """uint64[2, documents]: hash, bytes."""
        rows = [[_hash(document), document.bytes] for document in documents]
        return np.array(rows, dtype=np.uint64).reshape(-1, 2).T

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> int:
        """The first hash that is too high: after as many bytes as come nearest to what was asked for."""
        hashes_D, bytes_D = np.concatenate([np.empty((2, 0), dtype=np.uint64), *notes], axis=1)
        places = np.argsort(hashes_D, kind="stable")
        sums = np.concatenate([[0], np.cumsum(bytes_D[places].astype(np.int64))])
        kept = int(np.argmin(np.abs(sums - self.bytes)))
        return int(hashes_D[places[kept]]) if kept < len(places) else ALL

    def apply(self, documents: Sequence[Document], told: int, first: int) -> list[Result]:
        return [
            Result([document]) if place < told else Result([], Measured("random", place / ALL, told / ALL))
            for document, place in zip(documents, map(_hash, documents), strict=True)
        ]


class Only:
    """Keeps documents whose originals are all in a file of ids (`write_ids`)."""

    name, rounds = "only", 0

    def __init__(self, path: Path) -> None:
        self.path, self.ids = path, frozenset(np.load(path).tolist())

    def key(self) -> dict[str, Any]:
        return {"version": 1, "ids": hashlib.sha256(self.path.read_bytes()).hexdigest()}

    def look(self, round: int, documents: Sequence[Document], told: Any) -> None: ...

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> None: ...

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        here = [all(one.encode() in self.ids for one in originals(document)) for document in documents]
        missing = Measured("only", 1, 0)
        return [
            Result([document]) if all_here else Result([], missing)
            for document, all_here in zip(documents, here, strict=True)
        ]


def originals(document: Document) -> Sequence[str]:
    """The ids of the documents that it was made of, or its own."""
    return document.meta.get("parents") or [document.meta["id"]]


def write_ids(path: Path, ids: Iterable[str]) -> None:
    """Equal ids, whatever their order, give equal bytes."""
    with path.open("wb") as file:
        np.save(file, np.array(sorted(set(ids)), dtype="S32"))


def _hash(document: Document) -> int:
    return int.from_bytes(hashlib.sha256(f"draw {document.meta['id']}".encode()).digest()[:8])
