"""Documents on disk: a folder of parts, each a parquet file (zstd) of columns text, source and meta (JSON).

A part gets its name only when whole and synced; equal documents give equal bytes.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ablate.corpus.arrow import pyarrow
from ablate.corpus.document import Document
from ablate.run.files import appear, unfinished

SCHEMA = pyarrow.schema([("text", pyarrow.large_string()), ("source", pyarrow.string()), ("meta", pyarrow.string())])
OFFSETS = {pyarrow.string(): np.int32, pyarrow.large_string(): np.int64}
ROWS, GROUP_CHARS = 1000, 4_000_000  # of a group at most, or one row: what a reader holds


def name_of(number: int) -> str:
    return f"part-{number:05d}.parquet"


def paths_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


class Writer:
    """A parquet file of rows, written as they come; it gets its name when all are written."""

    def __init__(self, path: Path, schema: pyarrow.Schema) -> None:
        # two processes may be at one part for a while, where one is taken for dead and is not
        self.path, self.unfinished = path, unfinished(path)
        self.schema, self.rows, self.chars, self.count = schema, list[tuple[Any, ...]](), 0, 0

    def __enter__(self) -> Self:
        self.file = self.unfinished.open("wb")
        self.table = pyarrow.parquet.ParquetWriter(self.file, self.schema, compression="zstd")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind:
            with contextlib.suppress(OSError):  # of a full disk; pyarrow would close it later, and say so
                self.table.close()
            self.file.close()
            self.unfinished.unlink()
            return
        self._flush()
        self.table.close()
        self.file.close()
        appear(self.unfinished, self.path)

    def add(self, *row: Any) -> None:
        self.rows.append(row)
        self.count += 1
        self.chars += sum(len(value) for value in row if isinstance(value, str))
        if len(self.rows) == ROWS or self.chars >= GROUP_CHARS:
            self._flush()

    def _flush(self) -> None:
        if self.rows:
            columns = zip(*self.rows, strict=True)
            arrays = [_array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
            self.table.write_batch(pyarrow.record_batch(arrays, schema=self.schema))
            self.rows, self.chars = [], 0


def _array(column: Sequence[Any], kind: pyarrow.DataType) -> pyarrow.Array:
    """Of a column without gaps. `pyarrow.array` would import pandas, 25 MB in every process."""
    if kind not in OFFSETS:
        buffers = [np.array(column, dtype=kind.to_pandas_dtype())]
    else:
        encoded = [text.encode() for text in column]
        buffers = [np.cumsum([0, *map(len, encoded)], dtype=OFFSETS[kind]), b"".join(encoded)]
    return pyarrow.Array.from_buffers(kind, len(column), [None, *map(pyarrow.py_buffer, buffers)])


def write(path: Path, documents: Iterable[Document]) -> int:
    """Write a part; returns the number of its documents."""
    with Writer(path, SCHEMA) as part:
        for text, source, meta in documents:
            part.add(text, source, json.dumps(meta, sort_keys=True) if meta else "")
    return part.count


def read(path: Path) -> Iterator[Document]:
    """The documents of a part, a group in memory at a time."""
    with pyarrow.parquet.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            group = file.read_row_group(number, use_threads=False)  # each thread would keep memory of its own
            for text, source, meta in zip(*(column.to_pylist() for column in group.columns), strict=True):
                yield Document(text, source, json.loads(meta)) if meta else Document(text, source)


def count(path: Path) -> int:
    """How many documents a part has."""
    return pyarrow.parquet.read_metadata(path).num_rows
