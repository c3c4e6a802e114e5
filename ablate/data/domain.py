"""A domain of shards on its way into a corpus: what is held out of it, and the map and the numbers of its stream."""

import dataclasses
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ablate.data import mapped
from ablate.data.drawn import LIMIT_BYTES, Drawn, draw
from ablate.data.formats import Piece, Shard
from ablate.data.shards import shard_name, write
from ablate.data.verified import Look
from ablate.run.settings import UserError

if TYPE_CHECKING:
    from ablate.data.encoder import Encoder
    from ablate.data.tokens import Corpus

SAMPLE = 40  # documents that are decoded and encoded again
SAMPLE_IDS = 1 << 20  # of the beginning of the held-out stream, which they are taken from
LOOSE = 1024  # ids that are decoded where there are no documents
AGREE = 0.5  # share of their ids that have to come again

Ranges = list[tuple[int, int]]
NOTHING = Drawn([], closed=True)


@dataclasses.dataclass
class Domain:
    part: Path  # folder of the corpus
    name: str
    encoder: "Encoder"
    train: list[Shard] = dataclasses.field(default_factory=list)
    validation: list[Shard] = dataclasses.field(default_factory=list)  # held out by their names
    drawn: Drawn = NOTHING
    notes: list[str] = dataclasses.field(default_factory=list)
    maps: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    held_out: dict[str, int] = dataclasses.field(default_factory=dict)  # numbers

    @property
    def end(self) -> int:
        assert self.encoder.end is not None  # `tokenizer.read` says it politely
        return self.encoder.end

    @property
    def table(self) -> np.ndarray:
        return self.encoder.bytes_per_token

    def take(self, corpus: "Corpus") -> None:
        """Hold out what another corpus does."""
        self._write([corpus.tokens(self.name, "validation")])
        self.held_out = corpus.manifest["domains"][self.name]["validation"]

    def copy(self) -> None:
        """Hold out the shards that are named so, or the beginning of them if they are much text."""
        stream = mapped.Stream(pieces_of(self.validation))
        ids = stream.checked(0, LIMIT_BYTES, len(self.table))
        ids = ids[: np.searchsorted(np.cumsum(self.table[ids]), LIMIT_BYTES, side="right")]
        if len(ids) < len(stream):
            if last := np.flatnonzero(ids == self.end)[-1:].tolist():
                ids = ids[: last[0] + 1]
            self.notes.append(f"{self.name}: {len(ids):,} of {len(stream):,} held-out tokens are used")
        documents = [ids] if len(ids) and ids[-1] == self.end else [ids, np.array([self.end])]
        self.held_out = {**self._write(documents), "sources": len(self.validation)}

    def draw(self, share: float) -> None:
        """Hold out documents of the shards, which are left out of the stream."""
        self.drawn = draw(self.name, self.train, share, self.end, self.table)
        stream, closing = mapped.Stream(pieces_of(self.train)), np.array([self.end])
        documents = [stream[slice(*span)] for span in self.drawn.ranges]
        if not self.drawn.closed:
            documents = [part for document in documents for part in (document, closing)]
            self.notes.append(f"{self.name}: documents do not end in an end token")
        self.held_out = {**self._write(documents), "sources": len(self.drawn.ranges)}

    def _write(self, arrays: Sequence[np.ndarray]) -> dict[str, int]:
        path = self.part / shard_name(self.name, "validation")
        write(path, (array[:].astype(self.encoder.dtype).tobytes() for array in arrays))
        return self._counts(self.held_out_ids())

    def _counts(self, ids: np.ndarray) -> dict[str, int]:
        size = int(self.table[ids].sum(dtype=np.int64))
        return {"documents": int((ids == self.end).sum()), "bytes": size, "tokens": len(ids)}

    def held_out_ids(self) -> np.ndarray:
        return np.fromfile(self.part / shard_name(self.name, "validation"), dtype=self.encoder.dtype)

    def check_tokenizer(self) -> None:
        """Raises UserError if its held-out tokens are not of that tokenizer, or stand for other bytes than it has."""
        ids = self.held_out_ids()[:SAMPLE_IDS]
        ends = np.flatnonzero(ids == self.end)[: SAMPLE + 1].tolist()
        whole = [ids[a + 1 : b] for a, b in pairwise(ends)]
        again = [self._again(document) for document in whole or [ids[:LOOSE]]]
        size, right = sum(map(len, again)), sum(int(same.sum()) for same in again)
        if right < AGREE * size:
            raise UserError(
                f"data.tokenizer: of {size} tokens of domain {self.name}, decoded and encoded again, {right} are the "
                "same; is it the one that made the shards?"
            )
        for document in whole:
            text = self.encoder.tokenizer.decode(document.tolist(), skip_special_tokens=True)
            told, size = int(self.table[document].sum()), len(text.encode())
            if told != size:
                raise UserError(
                    f"data.tokenizer: its tokens stand for {told} of the {size} bytes of a document of domain "
                    f"{self.name}, so bits per byte would be wrong; shards of a byte-level tokenizer are needed"
                )

    def _again(self, ids: np.ndarray) -> np.ndarray:
        """Of each id of a document, whether it comes again, up to the first that does not."""
        ids = ids[self.table[ids] > 0]  # without tokens such as the first of a document
        text = self.encoder.tokenizer.decode(ids.tolist())
        found = np.array(self.encoder.tokenizer.encode(text, add_special_tokens=False).ids[: len(ids)], dtype=np.int64)
        found = np.pad(found, (0, len(ids) - len(found)), constant_values=-1)
        return np.logical_and.accumulate(found == ids)

    def finish(self, looks: dict[Path, Look], run: int, sampled: bool) -> dict[str, dict[str, int]]:
        """Write the map of the stream; returns the numbers of both splits. `run`: ids of a copied run."""
        copies = self._copies(looks, run)
        if sampled:
            share = size_of(copies) / sum(looks[shard.path].read for shard in self.train)
            self.notes.append(f"{self.name}: {share:.2%} of the samples are held-out text, which cannot be cut out")
            copies = []
        left = mapped.without(pieces_of(self.train), merged([*self.drawn.ranges, *copies]))
        files = {shard.path: looks[shard.path].file for shard in self.train}
        content, names = mapped.written(left, files, self.part)
        name = mapped.map_name(self.name, "train")
        write(self.part / name, [content])
        self.maps[name] = names
        return {"train": self._numbers(looks, copies), "validation": self.held_out}

    def _copies(self, looks: dict[Path, Look], run: int) -> Ranges:
        """Where held-out text repeats itself in the stream."""
        begins = accumulate([shard.size for shard in self.train], initial=0)
        pairs = zip(self.train, begins, strict=False)
        places = np.concatenate([looks[shard.path].copies + begin for shard, begin in pairs])
        if self.drawn.ranges:  # what is drawn is a copy of itself
            starts, stops = np.array(self.drawn.ranges).T
            after = np.minimum(np.searchsorted(stops, places, side="right"), len(stops) - 1)
            places = places[(starts[after] >= places + run) | (stops[after] <= places)]
        return merged([(place, place + run) for place in places.tolist()])

    def _numbers(self, looks: dict[Path, Look], copies: Ranges) -> dict[str, int]:
        """Of the stream; estimates if only samples of the shards were read."""
        tokens, read = sum(shard.size for shard in self.train), sum(looks[shard.path].read for shard in self.train)
        found = np.sum([looks[shard.path].counts_V for shard in self.train], axis=0)
        size, documents = (int(found @ self.table) * tokens // read, int(found[self.end]) * tokens // read)
        if not self.drawn.closed:
            documents = sum(len(shard.ends) for shard in self.train if shard.ends is not None)
        stream, drawn = mapped.Stream(pieces_of(self.train)), self.drawn.ranges
        copied = [self._counts(stream[slice(*span)]) for span in copies]
        drawn_bytes = sum(self._counts(stream[slice(*span)])["bytes"] for span in drawn)
        copied_bytes = sum(count["bytes"] for count in copied)
        return {
            "documents": documents - len(drawn) - sum(count["documents"] for count in copied),
            "sources": len(self.train),
            "bytes": size - drawn_bytes - copied_bytes,
            "tokens": tokens - size_of(drawn) - size_of(copies),
            "copies": len(copies),
            "copied_bytes": copied_bytes,
        }


def pieces_of(shards: Sequence[Shard]) -> list[Piece]:
    return [piece for shard in shards for piece in shard.pieces if piece.count]


def size_of(ranges: Ranges) -> int:
    return sum(stop - start for start, stop in ranges)


def merged(ranges: Ranges) -> Ranges:
    """Sorted; those that overlap are one."""
    found: Ranges = []
    for start, stop in sorted(ranges):
        if found and start < found[-1][1]:
            found[-1] = found[-1][0], max(stop, found[-1][1])
        else:
            found.append((start, stop))
    return found
