"""Documents on disk: a folder of parts, each a parquet file (zstd) of columns text, source and meta (JSON).

A part gets its name only when whole and synced; equal documents give equal bytes.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet

from ablate.corpus.document import Document

SCHEMA = pyarrow.schema([("text", pyarrow.large_string()), ("source", pyarrow.string()), ("meta", pyarrow.string())])
ROWS = 1000  # of a group: what a reader holds


def name_of(number: int) -> str:
    return f"part-{number:05d}.parquet"


def paths_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def write(path: Path, documents: Iterable[Document]) -> int:
    """Write a part; returns the number of its documents."""
    unfinished, count = path.with_suffix(".unfinished"), 0
    with unfinished.open("wb") as file:
        with pyarrow.parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
            for rows in _batches(documents):
                meta = [json.dumps(row.meta, sort_keys=True) if row.meta else "" for row in rows]
                columns = [[row.text for row in rows], [row.source for row in rows], meta]
                arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
                writer.write_batch(pyarrow.record_batch(arrays, schema=SCHEMA))
                count += len(rows)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    return count


def read(path: Path) -> Iterator[Document]:
    """The documents of a part, a group in memory at a time."""
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROWS):
            for text, source, meta in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield Document(text, source, json.loads(meta)) if meta else Document(text, source)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
