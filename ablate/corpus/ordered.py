"""Documents in the order of the hash of their text, which neither names nor order of files can move, in little memory.

They are divided by the first byte of the hash, and each division is sorted. What exceeds `HELD_BYTES` waits in a
temporary folder (TMPDIR says where), which grows as large as the text.
"""

import itertools
import pickle
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ablate.corpus.document import Document, order_key
from ablate.run.settings import UserError

DEPTH = 3  # how often a division that is too large is divided again: enough for a petabyte
HELD_BYTES = 32_000_000  # of text in memory, while it is divided and while a division is sorted


class _Record(NamedTuple):
    key: bytes
    source: str
    text: bytes  # UTF-8; a str with a single emoji takes four times as much
    meta: Any


def ordered(documents: Iterable[Document]) -> Iterator[Document]:
    """Raises UserError where the temporary folder cannot be written, such as on a full disk."""
    for record in _ordered(map(_record, documents), depth=0):
        yield Document(record.text.decode("utf-8", "surrogatepass"), record.source, record.meta)


def _record(document: Document) -> _Record:
    text = document.text.encode("utf-8", "surrogatepass")
    return _Record(order_key(document.text), document.source, text, document.meta)


def _ordered(records: Iterable[_Record], depth: int) -> Iterator[_Record]:
    divisions: list[list[_Record]] = [[] for _ in range(256)]
    held = 0
    with tempfile.TemporaryDirectory(prefix="ablate-") as folder:
        paths = [Path(folder, f"{first:02x}") for first in range(256)]
        for record in records:
            divisions[record.key[depth]].append(record)
            held += len(record.text)
            if held > HELD_BYTES:
                _write(paths, divisions)
                held = 0
        for path, division in zip(paths, divisions, strict=True):
            waiting = itertools.chain(_read(path), division)
            too_large = path.exists() and path.stat().st_size > HELD_BYTES
            yield from _ordered(waiting, depth + 1) if too_large and depth < DEPTH else sorted(waiting, key=_place)
            division.clear()
            path.unlink(missing_ok=True)


def _place(record: _Record) -> tuple[bytes, str]:
    return record.key, record.source


def _write(paths: Sequence[Path], divisions: Sequence[list[_Record]]) -> None:
    for path, division in zip(paths, divisions, strict=True):
        if division:
            try:
                with path.open("ab") as file:
                    for record in division:
                        pickle.dump(tuple(record), file, pickle.HIGHEST_PROTOCOL)
            except OSError as error:
                said = f"{error.strerror}; TMPDIR names a place with room for all text"
                raise UserError(f"{path.parent}: {said}") from None
            division.clear()


def _read(path: Path) -> Iterator[_Record]:
    if path.exists():
        with path.open("rb") as file:
            while file.peek(1):
                yield _Record(*pickle.load(file))
