"""Held-out text as documents again: what tasks are made of (`scores.tasks`).

    HeldOut(corpus).documents("code")     [("import re ...", "stdlib:json/decoder.py"), ...], in the order of the stream

A stream is cut at the end tokens and decoded, which gives back the text to the byte.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ablate.corpus.document import Document
from ablate.data.shards import SOURCES
from ablate.run.settings import UserError

if TYPE_CHECKING:
    from ablate.data.tokens import Corpus

CHUNK_TOKENS = 1 << 20  # decoded at once


class HeldOut:
    """The validation split of a prepared corpus."""

    def __init__(self, corpus: "Corpus") -> None:
        self.corpus = corpus
        self.read: dict[str, list[Document]] = {}

    @property
    def domains(self) -> tuple[str, ...]:
        return self.corpus.domains

    def documents(self, domain: str) -> list[Document]:
        """Each with its source. Text prepared before sources were kept has a source for every document."""
        if domain not in self.read:
            texts = [text for chunk in texts_of(self.corpus, domain, "validation") for text in chunk]
            if self.corpus.pairs:  # documents are halves of pairs, and nothing stands between their end tokens
                texts = [text for text in texts if text]
            known = [] if self.corpus.pairs else self._sources(domain)
            sources = known or [f"{domain}/{number}" for number in range(len(texts))]
            pairs = zip(texts, sources, strict=True)
            self.read[domain] = [Document(text, source) for text, source in pairs]
        return self.read[domain]

    def _sources(self, domain: str) -> list[str]:
        path = self.corpus.folder / SOURCES
        return json.loads(path.read_text(encoding="utf-8"))[domain] if path.exists() else []


def texts_of(corpus: "Corpus", domain: str, split: str) -> Iterator[list[str]]:
    """The documents of a stream, some at a time. Raises UserError for a tokenizer that does not decode to the text."""
    tokenizer, tokens = corpus.tokenizer(), corpus.tokens(domain, split)
    begin = 0
    while begin < len(tokens):
        ends = np.flatnonzero(tokens[begin : begin + CHUNK_TOKENS] == corpus.end) + begin
        if not len(ends):  # a document longer than a chunk, or the last one of shards, which need not be closed
            ends = np.array([*(begin + np.flatnonzero(tokens[begin:] == corpus.end)), len(tokens)])[:1]
        starts = [begin, *(ends[:-1] + 1).tolist()]
        texts = tokenizer.decode_batch([tokens[a:b].tolist() for a, b in zip(starts, ends.tolist(), strict=True)])
        stop = int(ends[-1]) + 1
        whole = not corpus.is_mapped(domain, split)  # shards may begin in the middle of a character
        if whole and sum(len(text.encode()) for text in texts) != corpus.bytes_per_token[tokens[begin:stop]].sum():
            raise UserError(
                f"{corpus.folder}: its tokenizer does not decode domain {domain} to the text it was cut from"
            )
        yield texts
        begin = stop
