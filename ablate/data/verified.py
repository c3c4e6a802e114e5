"""Files of ids read once from the first byte to the last, before anything is trained on them.

Of each the sha256, how often each id occurs, and where it repeats held-out text are noted. Refused are an id that the
vocabulary does not have and a page of zeros: what is left of a page that never reached the disk, and text is never so.

    held out    [t0 ... t31] [t16 ... t47] [t32 ... t63]   of runs of 32 ids every 16th is kept
    training     ... t3 t4 t5 ...                          a run, wherever it begins, that is among those kept is a copy

So no 47 ids in a row are both held out and trained on, which are fewer than 50 words. A run is longer where ids stand
for so few bytes that 32 of them are a phrase. Of files that are too large to be read (`data.verify=sampled`) BLOCKS
blocks are looked at; then copies are counted and not found.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from ablate.corpus.words import among
from ablate.data.formats import Piece, Shard, check_ids
from ablate.data.mapped import File
from ablate.run.settings import UserError

BLOCK_BYTES = 1 << 20
BLOCKS = 64  # of a file, when it is sampled: the first, the last, and others evenly between
SAMPLED = "sampled"  # before the sha256 of these blocks
PAGE_BYTES = 4096
SHORTEST, RUN_BYTES = 32, 128  # ids that are compared at once: a power of two, and at least so many bytes of text
VARIED = 12  # different ids that a run has to have
CACHED = 1 << 15  # ids whose runs a processor keeps at hand
TABLE_BITS = 24  # of a run's number: most runs are none of those kept, as one look tells
FACTOR = 0x9E3779B97F4A7C15
MIXER = np.uint64(0xD6E8FEB86659FD93)


class Runs:
    """Held-out tokens, ready to be looked for."""

    def __init__(self, vocabulary: int, size: int, kept: np.ndarray | None = None) -> None:
        """`size`: ids of a run; `kept`: sorted numbers of runs."""
        self.size = size
        self.values = np.random.default_rng(0).integers(1 << 63, size=vocabulary, dtype=np.uint64)
        self.kept = np.empty(0, dtype=np.uint64) if kept is None else kept
        self.table = np.zeros(1 << TABLE_BITS, dtype=bool)
        self.table[_places(self.kept)] = True

    @classmethod
    def of(cls, streams: Sequence[np.ndarray], bytes_per_token: np.ndarray) -> Self:
        """`streams`: of held-out tokens."""
        vocabulary, step, size = len(bytes_per_token), BLOCK_BYTES, SHORTEST
        sample = np.concatenate([stream[:step] for stream in streams])
        while size * bytes_per_token[np.clip(sample, 0, vocabulary - 1)].mean() < RUN_BYTES:
            size *= 2
        blank = cls(vocabulary, size)
        chunks = (stream[at : at + step + size - 1] for stream in streams for at in range(0, len(stream), step))
        found = [blank._kept(np.clip(ids, 0, vocabulary - 1)) for ids in chunks]
        return cls(vocabulary, size, np.unique(np.concatenate([blank.kept, *found])))

    def within(self, ids: np.ndarray) -> np.ndarray:
        """Where runs begin that are among those kept."""
        found = [np.empty(0, dtype=np.intp)]
        for begin in range(0, len(ids), CACHED):
            numbers = self._numbers(ids[begin : begin + CACHED + self.size - 1])
            maybe = np.flatnonzero(self.table[_places(numbers)])
            found.append(begin + maybe[among(numbers[maybe], self.kept)])
        return np.concatenate(found)

    def _kept(self, ids: np.ndarray) -> np.ndarray:
        """Without runs of a few ids over and over: rules and gaps are in any text."""
        if len(ids) < self.size:
            return self.kept
        stride = self.size // 2
        runs = np.sort(np.lib.stride_tricks.sliding_window_view(ids, self.size)[::stride], axis=1)
        varied = (np.diff(runs, axis=1) != 0).sum(axis=1) + 1 >= VARIED
        return self._numbers(ids)[::stride][varied]

    def _numbers(self, ids: np.ndarray) -> np.ndarray:
        """A number for the run that begins at each id, a polynomial of the numbers of its ids."""
        numbers, size = self.values[ids], 1
        while size < self.size:
            if len(numbers) <= size:
                return numbers[:0]
            numbers = numbers[:-size] * np.uint64(pow(FACTOR, size, 1 << 64)) + numbers[size:]
            size *= 2
        numbers = (numbers ^ (numbers >> np.uint64(32))) * MIXER
        return numbers ^ (numbers >> np.uint64(29))


class Look(NamedTuple):
    """What a shard was found to be."""

    file: File
    counts_V: np.ndarray  # how often each id occurs in what was read
    read: int  # ids
    copies: np.ndarray  # ids at which copies of held-out runs begin


class Reader:
    """Reads shards, several at once."""

    def __init__(self, vocabulary: int, runs: Runs, sampled: bool, tell: Callable[[int], None]) -> None:
        """`tell` is told of every block, how many bytes it had."""
        self.vocabulary, self.runs, self.sampled, self.tell = vocabulary, runs, sampled, tell
        self.stopped = threading.Event()

    def look(self, shards: Sequence[Shard]) -> list[Look]:
        """Raises UserError naming the first file and place that no text can be of."""
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            try:
                return list(threads.map(self._look, shards))
            finally:
                self.stopped.set()

    def size(self, shard: Shard) -> int:
        """Bytes that will be read of it."""
        size = shard.path.stat().st_size
        return min(size, BLOCKS * BLOCK_BYTES) if self.sampled else size

    def _look(self, shard: Shard) -> Look:
        digest, size = hashlib.sha256(), shard.path.stat().st_size
        counts_V, read, copies = np.zeros(self.vocabulary, dtype=np.int64), 0, []
        starts = np.concatenate([[0], np.cumsum([piece.count for piece in shard.pieces])])
        with shard.path.open("rb") as file:
            for place in self._blocks(size):
                file.seek(place)
                block = file.read(BLOCK_BYTES)
                digest.update(block)
                for number, first, ids in _within(shard, place, block):
                    self._check(shard.pieces[number], first, ids)
                    ids = ids.astype(np.intp)
                    counts_V += np.bincount(ids, minlength=self.vocabulary)
                    read += len(ids)
                    copies.append(self._copies(shard.pieces[number], first, ids) + int(starts[number]) + first)
                self.tell(len(block))
        name = f"{SAMPLED} {size} {digest.hexdigest()}" if self.sampled else digest.hexdigest()
        return Look(File(size, name), counts_V, read, np.concatenate([np.empty(0, dtype=np.int64), *copies]))

    def _blocks(self, size: int) -> Iterator[int]:
        for place in _samples(size) if self.sampled else range(0, size, BLOCK_BYTES):
            if self.stopped.is_set():
                return
            yield place

    def _check(self, piece: Piece, first: int, ids: np.ndarray) -> None:
        """`ids` are those of the piece from the one of number `first` on."""
        item = ids.dtype.itemsize
        check_ids(piece, first, ids, self.vocabulary)
        begin = -(piece.offset + first * item) % PAGE_BYTES // item  # pages of the file, not of the ids
        per_page = PAGE_BYTES // item
        pages = ids[begin : begin + (len(ids) - begin) // per_page * per_page].reshape(-1, per_page)
        if empty := np.flatnonzero(~pages.any(axis=1))[:1].tolist():
            place = first + begin + empty[0] * per_page
            raise UserError(
                f"{piece.path}: {PAGE_BYTES} bytes from place {place} on are all 0, which no text is; copy it again"
            )

    def _copies(self, piece: Piece, first: int, ids: np.ndarray) -> np.ndarray:
        if not len(self.runs.kept):
            return np.empty(0, dtype=np.intp)
        last = first + len(ids)
        following = piece.ids()[last : last + self.runs.size - 1].astype(np.intp)  # a run may end in the next block
        return self.runs.within(np.concatenate([ids, np.clip(following, 0, self.vocabulary - 1)]))


def sampled_sha256_of(path: Path) -> str:
    """What a file is known by that was looked at in samples."""
    digest, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        for place in _samples(size):
            file.seek(place)
            digest.update(file.read(BLOCK_BYTES))
    return f"{SAMPLED} {size} {digest.hexdigest()}"


def _samples(size: int) -> Sequence[int]:
    """Bytes at which blocks begin."""
    starts = range(0, size, BLOCK_BYTES)
    if len(starts) <= BLOCKS:
        return starts
    return [starts[place] for place in np.linspace(0, len(starts) - 1, BLOCKS).astype(int).tolist()]


def _within(shard: Shard, place: int, block: bytes) -> Iterator[tuple[int, int, np.ndarray]]:
    """The ids of the block that begins at byte `place`, with the number of their piece and of the first in it."""
    for number, piece in enumerate(shard.pieces):
        item = np.dtype(piece.dtype).itemsize
        start, stop = max(piece.offset, place), min(piece.offset + piece.count * item, place + len(block))
        start += -(start - piece.offset) % item
        stop -= (stop - piece.offset) % item
        if start < stop:
            ids = np.frombuffer(block, piece.dtype, (stop - start) // item, start - place)
            yield number, (start - piece.offset) // item, ids


def _places(numbers: np.ndarray) -> np.ndarray:
    return (numbers >> np.uint64(64 - TABLE_BITS)).astype(np.int64)
