"""What every kind of task is made with: held-out text in pieces, and items without a trace of which choice is right.

An item is a function of its key and its text: choices are ordered by a hash, so the right one may stand anywhere.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from ablate.corpus.document import Document, order_key
from ablate.run.evaluate import Task
from ablate.scores.items import Item

CONTEXT = 400  # characters of a document that stand before what is asked, at most
FEW_SOURCES = 8  # of a domain's held-out text; with fewer, documents stand in for sources
DOMAIN_BYTES = 4_000_000  # held-out text of a domain that a task is made of, at most
T = TypeVar("T", bound=tuple[Any, ...])
SENTENCE = re.compile(r"\S.*?(?:[.!?][\"'»”)\]]*(?=\s|$)|(?=\n\s*\n)|$)", re.DOTALL)


class Text(Protocol):
    """Held-out documents by domain: `data.heldout.HeldOut`."""

    @property
    def domains(self) -> tuple[str, ...]: ...

    def documents(self, domain: str) -> list[Document]: ...


class Place(NamedTuple):
    """A document, and how it is called in keys of items."""

    name: str
    document: Document


def places(task: Task, text: Text, domain: str) -> list[Place]:
    """The documents of a domain that a task is made of, in the order of the task's seed."""
    found = [Place(f"{domain}/{number}", each) for number, each in enumerate(text.documents(domain))]
    kept, left = [], DOMAIN_BYTES
    for place in ordered(found, task.seed):
        if left > 0:
            kept.append(place)
            left -= place.document.bytes
    return kept


def ordered(those: Iterable[T], seed: int) -> list[T]:
    """By a hash of the seed and the name, which is the first field: a longer list keeps the order of a shorter one."""
    return sorted(those, key=lambda one: order_key(f"{seed} {one[0]}"))


def before(text: str, end: int) -> str:
    """What stands before a place, from the beginning of a line or at least of a word."""
    start = end - CONTEXT
    if start <= 0:
        return text[:end]
    breaks = (text.find(mark, start, start + CONTEXT // 2) + 1 for mark in ("\n", " "))
    return text[next((place for place in breaks if place), start) : end]


def sentences(text: str) -> Iterator[re.Match[str]]:
    """Pieces that end in a full stop or with their paragraph."""
    return SENTENCE.finditer(text)


def item(key: str, source: str, context: str, right: str, wrong: Sequence[str]) -> Item:
    """White space at the end of the context becomes the beginning of every choice."""
    bare = context.rstrip()
    choices = sorted((context[len(bare) :] + choice for choice in (right, *wrong)), key=lambda c: order_key(key + c))
    assert len(set(choices)) == len(choices), (key, choices)
    return Item(key, source, bare, tuple(choices), choices.index(context[len(bare) :] + right))
