"""Tables: .csv and .tsv with a line of names, .parquet, and what `dataset.save_to_disk` of Hugging Face leaves."""

import csv
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from ablate.corpus.document import Document
from ablate.corpus.readers.file import File
from ablate.corpus.readers.rows import Columns, Rows

if TYPE_CHECKING:
    import pyarrow

ROWS = 256  # of a table that are in memory at once
BUFFER = 1 << 20  # bytes of a column's pages that are read at once
LONGEST = 2**31 - 1  # characters of a field of .csv; Python's own limit is 131,072


def read_csv(file: File, columns: Columns) -> Iterator[Document]:
    return _delimited(file, columns, ",")


def read_tsv(file: File, columns: Columns) -> Iterator[Document]:
    return _delimited(file, columns, "\t")


def read_parquet(file: File, columns: Columns) -> Iterator[Document]:
    import pyarrow.parquet

    file.unit = "row"
    with _seekable(file) as stream:
        table = pyarrow.parquet.ParquetFile(stream, buffer_size=BUFFER)
        found = columns.among(file, table.schema_arrow.names)
        # Batches of the columns that are asked for; two schemas of one name are told apart above
        batches = table.iter_batches(batch_size=ROWS, columns=list(set(found.values())))
        yield from _arrow(file, columns, batches)


def read_saved(file: File, columns: Columns) -> Iterator[Document]:
    """The dataset whose state.json it is, which names its arrow files: caches beside them are left out."""
    import datasets  # half a second, so only for those who have such a folder

    file.unit = "row"
    rows = datasets.Dataset.load_from_disk(str(file.path.parent))
    rows.set_format("arrow", columns=list(set(columns.among(file, rows.column_names).values())))
    yield from _arrow(file, columns, rows.iter(ROWS))


def _delimited(file: File, columns: Columns, delimiter: str) -> Iterator[Document]:
    csv.field_size_limit(LONGEST)
    rows = Rows(file, columns)
    with file.opened() as stream:
        table = csv.reader(_decoded(file, stream), delimiter=delimiter, strict=True)
        names = next(table, [])
        columns.among(file, names)
        file.number = table.line_num + 1  # where the row begins: it may have line breaks
        for row in table:
            if row:
                if len(row) != len(names):
                    raise file.fault(f"{len(row)} fields, where the first line names {len(names)} columns")
                yield rows.document(dict(zip(names, row, strict=True)))
            file.number = table.line_num + 1


def _decoded(file: File, stream: IO[bytes]) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            file.number = number
            raise


def _arrow(
    file: File, columns: Columns, batches: Iterable["pyarrow.RecordBatch | pyarrow.Table"]
) -> Iterator[Document]:
    rows = Rows(file, columns)
    for batch in batches:
        for values in zip(*batch.columns, strict=True):  # a value at a time: a bad one is named by its row
            file.number += 1
            row: dict[str, Any] = {name: value.as_py() for name, value in zip(batch.schema.names, values, strict=True)}
            yield rows.document(row)


@contextmanager
def _seekable(file: File) -> Iterator[IO[bytes]]:
    """A compressed file on disk, decompressed: parquet is read from its end."""
    with file.opened() as stream, tempfile.TemporaryFile() as whole:
        if not file.compression:
            yield stream
        else:
            shutil.copyfileobj(stream, whole)
            yield whole
