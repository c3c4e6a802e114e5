"""The text of a domain on disk, between its source and its tokens: memory follows the batch, never the text.

    part-00000.parquet    documents as they came from the source, clean and none twice
    part-00000.npz        written after it: what came by while the part was filled
    whole                 there is no more; how many documents were left out although they have parts of their own
    held.parquet          the documents of the sources that are held out, none twice
    held.npy              keys of these sources, written last

Reading that was killed goes on behind its last part: the source begins again, and what it gave before is passed over.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from ablate.corpus import parts
from ablate.corpus.document import Document
from ablate.data.documents import Repeats, Seen, batches, capped, cleaned, first_seen, held_out, key
from ablate.data.shards import write, write_table, write_tables
from ablate.run.settings import UserError

NO_LIMIT = 1 << 62  # bytes
HELD = "held.npy"


class Portion(NamedTuple):
    """The documents of a part, but those of some sources."""

    path: Path
    without: Path | None = None  # keys of the sources that are left out

    def documents(self) -> Iterator[Document]:
        if self.without is None:
            return parts.read(self.path)
        without = set(np.load(self.without).tolist())
        return (document for document in parts.read(self.path) if key(document.source) not in without)


class Split(NamedTuple):
    train: list[Portion]
    validation: list[Portion]


class Table(NamedTuple):
    """What came by while a part was filled."""

    read: int  # documents that the source had given when it was full
    left: int  # bytes of the limit that were left then
    other: int  # documents left out until then that have other parts than the one of their text that stays
    seen: np.ndarray  # keys of texts, and of what has parts, that had not come by before
    sources: np.ndarray  # keys, of each document in the part
    bytes: np.ndarray  # of each document in the part

    @classmethod
    def load(cls, path: Path) -> Self:
        with np.load(path) as file:
            read, left, other = (int(file[name]) for name in ("read", "left", "other"))
            return cls(read, left, other, file["seen"], file["sources"], file["bytes"])


def fill(
    folder: Path,
    documents: Iterable[Document],
    mine: Callable[[Document], bool],
    limit: int,
    part_bytes: int,
    once: bool = True,
) -> None:
    """Write the documents that are `mine` as parts of about `part_bytes` of text; `limit` bytes in all, 0: no limit.

    `once`: a text that comes again is left out.
    """
    if (folder / "whole").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tables = _tables(folder)
    reader = _Reader(documents, mine, limit or NO_LIMIT, tables, once)
    for number in itertools.count(len(tables)):
        stream = reader.part(part_bytes)
        if (first := next(stream, None)) is None:
            break
        path = folder / parts.name_of(number)
        parts.write(path, itertools.chain([first], stream))
        write_tables(path.with_suffix(".npz"), **reader.table()._asdict())
    write(folder / "whole", [str(reader.other).encode()])


def split(folder: Path, domain: str, share: float) -> Split:
    """The text without the sources that are held out, and that of these: about `share` of the bytes.

    Raises UserError for a domain without documents or with a single source.
    """
    if not (folder / HELD).exists():
        tables = _tables(folder)
        keys_S, sources_D = np.unique(_joined(tables, "sources"), return_inverse=True)
        sizes_S = np.bincount(sources_D, _joined(tables, "bytes"), len(keys_S)).astype(np.int64)
        _check_sources(folder, domain, len(keys_S))
        held = held_out(keys_S, sizes_S, share)
        wanted, paths = set(held.tolist()), parts.paths_of(folder)
        found = (d for path in paths for d in parts.read(path) if key(d.source) in wanted)
        parts.write(folder / "held.parquet", cleaned(found))  # whoever is scored on a text twice has it count twice
        write_table(folder / HELD, held)
    return without(folder, domain)._replace(validation=[Portion(folder / "held.parquet")])


def without(folder: Path, domain: str) -> Split:
    """The text without the sources of which HELD has the keys. Raises UserError for a domain without documents."""
    paths = parts.paths_of(folder)
    _check_sources(folder, domain, len(paths) and 2)
    return Split([Portion(path, folder / HELD) for path in paths], [])


def size_of(folder: Path) -> int:
    """Bytes of all text."""
    return int(_joined(_tables(folder), "bytes").sum())


def other_parts(folder: Path) -> int:
    """Documents left out of it whose text stays with other parts."""
    return int((folder / "whole").read_text())


class _Reader:
    """What a source gives, from where the last table was written."""

    def __init__(
        self,
        documents: Iterable[Document],
        mine: Callable[[Document], bool],
        limit: int,
        tables: list[Table],
        once: bool,
    ) -> None:
        self.read, self.left, self.other = tables[-1][:3] if tables else (0, limit, 0)
        self.mine, self.seen = mine, Seen() if once else Repeats()
        for table in tables:
            self.seen.new(table.seen)
        self.batches = batches(itertools.islice(documents, self.read, None))

    def part(self, part_bytes: int) -> Iterator[Document]:
        """The documents of the next part; `table` says what came by."""
        self.new, self.sources, self.bytes, left = list[np.ndarray](), list[int](), list[int](), self.left
        while self.left > max(0, left - part_bytes) and (batch := next(self.batches, None)):
            new, keys_D, other = first_seen(batch, self.seen)
            own = [document for document in new if self.mine(document)]
            self.read += len(batch)
            self.other += other
            self.new.append(keys_D)
            for document in capped(own, self.left):
                self.sources.append(key(document.source))
                self.bytes.append(document.bytes)
                yield document
            self.left -= sum(document.bytes for document in own)

    def table(self) -> Table:
        sources, sizes = np.array(self.sources, dtype=np.uint64), np.array(self.bytes, dtype=np.int64)
        return Table(self.read, self.left, self.other, np.concatenate(self.new), sources, sizes)


def _tables(folder: Path) -> list[Table]:
    return [Table.load(path) for path in sorted(folder.glob("part-*.npz"))]


def _joined(tables: list[Table], what: str) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype=np.uint64), *(getattr(table, what) for table in tables)])


def _check_sources(folder: Path, domain: str, sources: int) -> None:
    if not sources:
        raise UserError(f"domain {domain}: no text; every document is empty or there is none")
    if sources == 1:
        only = next(parts.read(parts.paths_of(folder)[0])).source
        raise UserError(
            f"domain {domain}: all text is of one source ({only}), and train and validation "
            "are split by source: give the documents a `source`, use more files, or raise data.domain_bytes"
        )
