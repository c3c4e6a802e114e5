"""Documents in pieces that a teacher can be asked about, and all pieces of a domain asked about at once.

pieces = cut(text, 1024)      at borders of paragraphs; joined, they are the text
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ablate.corpus.document import Document
from ablate.corpus.endpoint import Endpoint, key_of, short
from ablate.corpus.replies import Reply

PARAGRAPH, LINE, WORD = re.compile(r"(?<=\n\n)(?=[^\n])"), re.compile(r"(?<=\n)(?=[^\n])"), re.compile(r"(?<=\s)(?=\S)")
SENTENCE = re.compile(r"(?<=[.!?…]\s)(?=\S)|(?<=[。！？])")
BORDERS = (PARAGRAPH, LINE, SENTENCE, WORD)  # where a text is cut, the best places first


def cut(text: str, size: int, borders: Sequence[re.Pattern] = BORDERS) -> list[str]:
    """Pieces of at most `size` characters, with the space after them; as few as the borders allow."""
    if len(text) <= size:
        return [text] if text else []
    if not borders:
        return [text[start : start + size] for start in range(0, len(text), size)]
    pieces = [""]
    for part in borders[0].split(text):
        if len(pieces[-1]) + len(part) <= size:
            pieces[-1] += part
        elif len(part) <= size:
            pieces.append(part)
        else:
            pieces += [*cut(part, size, borders[1:]), ""]
    return [piece for piece in pieces if piece]


class Asked:
    """A step that asks a teacher about every piece of a document.

    One round goes through all documents before the first is asked about: so it is known how many replies they take.
    """

    name, version, rounds = "", 1, 1

    def __init__(self, endpoint: Endpoint, prompt: str) -> None:
        self.endpoint, self.prompt = endpoint, endpoint.teacher.prompt or prompt

    def key(self) -> dict[str, Any]:
        asked = {"prompt": self.prompt, "chunk": self.endpoint.teacher.chunk}
        return {"name": self.name, "version": self.version} | asked | self.endpoint.key()

    def look(self, round: int, documents: Sequence[Document], told: Any) -> np.ndarray:
        return short(map(key_of, self._requests([piece for one in documents for piece in self.pieces(one)])))

    def decide(self, round: int, notes: Sequence[np.ndarray], told: Any) -> np.ndarray:
        return np.unique(np.concatenate(notes))

    def pieces(self, document: Document) -> list[str]:
        """Those with something in them are asked about."""
        return cut(document.text, self.endpoint.teacher.chunk)

    def replies(self, documents: Sequence[Document], told: np.ndarray) -> list[list[tuple[str, Reply | None]]]:
        """Of each document its pieces, each with what the teacher says to it; None of one that is only space."""
        pieces = [self.pieces(document) for document in documents]
        every = [piece for of_one in pieces for piece in of_one]
        replies = iter(self.endpoint.ask(self._requests(every), told))
        return [[(piece, next(replies) if piece.strip() else None) for piece in of_one] for of_one in pieces]

    def _requests(self, pieces: Sequence[str]) -> list[dict[str, Any]]:
        return [self.endpoint.request(self.prompt, piece.strip()) for piece in pieces if piece.strip()]
