"""Pieces of many files read as one array of tokens, from where they lie; and the map of them, which a corpus keeps.

    a.ds  [=====|==|====]   b.ds  [======]          | |  held out, or a copy of what is: not part of the stream
           0   4    5  8           9    14

A slice within one piece is a view of the file, as with a single file; a slice over several is put together.
"""

import json
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ablate.data.formats import Piece, check_ids
from ablate.run.settings import UserError

OPEN_FILES = 200  # at once: a system allows a process some hundreds


class File(NamedTuple):
    """A file in the map of a stream."""

    size: int
    sha256: str


class Stream:
    """Pieces one after the other, as an array that can be sliced and picked from."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = list(pieces)
        self.stops = list(accumulate(piece.count for piece in pieces))
        self.dtype = np.result_type(*{piece.dtype for piece in pieces}) if pieces else np.dtype("<u2")
        self._bytes_of = lru_cache(OPEN_FILES)(lambda path: np.memmap(path, dtype=np.uint8, mode="r"))

    def __len__(self) -> int:
        return self.stops[-1] if self.stops else 0

    def __getitem__(self, key: slice | np.ndarray) -> np.ndarray:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            assert step == 1
            return self._between(start, stop)
        found = np.empty(np.shape(key), dtype=self.dtype)
        numbers = np.searchsorted(self.stops, key, side="right")
        for number in np.unique(numbers).tolist():
            mine = numbers == number
            found[mine] = self._ids(number)[key[mine] - self._start(number)]
        return found

    def checked(self, start: int, stop: int, vocabulary: int) -> np.ndarray:
        """A slice, whose ids have to be of the vocabulary."""
        for number in range(bisect_right(self.stops, start), len(self.pieces)):
            begin = self._start(number)
            if begin >= stop:
                break
            first = max(start - begin, 0)
            check_ids(self.pieces[number], first, self._ids(number)[first : stop - begin], vocabulary)
        return self[start:stop]

    def _between(self, start: int, stop: int) -> np.ndarray:
        number, parts = bisect_right(self.stops, start), []
        while start < stop:
            begin = self._start(number)
            last = min(stop, self.stops[number])
            parts.append(self._ids(number)[start - begin : last - begin])
            start, number = last, number + 1
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, dtype=self.dtype)

    def _start(self, number: int) -> int:
        return self.stops[number - 1] if number else 0

    def _ids(self, number: int) -> np.ndarray:
        path, offset, dtype, count = self.pieces[number]
        return self._bytes_of(path)[offset : offset + count * np.dtype(dtype).itemsize].view(dtype)


def without(pieces: Sequence[Piece], ranges: Sequence[tuple[int, int]]) -> list[Piece]:
    """The pieces without ranges of their stream, which are sorted and do not overlap."""
    left, begin, rest = [], 0, list(reversed(ranges))
    for piece in pieces:
        place, stop, item = begin, begin + piece.count, np.dtype(piece.dtype).itemsize
        while place < stop:
            while rest and rest[-1][1] <= place:
                rest.pop()
            first, last = rest[-1] if rest else (stop, stop)
            if place < first:
                until = min(first, stop)
                left.append(piece._replace(offset=piece.offset + (place - begin) * item, count=until - place))
                place = until
            else:
                place = min(last, stop)
        begin = stop
    return left


def map_name(domain: str, split: str) -> str:
    return f"{domain}.{split}.map"


def written(pieces: Sequence[Piece], files: dict[Path, File], folder: Path) -> tuple[bytes, list[str]]:
    """A map, which says what is in files and not what they are called; and their names, if not of `folder` in full."""
    paths = list(dict.fromkeys(piece.path for piece in pieces))
    number = {path: index for index, path in enumerate(paths)}
    places = [[number[piece.path], piece.offset, piece.dtype, piece.count] for piece in pieces]
    content = {"files": [files[path]._asdict() for path in paths], "pieces": places}
    names = [path.name if path.parent == folder else str(path.resolve()) for path in paths]
    return json.dumps(content, separators=(",", ":")).encode(), names


def files_of(folder: Path, maps: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Size and sha256 of all files that the maps of a corpus lead to, by name."""
    found = {}
    for name, names in maps.items():
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        found |= dict(zip(names, content["files"], strict=True))
    return found


def opened(path: Path, names: Sequence[str]) -> Any:
    """The stream of a map, an array if it is one piece. Raises UserError for a file that is gone or of another size."""
    content = json.loads(path.read_text(encoding="utf-8"))
    paths = [path.parent / name for name in names]  # absolute, unless the ids were written out beside the map
    for file, told in zip(paths, content["files"], strict=True):
        size = file.stat().st_size if file.exists() else None
        if size != told["size"]:
            now = f"has {size} bytes" if file.exists() else "is gone"
            raise UserError(f"{file}: {now}; it had {told['size']} when {path.parent} was prepared of it")
    pieces = [Piece(paths[number], *rest) for number, *rest in content["pieces"]]
    return pieces[0].ids() if len(pieces) == 1 else Stream(pieces)
