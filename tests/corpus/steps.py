"""Small steps for tests of the flow: one changes, one makes, one looks at all, one removes; and text for them."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.corpus import flow, parts
from ablate.corpus.document import Document
from ablate.corpus.step import Measured, Result

WORDS = ["one", "two", "three", "four", "five", "six", "seven"]
TEXTS = [" ".join(WORDS[: 1 + number % 7]) + f" {number % 11}" * (number % 3) for number in range(60)]


def written(folder: Path, texts: list[str], each: int = 16) -> list[Path]:
    folder.mkdir(parents=True)
    for number, of_part in enumerate(cut(texts, each)):
        parts.write(folder / parts.name_of(number), [Document(text, f"s{len(text)}") for text in of_part])
    return parts.paths_of(folder)


def cut(texts, each):
    return [texts[i : i + each] for i in range(0, len(texts), each)]


def contents(folder: Path) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix == ".parquet"}
    return files | {"manifest": flow.as_json(folder).encode()}


def documents_of(folder: Path) -> list[Document]:
    return [document for path in parts.paths_of(folder) for document in parts.read(path)]


def made(folder: Path) -> list[Path]:
    """Parts of a flow that is not done."""
    return [*folder.glob("web-*.part/**/part-*.parquet")]


@dataclass(frozen=True)
class Each:
    """Judges document by document."""

    name: str = "each"
    rounds: int = 0

    def key(self) -> dict[str, Any]:
        return {}

    def look(self, round: int, documents: Sequence[Document], told: Any) -> Any:
        raise NotImplementedError

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> Any:
        raise NotImplementedError

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        return [self.one(document) for document in documents]

    def one(self, document: Document) -> Result:
        return Result([document])


@dataclass(frozen=True)
class Upper(Each):
    """`held`: a folder in which the step stands still once a flow has made as many parts as the file `most` says."""

    name: str = "upper"
    held: Path | None = None

    def one(self, document: Document) -> Result:
        while self.held and len(made(self.held)) >= int((self.held / "most").read_text()):
            time.sleep(0.005)
        return Result([document._replace(text=document.text.upper())], noted={"letters": len(document.text)})


@dataclass(frozen=True)
class Short(Each):
    """Removes what has fewer words than `least`."""

    name: str = "short"
    least: int = 3

    def key(self) -> dict[str, Any]:
        return {"least": self.least}

    def one(self, document: Document) -> Result:
        words = document.text.split()
        measured = Measured("short.words", -len(words), -self.least, words[0])
        return Result([], measured) if len(words) < self.least else Result([document], near=[measured])


@dataclass(frozen=True)
class Halves(Each):
    """Makes two documents of each long one."""

    name: str = "halves"

    def one(self, document: Document) -> Result:
        words = document.text.split()
        if len(words) < 6:
            return Result([document])
        texts = [" ".join(words[:3]), " ".join(words[3:])]
        parents = [document.meta["id"]]
        return Result([Document(t, document.source, {"id": f"{parents[0]}/{t}", "parents": parents}) for t in texts])


@dataclass(frozen=True)
class Twins(Each):
    """Removes all but the first of equal texts, which it needs all documents for: their digests, then who repeats."""

    name: str = "twins"
    rounds: int = 2

    def look(self, round: int, documents: Sequence[Document], told: Any) -> Any:
        found = [hashlib.sha256(document.text.encode()).digest() for document in documents]
        return found if round == 0 else [digest in told for digest in found]

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> Any:
        digests = [digest for note in notes for digest in note]
        if round == 0:
            return {digest for digest in digests if digests.count(digest) > 1}, digests
        return {number for number, digest in enumerate(told[1]) if digest in told[1][:number]}

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        numbered = enumerate(documents, start=first)
        removed = Measured("twins", 2, 1)
        return [Result([], removed) if number in told else Result([document]) for number, document in numbered]


class Silent(Each):
    def one(self, document: Document) -> Result:
        return Result([])
