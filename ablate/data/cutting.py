"""Parts of documents cut into tokens, each part by itself, in any process; then joined in their order.

00007.bin    tokens of a part, each document closed by the end token: what is there is whole
00007.npz    written before it: how much text it is, of which sources
00007.marks  likewise, where documents have parts: a byte a token, 1 if it counts
"""

import functools
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ablate.corpus import chat, turns
from ablate.corpus.copies import Copies
from ablate.corpus.document import Document
from ablate.corpus.turns import Part
from ablate.data import pairs
from ablate.data.documents import batches, keys
from ablate.data.encoder import Encoder
from ablate.data.shards import MARKS, blocks_of, write, write_tables
from ablate.data.spool import Portion
from ablate.data.tokenizer import load
from ablate.run.settings import UserError

BATCH_BYTES = 4_000_000  # of text tokenised at once


class Task(NamedTuple):
    """A part to be cut into tokens."""

    domain: str
    split: str
    portion: Portion
    into: Path


@dataclass
class Counts:
    """Of documents that were cut into tokens, and of what was cut out of them before, for it is held out."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0
    copies: int = 0  # documents of which something went
    copied_bytes: int = 0
    parted: int = 0  # documents that have parts
    counted: int = 0  # tokens that count; all, unless documents have parts
    chats: int = 0  # documents that a chat template wrote
    left_out: int = 0  # pairs that do not fit into a span, or have equal responses

    def add(self, other: dict[str, int]) -> None:
        for name, value in other.items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class Cutting:
    """The work, part by part. `copies`: of the held-out text, which leaves training text."""

    tasks: Sequence[Task]
    tokenizer: Path
    vocabulary: int
    copies: Path
    counting: Mapping[str, Collection[str] | None] = field(default_factory=dict)  # roles that count, by domain
    pairs: int = 0  # where documents are pairs, the tokens of one

    def __call__(self, number: int) -> None:
        if not self.done(number):
            task = self.tasks[number]
            write(task.into, self._blocks(task))

    def done(self, number: int) -> bool:
        return self.tasks[number].into.exists()

    def _blocks(self, task: Task) -> Iterator[bytes]:
        encoder = encoder_of(self.tokenizer, self.vocabulary)
        counts, sources, token_bytes = Counts(), [np.empty(0, dtype=np.uint64)], 0
        marks = list[np.ndarray | int]()  # or how many tokens, which all count
        for read in batches(task.portion.documents(), BATCH_BYTES):
            documents = self._without_copies(task, read, counts)
            if self.pairs:
                there = len(documents)
                documents, tokens, marks_T = pairs.encoded(encoder, documents, task.domain, self.pairs)
                counts.left_out += there - len(documents)
            else:
                tokens, marks_T = self._encoded(encoder, documents, task.domain)
            token_bytes += int(encoder.bytes_per_token[tokens].sum(dtype=np.int64))
            size = sum(document.bytes for document in documents)
            counts.add({"documents": len(documents), "bytes": size, "tokens": len(tokens)})
            counts.parted += sum(map(turns.has_parts, documents))
            counts.chats += sum(map(chat.is_chat, documents))
            counts.counted += len(tokens) if marks_T is None else int(marks_T.sum())
            marks.append(len(tokens) if marks_T is None else marks_T)
            sources.append(np.unique(keys(document.source for document in documents)))
            yield tokens.tobytes()
        _check_bytes(task.domain, counts.bytes, token_bytes)
        if not all(isinstance(one, int) for one in marks):
            blocks = (np.ones(one, dtype=np.uint8) if isinstance(one, int) else one for one in marks)
            write(task.into.with_suffix(MARKS), (block.tobytes() for block in blocks))
        write_tables(task.into.with_suffix(".npz"), sources=np.unique(np.concatenate(sources)), **vars(counts))

    def _encoded(
        self, encoder: Encoder, documents: list[Document], domain: str
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The tokens of documents, each closed by the end token, and which of them count; None: all.

        Whatever counts, the tokens are the same.
        """
        if not any(map(turns.has_parts, documents)):
            return encoder.encode([document.text for document in documents], domain), None
        whole = [turns.parts_of(d, domain) if turns.has_parts(d) else [Part("", d.text)] for d in documents]
        roles = self.counting.get(domain, turns.ANSWERING)
        found = iter(encoder.ids([part.text for parts in whole for part in parts], domain))
        ids, marks = list[int](), list[int]()
        for parts in whole:
            for part in parts:
                ids += (of_part := next(found))
                marks += [roles is None or part.role in roles or not part.role] * len(of_part)
            ids.append(encoder.end)
            marks.append(marks[-1])
        tokens = np.array(ids, dtype=encoder.dtype)
        return tokens, None if roles is None else np.array(marks, dtype=np.uint8)

    def _without_copies(self, task: Task, documents: list[Document], counts: Counts) -> list[Document]:
        if task.split != "train":
            return documents
        cut = _copies(self.copies, self.copies.stat().st_mtime_ns).cut(documents)
        counts.add({"copies": cut.touched, "copied_bytes": cut.bytes})
        return cut.documents


def joined(tasks: Sequence[Task], into: Path, item: int = 0) -> dict[str, int]:
    """Write the tokens of all parts of a split, one after the other; how much text they are.

    `item`: of pairs, the bytes of a token.
    """
    counts, sources = Counts(), [np.empty(0, dtype=np.uint64)]
    for task in tasks:
        with np.load(task.into.with_suffix(".npz")) as file:
            counts.add({name: int(file[name]) for name in vars(counts)})
            sources.append(file["sources"])
    if not into.exists():
        if any(task.into.with_suffix(MARKS).exists() for task in tasks):
            marks = map(_marks_of, tasks)
            write(into.with_suffix(MARKS), itertools.chain(marks, [bytes(1)] if item else []))
        write(into, pairs.tail(blocks_of(task.into for task in tasks), item))
    counts.tokens += bool(item and counts.tokens)
    return {**vars(counts), "sources": len(np.unique(np.concatenate(sources)))}


def encoder_of(path: Path, vocabulary: int) -> Encoder:
    """Of a tokenizer.json, made once: the proof that it is quick takes longer than many a part."""
    return _encoder(path, path.stat().st_mtime_ns, vocabulary)


def _marks_of(task: Task) -> bytes:
    with np.load(task.into.with_suffix(".npz")) as file:
        all_count = bytes([1]) * int(file["tokens"])
    path = task.into.with_suffix(MARKS)
    return path.read_bytes() if path.exists() else all_count


@functools.lru_cache(maxsize=1)
def _encoder(tokenizer: Path, _: int, vocabulary: int) -> Encoder:
    return Encoder(load(tokenizer.read_text(encoding="utf-8")), vocabulary)


@functools.lru_cache(maxsize=1)
def _copies(path: Path, _: int) -> Copies:
    return Copies.load(path)


def _check_bytes(domain: str, text_bytes: int, token_bytes: int) -> None:
    if text_bytes != token_bytes:
        raise UserError(
            f"data.tokenizer: its tokens stand for {token_bytes} of the {text_bytes} bytes of domain {domain}, so "
            "bits per byte would be wrong; use a byte-level tokenizer that does not rewrite text"
        )
