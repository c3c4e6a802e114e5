"""Text from files of yours: one folder per domain (or the one that `data.sources` names), every row a document.

    corpora/                          data.root
        english/books.jsonl           one {"text": ..., "source": ...} a line
        english/web.parquet           columns text and, if known, source
        code/stack/state.json         what `dataset.save_to_disk("corpora/code/stack")` of Hugging Face leaves
        asian/notes.txt               the whole file is one document

`source` says which documents belong together (chapters of a book) and is the file's name where a row
has none. A file that cannot be read is an error that names the file and the line: silently skipped
rows would be an unrecorded change of the data. That is why the readers here are small and our own.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ablate.corpus.document import Document, order_key
from ablate.run.failures import first_line
from ablate.run.settings import Data, UserError


class Folder:
    """The source `folder`. Its methods raise OSError for folders that cannot be read, UserError for the rest."""

    def __init__(self, data: Data) -> None:
        self.root = Path(data.root)
        if not data.root or not self.root.is_dir():
            raise UserError(f"data.root={data.root}: must be a folder with one folder of text for each domain")
        self.files = {name: _files(self.root, domain, name) for domain, name in data.names.items()}

    def documents(self, name: str) -> Iterator[Document]:
        """Documents in the order of their hash, which neither names nor order of files can move."""
        documents = [document for path in self.files[name] for document in read_file(path)]
        yield from sorted(documents, key=lambda document: (order_key(document.text), document.source))

    def signature(self) -> dict[str, Any]:
        paths = sorted(path for files in self.files.values() for path in files)
        stats = {path.relative_to(self.root).as_posix(): path.stat() for path in paths}
        return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def read_file(path: Path) -> Iterator[Document]:
    """The documents of one file. Raises UserError naming the file and the line that cannot be read."""
    try:
        yield from READERS[_ending(path)](path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or first_line(error)}") from None


def read_jsonl(path: Path) -> Iterator[Document]:
    with path.open("rb") as file:
        yield from _json_lines(path, file)


def read_jsonl_gz(path: Path) -> Iterator[Document]:
    with gzip.open(path, "rb") as file:
        yield from _json_lines(path, file)


def read_txt(path: Path) -> Iterator[Document]:
    text = path.read_bytes()
    try:
        yield Document(text.decode("utf-8-sig"), path.name)
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8 ({error.reason})") from None


def read_parquet(path: Path) -> Iterator[Document]:
    import pyarrow
    import pyarrow.parquet

    row = 0
    try:
        with path.open("rb") as file:
            table = pyarrow.parquet.ParquetFile(file)
            columns = _columns(path, table.schema_arrow.names)
            for batch in table.iter_batches(columns=columns):
                for fields in zip(*batch.columns, strict=True):
                    row += 1
                    values = {name: field.as_py() for name, field in zip(columns, fields, strict=True)}
                    yield _document(path, f"row {row}", values)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, row {row}: not UTF-8 ({error.reason})") from None
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}, row {row + 1}: not a whole parquet file ({first_line(error)})") from None


def read_saved(path: Path) -> Iterator[Document]:
    """The dataset whose state.json is `path`; it names its arrow files, so caches beside them are left out."""
    import datasets  # half a second, so only for those who have such a folder
    import pyarrow

    row = 0
    try:
        rows = datasets.Dataset.load_from_disk(str(path.parent))
        rows = rows.select_columns(_columns(path, rows.column_names))
        for row, fields in enumerate(rows, start=1):
            yield _document(path, f"row {row}", fields)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, row {row + 1}: not UTF-8 ({error.reason})") from None
    except (json.JSONDecodeError, pyarrow.ArrowException) as error:
        raise UserError(f"{path}, row {row + 1}: not a whole dataset ({first_line(error)})") from None
    except OSError as error:
        raise UserError(f"{path}: {first_line(error)}") from None  # which names the missing part


READERS: dict[str, Callable[[Path], Iterator[Document]]] = {
    ".jsonl": read_jsonl,
    ".jsonl.gz": read_jsonl_gz,
    ".parquet": read_parquet,
    ".txt": read_txt,
    "/state.json": read_saved,
}


def _files(root: Path, domain: str, name: str) -> list[Path]:
    """Readable files of a domain's folder. Raises UserError when there is no such folder or nothing in it."""
    found = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if name not in found:
        choice = f"set data.domains=[{','.join(found)}] or some of these" if found else "it has no folders at all"
        choice += f", or data.sources.{domain}=<folder>" if found and name != domain else ""
        raise UserError(f"data.root={root}: has no folder {name!r}; {choice}")
    paths = sorted(path for path in _walk(root / name) if _ending(path))
    if not paths:
        raise UserError(f"domain {domain}: {root / name} has no file that ends in {', '.join(READERS)}")
    return paths


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, but hidden ones; unlike rglob, a folder that cannot be read is an error."""
    for path in folder.iterdir():
        if not path.name.startswith("."):
            yield from _walk(path) if path.is_dir() else [path]


def _ending(path: Path) -> str:
    return next((ending for ending in READERS if path.as_posix().endswith(ending)), "")


def _json_lines(path: Path, file: IO[bytes] | gzip.GzipFile) -> Iterator[Document]:
    number = 0
    try:
        for number, line in enumerate(file, start=1):
            # A byte-order mark can only stand at the beginning.
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if text.strip():
                yield _document(path, f"line {number}", json.loads(text))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, line {number}: not UTF-8 ({error.reason})") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {number}: not JSON ({error.msg}, column {error.colno})") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}, line {number + 1}: not a whole gzip file ({first_line(error)})") from None


def _document(path: Path, where: str, fields: Any) -> Document:
    """A row as a document. Raises UserError unless `text` (and `source`, if any) are strings."""
    if not isinstance(fields, dict) or "text" not in fields:
        keys = f"has {', '.join(fields)}" if isinstance(fields, dict) and fields else "has none"
        raise UserError(f"{path}, {where}: no field `text` ({keys})")
    text, source = fields["text"], fields.get("source")
    if not isinstance(text, str):
        raise UserError(f"{path}, {where}: `text` must be a string, not {type(text).__name__}")
    if source is not None and not isinstance(source, str):
        raise UserError(f"{path}, {where}: `source` must be a string, not {type(source).__name__}")
    return Document(text, source or path.name)


def _columns(path: Path, names: list[str]) -> list[str]:
    if "text" not in names:
        raise UserError(f"{path}: no column `text` (has {', '.join(names)})")
    return [name for name in ("text", "source") if name in names]
