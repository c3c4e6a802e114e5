"""Level 4: a teacher removes noise and repairs what was damaged, piece by piece; the text stays the same otherwise.

A piece that fails a guard (`corpus.guards`), or got no reply, stays as it was, and is counted by the guard's name.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ablate.corpus import prompts
from ablate.corpus.chunks import Asked
from ablate.corpus.document import Document
from ablate.corpus.endpoint import Endpoint, costs
from ablate.corpus.guards import Failed, failed
from ablate.corpus.replies import Reply
from ablate.corpus.step import Measured, Result, Step


def steps(endpoint: Endpoint) -> list[Step]:
    """What level 4 does to a domain."""
    return [Refine(endpoint, prompts.REFINE)]


class Refine(Asked):
    name, version = "refine", 2

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        return [self._refined(*pair) for pair in zip(documents, self.replies(documents, told), strict=True)]

    def _refined(self, document: Document, pieces: list[tuple[str, Reply | None]]) -> Result:
        texts, stayed, counts = list[str](), list[Failed](), Counter[str]()
        for piece, reply in pieces:
            why = _why_not(piece, reply) if reply else None
            if why:
                stayed.append(why)
                counts[f"refine.stayed.{why.guard}"] += 1
            texts.append(_put(piece, reply.text) if reply and not why else piece)
            counts["refine.pieces"] += bool(reply)
            counts["refine.changed"] += texts[-1] != piece
        text = "".join(texts).rstrip()
        near = [Measured(f"refine.{one.guard}", 1, 1, one.evidence) for one in stayed]
        noted = counts | costs([reply for _, reply in pieces if reply])
        return Result([document if text == document.text else document._replace(text=text)], near=near, noted=noted)


def _why_not(piece: str, reply: Reply) -> Failed | None:
    return Failed(reply.wrong) if reply.wrong else failed(piece.strip(), reply.text.strip())


def _put(piece: str, text: str) -> str:
    """The text, with the space that was around the piece."""
    inner = piece.strip()
    before, after = piece.split(inner, 1) if inner else (piece, "")
    return f"{before}{text.strip()}{after}"
