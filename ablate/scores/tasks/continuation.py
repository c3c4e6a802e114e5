"""The next sentence of held-out text, against three of its domain from other sources, or at least other documents.

All four are of one class of lengths, whose longest is at most 10 % longer than its shortest, and drawn from one pool:
lengths and common words say nothing about which is right. A sentence that stands in the pool twice is left out. Each
stands on one line, as how far its lines were set in would tell which document it is from.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Literal, NamedTuple

from ablate.corpus.document import order_key
from ablate.run.evaluate import Task
from ablate.run.fields import strict
from ablate.scores.items import Item
from ablate.scores.tasks.making import FEW_SOURCES, Place, Text, before, item, ordered, places, sentences

WRONG = 3
CLASS = 1.1  # the longest of a class by its shortest
LEAST_CONTEXT = 80  # characters
BYTES = {"sentence": (40, 240), "line": (24, 120)}  # shortest and longest piece


@strict
class Options:
    """What goes on."""

    unit: Literal["sentence", "line"] = "sentence"  # line: of code


class Piece(NamedTuple):
    name: str
    document: str
    source: str
    context: str  # with the white space that parts them
    text: str


def make(task: Task, options: Options, text: Text, wanted: int) -> list[Item]:
    made = []
    for domain in task.domains or text.domains:
        found = [piece for place in places(task, text, domain) for piece in _pieces(place, options.unit)]
        counts = Counter(piece.text.casefold() for piece in found)
        pool = ordered((piece for piece in found if counts[piece.text.casefold()] == 1), task.seed)
        classes = defaultdict(list)
        for piece in pool:
            classes[_class_of(piece)].append(piece)
        made += [(piece, wrong) for piece in pool if (wrong := _others(piece, classes[_class_of(piece)], task.seed))]
    drawn = sorted(made, key=lambda pair: order_key(f"{task.seed} {pair[0].name}"))[:wanted]
    return [item(piece.name, piece.source, piece.context, piece.text, wrong) for piece, wrong in drawn]


def _pieces(place: Place, unit: str) -> Iterator[Piece]:
    whole, (least, most) = place.document.text, BYTES[unit]
    found = sentences(whole) if unit == "sentence" else re.finditer(r"\S.*", whole)
    for match in found:
        text = " ".join(match[0].split()) if unit == "sentence" else match[0].rstrip()
        if match.start() >= LEAST_CONTEXT and least <= len(text.encode()) <= most:
            name = f"{place.name}/{match.start()}"
            yield Piece(name, place.name, place.document.source, before(whole, match.start()), text)


def _class_of(piece: Piece) -> int:
    return int(math.log(len(piece.text.encode())) / math.log(CLASS))


def _others(piece: Piece, peers: list[Piece], seed: int) -> list[str]:
    """Three of other sources; none where the class has no such three. Among few sources, other documents will do: the
    choices of a large source would else all be wrong in the items of a small one."""
    few = len({peer.source for peer in peers}) < FEW_SOURCES
    start = int.from_bytes(order_key(f"others {seed} {piece.name}")) % len(peers)
    others = [peer for peer in peers[start:] + peers[:start] if peer.document != piece.document]
    wrong = [peer.text for peer in others if few or peer.source != piece.source][:WRONG]
    return wrong if len(wrong) == WRONG else []
