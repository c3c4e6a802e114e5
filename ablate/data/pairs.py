"""Pairs of responses to one prompt as tokens: a pair fills one span, so that a row is a pair.

    half of the better response    | end | prompt | chosen | end | end ...      marks: 1 on the response and the end
    half of the worse one          | end | prompt | rejected | end | end ...    after it, 0 elsewhere

A stream of pairs has one more end token behind the last, which no row reads as anything but a target. What does not
fit into half a span is left out and counted, and so is a pair of equal responses, which teaches nothing, and one of
which a part is empty.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from ablate.corpus import turns
from ablate.corpus.chat import FRAME
from ablate.corpus.document import Document
from ablate.corpus.turns import BETTER, WORSE, Part
from ablate.data.encoder import Encoder
from ablate.run.settings import UserError

ROLES = ("prompt", BETTER, "prompt", WORSE)  # of the parts of a pair; of dialogues a FRAME in place of a prompt
MOST = 0.5  # of the pairs: where more are left out, the rest is another text


def encoded(
    encoder: Encoder, documents: Sequence[Document], domain: str, span: int
) -> tuple[list[Document], np.ndarray, np.ndarray]:
    """The pairs that fit, their tokens, and which of these count. Raises UserError for a document that is no pair."""
    read = [(document, _parts(document, domain)) for document in documents]
    read = [(document, parts) for document, parts in read if len(parts) == len(ROLES)]
    found = iter(list(encoder.ids([part.text for _, parts in read for part in parts], domain)))
    kept, tokens, marks = list[Document](), list[int](), list[int]()
    for document, parts in read:
        prompt, chosen, again, rejected = (next(found) for _ in parts)
        halves = _half(prompt, chosen, span // 2, encoder.end), _half(again, rejected, span // 2, encoder.end)
        if chosen != rejected and all(halves):
            kept.append(document)
            for ids, counts in halves:
                tokens += ids
                marks += counts
    return kept, np.array(tokens, dtype=encoder.dtype), np.array(marks, dtype=np.uint8)


def told(domain: str, split: str, documents: int, left_out: int, span: int) -> str:
    """What was left out of a split, in a line; empty for nothing. Raises UserError where that is most."""
    if not left_out:
        return ""
    text = f"domain {domain}: {left_out} of {documents + left_out} pairs of its {split} text"
    if left_out > MOST * (documents + left_out):
        raise UserError(
            f"{text} have equal or empty responses or do not fit into data.span={span}, half of it for each"
        )
    return f"{text} are left out: equal or empty responses, or longer than half of data.span={span}"


def _parts(document: Document, domain: str) -> list[Part]:
    """The parts of a pair, fewer where some are empty."""
    parts = turns.parts_of(document, domain) if turns.has_parts(document) else []
    if not parts or {part.role for part in parts} - {*ROLES, FRAME}:
        raise UserError(
            f"domain {domain}: {document.source} is no pair; data.pairs=true needs rows of prompt, chosen and "
            "rejected, or of two dialogues"
        )
    return parts


def _half(prompt: Sequence[int], response: Sequence[int], size: int, end: int) -> tuple[list[int], list[int]] | tuple:
    """Tokens and marks of a response; nothing where it does not fit."""
    ids = [end, *prompt, *response, end]
    left, counted = size - len(ids), len(response) + 1
    if left < 0:
        return ()
    return [*ids, *[end] * left], [*[0] * (1 + len(prompt)), *[1] * counted, *[0] * left]


def tail(blocks: Iterable[bytes], item: int) -> Iterable[bytes]:
    """The blocks of a stream, and its last item, of so many bytes, once more; with items of none the blocks alone."""
    last = b""
    for block in blocks:
        last = block[len(block) - item :] or last
        yield block
    yield last
