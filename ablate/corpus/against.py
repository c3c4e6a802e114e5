"""Text of evaluation sets in documents: runs of 13 words that an item and a document have in common.

An item is a row of a .jsonl or .json file, or a paragraph of a .txt file. A document goes if it holds more than
`against.share` of the runs of one item: whoever quotes a famous sentence that an item quotes too holds few of them.
Items of 8 to 12 words are compared in runs of 8; shorter ones are too short to tell.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ablate.corpus.document import clean
from ablate.corpus.words import Words, runs, words
from ablate.run.settings import UserError

LENGTHS = (13, 8)


class Table(NamedTuple):
    """Runs of one length of many items, sorted by run."""

    runs_N: np.ndarray  # uint64
    items_N: np.ndarray  # of each, the number of an item it is in


class Against:
    def __init__(self, paths: Sequence[str]) -> None:
        """Raises UserError for a file that is not there or not of a known form."""
        self.digests, self.names, texts, owners = [], [], [], []
        for path in map(Path, paths):
            content = _content(path)
            self.digests.append(hashlib.sha256(content).hexdigest())
            items = [leaves for item in _items(path, content) if (leaves := [*filter(None, map(clean, item))])]
            if not items:
                raise UserError(f"corpus.against: {path} has no text")
            for number, leaves in enumerate(items):
                owners += [len(self.names)] * len(leaves)
                texts += leaves
                self.names.append(f"{path.name}:{number + 1}")
        self.tables, self.sizes = _tables(texts, np.array(owners, dtype=np.int64), len(self.names))

    def shares(self, found: Words, documents: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each document the largest share of an item that is in it, and that item: float[D], int[D]."""
        shares_D, items_D = np.zeros(documents), np.zeros(documents, dtype=np.int64)
        if not self.names:
            return shares_D, items_D
        found = found.letters()
        for length, table in zip(LENGTHS, self.tables, strict=True):
            for document, runs_N in _hits(found, length, table):
                places = np.searchsorted(table.runs_N, runs_N), np.searchsorted(table.runs_N, runs_N, side="right")
                items = np.concatenate([table.items_N[first:last] for first, last in zip(*places, strict=True)])
                share = np.bincount(items, minlength=len(self.sizes)) / self.sizes
                if share.max() > shares_D[document]:
                    shares_D[document], items_D[document] = share.max(), int(share.argmax())
        return shares_D, items_D

    def passage(self, text: str, item: int) -> str:
        """The first run of an item that is in a text."""
        found = words([text]).letters()
        for length, table in zip(LENGTHS, self.tables, strict=True):
            hits = np.flatnonzero(np.isin(runs(found, length), table.runs_N[table.items_N == item]))
            if len(hits):
                first, last = found.starts_W[hits[0]], found.stops_W[hits[0] + length - 1]
                return text.encode()[first:last].decode(errors="ignore")
        return ""


def _hits(found: Words, length: int, table: Table) -> Iterator[tuple[int, np.ndarray]]:
    """Documents that have runs of the table, and which."""
    if len(table.runs_N):
        numbers_W = runs(found, length)
        places_W = np.minimum(np.searchsorted(table.runs_N, numbers_W), len(table.runs_N) - 1)
        hits = np.flatnonzero(table.runs_N[places_W] == numbers_W)
        for document in np.unique(found.documents_W[hits]):
            yield int(document), np.unique(numbers_W[hits[found.documents_W[hits] == document]])


def _tables(texts: Sequence[str], owners: np.ndarray, items: int) -> tuple[list[Table], np.ndarray]:
    """A table for each length, and how many runs each item has."""
    found = words(texts).letters()
    tables, sizes = [], np.zeros(items, dtype=np.int64)
    for length in LENGTHS:
        numbers_W = runs(found, length)
        places = np.flatnonzero(numbers_W)
        pairs = np.stack([numbers_W[places], owners[found.documents_W[places]].astype(np.uint64)], axis=1)
        pairs = np.unique(pairs[sizes[pairs[:, 1].astype(np.int64)] == 0], axis=0)  # long items have their runs already
        tables.append(Table(pairs[:, 0], pairs[:, 1].astype(np.int64)))
        sizes += np.bincount(tables[-1].items_N, minlength=items)
    return tables, np.maximum(1, sizes)


def _content(path: Path) -> bytes:
    if path.suffix not in (".jsonl", ".json", ".txt"):
        raise UserError(f"corpus.against: {path} must be a .jsonl, .json or .txt file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"corpus.against: {path}: {error.strerror}") from None


def _items(path: Path, content: bytes) -> Iterator[list[str]]:
    """The texts of each item."""
    try:
        text = content.decode("utf-8-sig")
        if path.suffix == ".txt":
            yield from ([part] for part in text.split("\n\n"))
            return
        lines = [text] if path.suffix == ".json" else [line for line in text.split("\n") if line.strip()]
        rows = [json.loads(line) for line in lines]
    except (ValueError, RecursionError) as error:  # what is not UTF-8 or JSON, and numbers of 5,000 digits
        raise UserError(f"corpus.against: {path} is not {path.suffix[1:]}: {error}") from None
    if path.suffix == ".json":
        [rows] = rows
        while isinstance(rows, dict) and len(rows) == 1:  # {"data": [...]}
            rows = next(iter(rows.values()))
        rows = rows if isinstance(rows, list) else [rows]
    yield from ([*_texts(row)] for row in rows)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
