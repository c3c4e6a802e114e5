"""Held-out text in memory, of the documents that a test gives, and guessers that know no language."""

from collections.abc import Callable, Mapping, Sequence

from ablate.corpus.document import Document
from ablate.scores.items import Item


class Held:
    """`data.heldout.HeldOut` without a corpus: texts by domain, each with its source."""

    def __init__(self, texts: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        self.texts = {domain: [Document(text, source) for text, source in those] for domain, those in texts.items()}

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.texts)

    def documents(self, domain: str) -> list[Document]:
        return self.texts[domain]


def accuracy(items: Sequence[Item], guess: Callable[[str], float]) -> float:
    """Of who takes the choice with the highest guess; ties count as the share of them that is right."""
    right = 0.0
    for item in items:
        values = [guess(choice) for choice in item.choices]
        best = [place for place, value in enumerate(values) if value == max(values)]
        right += (item.gold in best) / len(best)
    return right / len(items)
