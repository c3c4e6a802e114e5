"""What became of a domain on its way through the levels: read from the folders that flows left, in their order.

waterfall(folders)            bars: as read, what each rule removed, what was rewritten or made, what is left
examples(folders, rule)       documents that went, and some that nearly went, with what told
costs(folders)                what a teacher was paid for it
"""

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ablate.corpus import flow
from ablate.corpus.arrow import pyarrow
from ablate.corpus.document import order_key
from ablate.corpus.step import Measured

TEACHER = "teacher."  # counts of what a teacher did begin with it
PAID = ("requests", "prompt_tokens", "reply_tokens", "estimated_tokens")  # of a teacher, in the order they are shown


class Bar(NamedTuple):
    """One row of a waterfall: `bytes` that were there before, and after."""

    what: str  # read, removed, changed, made or left
    label: str
    level: int
    documents: int
    before: int
    after: int

    @property
    def bytes(self) -> int:
        """Of the text that is there, or that went or came."""
        return self.after if self.what in ("read", "left") else self.after - self.before


class Example(NamedTuple):
    """A document that a rule judged; `text` is some of it, around the evidence where that is in it."""

    rule: str
    value: float
    bound: float
    evidence: str
    id: str
    source: str
    text: str
    bytes: int

    @property
    def reached(self) -> float:
        """How near the bound the document came; above 1 it is beyond."""
        return Measured(self.rule, self.value, self.bound).reached


class Rule(NamedTuple):
    """What a rule removed, in all, and examples: of what went those nearest to the bound and some at random."""

    name: str
    level: int
    documents: int
    bytes: int
    share: float  # of the bytes that the domain had at level 0
    barely: Sequence[Example]
    others: Sequence[Example]
    nearly: Sequence[Example]  # stayed


def waterfall(folders: Sequence[Path]) -> list[Bar]:
    """From what came in to what is left; nothing of a domain without folders."""
    bars: list[Bar] = []
    for folder in folders:
        level = flow.manifest_of(folder)["level"]
        for count in flow.counts_of(folder):
            if not bars:
                bars.append(Bar("read", "as read", 0, count.documents, 0, count.bytes))
            now = count.bytes
            for rule, (documents, size) in sorted(count.removed.items(), key=lambda one: -one[1][1]):
                bars.append(Bar("removed", rule, level, documents, now, now - size))
                now -= size
            if now != count.left_bytes:
                what = "made" if count.made else "changed"
                bars.append(Bar(what, count.step, level, count.made or count.changed, now, count.left_bytes))
    if folders:
        last = flow.manifest_of(folders[-1])
        bars.append(Bar("left", "left", last["level"], last["documents"], 0, last["bytes"]))
    return bars


def rules(folders: Sequence[Path], shown: int, only: str = "") -> list[Rule]:
    """The rules that removed or nearly removed a document, those that removed most first, with examples.

    `only`: the rules whose names begin so.
    """
    whole = max(1, flow.counts_of(folders[0])[0].bytes) if folders else 1
    found = []
    for folder in folders:
        went = {rule: pair for count in flow.counts_of(folder) for rule, pair in count.removed.items()}
        nearly = _picked(folder, "near", shown)
        barely, others = _picked(folder, "removed", shown), _picked(folder, "removed", shown, by_chance=True)
        for rule in {*went, *nearly}:
            documents, size = went.get(rule, (0, 0))
            by_chance = [one for one in others.get(rule, []) if one not in barely[rule]]
            examples = barely.get(rule, []), by_chance, nearly.get(rule, [])
            found.append(Rule(rule, flow.manifest_of(folder)["level"], documents, size, size / whole, *examples))
    return sorted((one for one in found if one.name.startswith(only)), key=lambda one: (-one.bytes, one.name))


def costs(folders: Sequence[Path]) -> dict[str, float]:
    """Sums of what was noted of a teacher: requests, tokens and the like."""
    found: dict[str, float] = {}
    for folder in folders:
        for count in flow.counts_of(folder):
            for name, value in count.noted.items():
                if name.startswith(TEACHER):
                    found[name.removeprefix(TEACHER)] = found.get(name.removeprefix(TEACHER), 0) + value
    return found


def in_words(costs: dict[str, float]) -> str:
    """12 requests, 3,400 prompt tokens, 560 reply tokens"""
    return ", ".join(f"{costs[name]:,.0f} {name.replace('_', ' ')}" for name in PAID if name in costs)


def noted(folders: Sequence[Path]) -> dict[str, float]:
    """What else steps counted, summed where two counted the same."""
    found: dict[str, float] = {}
    for folder in folders:
        for count in flow.counts_of(folder):
            for name, value in count.noted.items():
                if not name.startswith(TEACHER):
                    found[name] = found.get(name, 0) + value
    return found


def _picked(folder: Path, what: str, shown: int, by_chance: bool = False) -> dict[str, list[Example]]:
    """Of each rule the examples nearest to its bound, or some that nothing but the hash of their id has picked."""
    picked: dict[str, list[tuple[Any, str, Example]]] = {}
    for example in _examples(folder, what):
        near = example.reached if what == "removed" else -example.reached
        place = int.from_bytes(order_key(example.id)[:8]) if by_chance else near
        heap = picked.setdefault(example.rule, [])
        if any(example.id == other for _, other, _ in heap):  # the same text of the same source, more than once
            continue
        heapq.heappush(heap, (-place, example.id, example))  # the largest place goes first
        if len(heap) > shown:
            heapq.heappop(heap)
    return {rule: [example for *_, example in sorted(heap, reverse=True)] for rule, heap in picked.items()}


def _examples(folder: Path, what: str) -> Iterator[Example]:
    for path in sorted(folder.glob(f"{what}-*.parquet")):
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=list(Example._fields)):
                for row in batch.to_pylist():
                    yield Example(**row)
