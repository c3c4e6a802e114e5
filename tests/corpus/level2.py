"""A flow of steps over documents in memory, as `ablate.corpus.step` describes it."""

from collections.abc import Sequence
from typing import Any

from ablate.corpus.document import Document
from ablate.corpus.rules import steps
from ablate.corpus.step import Measured, Result, Step
from ablate.run.corpus import Processing

PARTS = 3


def results(step: Step, documents: Sequence[Document], parts: int = PARTS) -> list[Result]:
    size = -(-len(documents) // parts) or 1
    pieces = [documents[start : start + size] for start in range(0, len(documents), size)]
    told: Any = None
    for number in range(step.rounds):
        told = step.decide(number, [step.look(number, piece, told) for piece in pieces], told)
    found, first = [], 0
    for piece in pieces:
        found += step.apply(piece, told, first)
        first += len(piece)
    assert len(found) == len(documents)
    return found


def level_2(
    documents: Sequence[Document],
    kind: str = "prose",
    languages: Sequence[str] = (),
    parts: int = PARTS,
    **processing: Any,
) -> tuple[list[Document], dict[str, Measured]]:
    """The documents that stay, and why the others do not, by source."""
    removed: dict[str, Measured] = {}
    kept = list(documents)
    for step in steps(Processing(**processing), kind, list(languages)):
        found = results(step, kept, parts)
        removed |= {document.source: one.removed for document, one in zip(kept, found, strict=True) if one.removed}
        kept = [document for one in found for document in one.documents]
    return kept, removed
