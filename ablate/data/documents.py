"""Documents: cleaned, without exact duplicates, split into train and validation by source.

A document is one piece of text and the name of what it was taken from. Chapters of one book share
a source, so the split moves whole sources: no book is half trained on and half validated on.
Which sources are held out follows from their names and sizes alone, never from the order in which
the documents came:

    sources in the order of their hash    c (2%)   a (8%)   d (1%)   b (3%) ...
    held out of the asked 5%              c        -        d        -      ...

A source is held out when that brings the held-out bytes nearer to the share asked for; one that is
larger than twice what is still missing stays in train.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ablate.corpus.document import Document, clean, order_key
from ablate.run.settings import UserError


class Split(NamedTuple):
    train: list[Document]
    validation: list[Document]


def cleaned(documents: Iterable[Document]) -> Iterator[Document]:
    """Clean documents; those that are then empty or a repetition of an earlier one are dropped."""
    seen = set()
    for document in documents:
        text = clean(document.text)
        identity = hashlib.sha256(text.encode()).digest()
        if text and identity not in seen:
            seen.add(identity)
            yield document._replace(text=text)


def capped(documents: Iterable[Document], limit_bytes: int) -> Iterator[Document]:
    """The first `limit_bytes` of text, the last document cut to fit; 0: all of it."""
    left = limit_bytes or float("inf")
    for document in documents:
        if document.bytes > left:
            start = document.text.encode()[: int(left)].decode(errors="ignore").strip()
            if start:
                yield document._replace(text=start)
            return
        yield document
        left -= document.bytes
        if left <= 0:
            return


def split(domain: str, documents: list[Document], share: float) -> Split:
    """Train and validation, with about `share` of the bytes and at least one source in each.

    Raises UserError for a domain without documents or with a single source.
    """
    sizes: dict[str, int] = {}
    for document in documents:
        sizes[document.source] = sizes.get(document.source, 0) + document.bytes
    _check_sources(domain, sizes)
    held = held_out(sizes, share)
    train = [document for document in documents if document.source not in held]
    return Split(train, [document for document in documents if document.source in held])


def held_out(sizes: dict[str, int], share: float) -> set[str]:
    """Names of the sources to validate on: some, never all. `sizes`: bytes by source, two or more."""
    missing = share * sum(sizes.values())
    held = set()
    for name in sorted(sizes, key=order_key):
        if len(held) < len(sizes) - 1 and sizes[name] < 2 * missing:
            held.add(name)
            missing -= sizes[name]
    return held or {min(sizes, key=lambda name: (sizes[name], order_key(name)))}


def _check_sources(domain: str, sizes: dict[str, int]) -> None:
    if not sizes:
        raise UserError(f"domain {domain}: no text; every document is empty or there is none")
    if len(sizes) == 1:
        raise UserError(
            f"domain {domain}: all text is of one source ({next(iter(sizes))}), and train and validation "
            "are split by source: give the documents a `source`, use more files, or raise data.domain_bytes"
        )
