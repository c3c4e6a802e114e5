"""Held-out documents drawn from shards, whole, here and there: shards say nothing of sources.

A place in the stream is drawn and the document after it is taken, so that no index of documents has to be read. A
document is what an end token closes; in shards without end tokens, what the index of the shard says.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from ablate.corpus.document import order_key
from ablate.data.formats import Shard
from ablate.data.mapped import Stream
from ablate.run.settings import UserError

LIMIT_BYTES = 16_000_000  # of a domain: more text makes no score surer
LOOK = 1 << 16  # ids read at once
LONGEST = 1 << 24  # ids of a document
TRIES = 10_000  # draws that give no new document, before there are taken to be no more


class Drawn(NamedTuple):
    """Ranges of a stream, in its order."""

    ranges: list[tuple[int, int]]
    closed: bool  # whether the documents end in the end token


def draw(domain: str, shards: Sequence[Shard], share: float, end: int, bytes_per_token: np.ndarray) -> Drawn:
    """Documents of about `share` of the tokens. Raises UserError if there are not two, or no telling where they end."""
    stream = Stream([piece for shard in shards for piece in shard.pieces])
    borders = [0, *accumulate(shard.size for shard in shards)]
    closed = bool((stream.checked(0, LONGEST, len(bytes_per_token)) == end).any())
    if not closed and any(shard.ends is None for shard in shards):
        raise UserError(
            f"domain {domain}: {shards[0].path} has neither end tokens ({end}) nor an index of its documents; hold out "
            "files of it, named validation*, or give data.held_out"
        )
    missing, left_bytes, failed, number = share * len(stream), LIMIT_BYTES, 0, 0
    found: dict[int, int] = {}
    while missing >= 1 and left_bytes > 0 and failed < TRIES:
        place = int.from_bytes(order_key(f"held out {number}")[:16]) % len(stream)
        number += 1
        which = bisect_right(borders, place) - 1
        span = (
            _closed(stream, place, borders[which + 1], end) if closed else _told(shards[which], place, borders[which])
        )
        if span is None or span[0] in found or span[1] - span[0] > 2 * missing:
            failed += 1
            continue
        found[span[0]], failed = span[1], 0
        missing -= span[1] - span[0]
        left_bytes -= int(bytes_per_token[stream.checked(*span, len(bytes_per_token))].sum())
    if not found:
        raise UserError(f"domain {domain}: no document of at most {2 * share:.0%} of its tokens; raise data.validation")
    return Drawn(sorted(found.items()), closed)


def _closed(stream: Stream, place: int, stop: int, end: int) -> tuple[int, int] | None:
    """The document after the one that `place` is in, if both end before `stop`."""
    first = _next(stream, place, stop, end)
    last = None if first is None else _next(stream, first + 1, stop, end)
    return None if first is None or last is None or last == first + 1 else (first + 1, last + 1)


def _next(stream: Stream, place: int, stop: int, end: int) -> int | None:
    for begin in range(place, min(stop, place + LONGEST), LOOK):
        if found := np.flatnonzero(stream[begin : min(begin + LOOK, stop)] == end)[:1].tolist():
            return begin + found[0]
    return None


def _told(shard: Shard, place: int, border: int) -> tuple[int, int] | None:
    assert shard.ends is not None
    which = int(np.searchsorted(shard.ends, place - border, side="right"))
    if which + 1 >= len(shard.ends) or shard.ends[which] == shard.ends[which + 1]:
        return None
    return border + int(shard.ends[which]), border + int(shard.ends[which + 1])
