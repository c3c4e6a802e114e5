"""A step of a corpus, taken as the flow takes it: look and decide in rounds, then apply, batch by batch."""

from collections.abc import Sequence

from ablate.corpus.document import Document
from ablate.corpus.step import Result, Step


def documents_of(texts: Sequence[str], source: str = "s", **meta: object) -> list[Document]:
    return [Document(text, f"{source}{n}", {"id": f"{source}{n}", **meta}) for n, text in enumerate(texts)]


def results_of(step: Step, documents: Sequence[Document], batch: int = 100) -> list[Result]:
    told, firsts = None, range(0, len(documents), batch)
    for round in range(step.rounds):
        notes = [step.look(round, documents[first : first + batch], told) for first in firsts]
        told = step.decide(round, notes, told)
    return [result for first in firsts for result in step.apply(documents[first : first + batch], told, first)]


def through(steps: Sequence[Step], documents: Sequence[Document], batch: int = 100) -> list[Document]:
    """What comes out of all of them."""
    for step in steps:
        documents = [one for result in results_of(step, documents, batch) for one in result.documents]
    return list(documents)


def summed(results: Sequence[Result]) -> dict[str, float]:
    total: dict[str, float] = {}
    for result in results:
        for name, value in result.noted.items():
            total[name] = total.get(name, 0) + value
    return total
