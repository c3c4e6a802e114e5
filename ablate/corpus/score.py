"""Level 3: documents that a small model scores well stay, of each domain a share of its bytes.

tags first         every document gets `meta.scores[<kind>]`; nothing goes
thresholds later   the best documents stay, until `corpus.score.keep` of the domain's bytes are reached

classifier   how much like the text of `like`, a file or folder, and unlike the domain's own at random    + more is
toxicity     the same, where `like` is text that is not wanted                                            -   better
words        share of words that stand in the file `words`, one or several a line                         -
entropy      bytes after compression, of those before: what repeats itself has little to say              +
perplexity   bits per byte under `run`, one of our own                                                    -
"""

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ablate.corpus import classifier, words
from ablate.corpus.document import Document
from ablate.corpus.given import digest_of, texts_of
from ablate.corpus.step import Measured, Result, Step
from ablate.run.corpus import Processing
from ablate.run.parts import require_member
from ablate.run.settings import SettingsError, UserError

SAMPLE = 1000  # texts of each kind that a classifier is trained on
STRETCH = 2048  # bytes that are compressed at once, so that long documents gain nothing
DIGITS = 6  # of a score: beyond them, machines differ
PLACED = np.dtype([("loss", "f8"), ("tie", "u8"), ("bytes", "i8")])


class Reader(Protocol):
    """A trained model that reads text: what `perplexity` asks, and a command hands in (`fit.perplexity`)."""

    def key(self) -> dict[str, Any]: ...

    def bits_per_byte(self, text: str) -> float: ...


def steps(processing: Processing, reader_of: Callable[[str], Reader] | None = None) -> list[Step]:
    """What level 3 does to a domain. `reader_of` gives the model of a run; raises SettingsError for wrong options."""
    wanted = processing.score
    require_member("corpus.score.kind", wanted.kind, SCORERS)
    scorer = SCORERS[wanted.kind]
    given = set(wanted.options)
    if given != set(scorer.needs):
        needs = ", ".join(scorer.needs) or "none"
        raise SettingsError(f"corpus.score.options={wanted.options}: {wanted.kind} takes {needs}")
    return [scorer(wanted.kind, wanted.options, reader_of), Select(wanted.kind, scorer.sign, wanted.keep)]


class Score:
    """Writes `meta.scores[kind]` of every document; subclasses say what it is."""

    needs: tuple[str, ...] = ()  # options
    sign = 1  # -1: less is better
    version = 1
    rounds = 0

    def __init__(self, kind: str, options: dict[str, Any], reader_of: Callable[[str], Reader] | None) -> None:
        self.kind, self.name, self.options = kind, f"score.{kind}", options

    def option(self, name: str) -> tuple[str, str]:
        """The key and its value."""
        return f"corpus.score.options.{name}", str(self.options[name])

    def key(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version}

    def look(self, round: int, documents: Sequence[Document], told: Any) -> Any:
        raise NotImplementedError

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> Any:
        raise NotImplementedError

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        scores = self.scores([document.text for document in documents], told)
        return [Result([_tagged(*pair, self.kind)]) for pair in zip(documents, scores, strict=True)]

    def scores(self, texts: Sequence[str], told: Any) -> Sequence[float]:
        raise NotImplementedError


def _tagged(document: Document, score: float, kind: str) -> Document:
    scores = {**document.meta.get("scores", {}), kind: round(float(score), DIGITS)}
    return document._replace(meta={**document.meta, "scores": scores})


class Entropy(Score):
    def scores(self, texts: Sequence[str], told: Any) -> list[float]:
        return [_compressed(text.encode()) for text in texts]


def _compressed(text: bytes) -> float:
    stretches = [text[start : start + STRETCH] for start in range(0, len(text), STRETCH)]
    return sum(len(zlib.compress(stretch)) for stretch in stretches) / max(1, len(text))


class Listed(Score):
    """Each word counts that is listed, or within a listed phrase."""

    needs = ("words",)
    sign = -1

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.digest, lines = digest_of(*self.option("words")), texts_of(*self.option("words"))
        found = words.words([line for text in lines for line in text.splitlines() if line.strip()])
        sizes = np.bincount(found.documents_W, minlength=len(found.offsets_D))
        if not len(found.numbers_W):
            raise SettingsError(f"{'='.join(self.option('words'))}: must have words in it")
        numbers = words.wholes(found)
        self.listed = {int(size): numbers[sizes == size] for size in np.unique(sizes) if size}

    def key(self) -> dict[str, Any]:
        return super().key() | {"words": self.digest}

    def scores(self, texts: Sequence[str], told: Any) -> list[float]:
        found = words.words(texts)
        inside = np.zeros(len(found.numbers_W) + max(self.listed, default=0), bool)
        for size, numbers in self.listed.items():
            starts = np.flatnonzero(np.isin(words.runs(found, size), numbers))
            for offset in range(size):
                inside[starts + offset] = True
        count = functools.partial(np.bincount, found.documents_W, minlength=len(texts))
        return list(count(weights=inside[: len(found.numbers_W)]) / np.maximum(count(), 1))


class Perplexity(Score):
    needs = ("run",)
    sign = -1

    def __init__(self, kind: str, options: dict[str, Any], reader_of: Callable[[str], Reader] | None) -> None:
        super().__init__(kind, options, reader_of)
        assert reader_of, "no command has handed in a way to read a run"
        self.reader = reader_of(str(options["run"]))

    def key(self) -> dict[str, Any]:
        return super().key() | self.reader.key()

    def scores(self, texts: Sequence[str], told: Any) -> list[float]:
        return [self.reader.bits_per_byte(text) for text in texts]


class Like(Score):
    """A classifier, trained on what is given and on the domain's own text at random.

    Two rounds: which documents are in the sample (those of the smallest hashes), and then their text.
    """

    needs = ("like",)
    rounds = 2

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.digest = digest_of(*self.option("like"))

    def key(self) -> dict[str, Any]:
        return super().key() | {"like": self.digest}

    def look(self, round: int, documents: Sequence[Document], told: Any) -> Any:
        orders = {classifier.order(document.text): document.text for document in documents if document.text}
        if round == 0:
            return np.array(sorted(orders)[:SAMPLE], np.uint64)
        return {order: classifier.sample(text) for order, text in orders.items() if order <= told}

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> Any:
        if round == 0:
            return int(np.unique(np.concatenate(notes))[:SAMPLE].max(initial=0))
        sampled = {order: text for note in notes for order, text in note.items()}
        good = sorted(texts_of(*self.option("like")), key=classifier.order)[:SAMPLE]
        try:
            return classifier.trained(good, list(sampled.values()))
        except ValueError as error:
            raise UserError(f"{'='.join(self.option('like'))}: {error}") from None

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        results = super().apply(documents, told, first)
        if first == 0:  # of the whole domain, and so noted once
            good, rest = told.texts
            of_model = {"auc": round(told.auc, 4), "good": good, "others": rest}
            results[0] = results[0]._replace(noted={f"{self.name}.{what}": value for what, value in of_model.items()})
        return results

    def scores(self, texts: Sequence[str], told: Any) -> list[float]:
        return [told.score(text) for text in texts]


class Toxicity(Like):
    sign = -1


SCORERS: dict[str, type[Score]] = {
    "classifier": Like,
    "toxicity": Toxicity,
    "words": Listed,
    "entropy": Entropy,
    "perplexity": Perplexity,
}


class Select:
    """The best documents of a domain: one stays if the middle of it lies within the share of bytes that stays."""

    name = "select"
    rounds = 1

    def __init__(self, kind: str, sign: int, keep: float) -> None:
        self.kind, self.sign, self.keep = kind, sign, keep

    def key(self) -> dict[str, Any]:
        return {"name": self.name, "version": 1, "kind": self.kind, "sign": self.sign, "keep": self.keep}

    def look(self, round: int, documents: Sequence[Document], told: Any) -> np.ndarray:
        return np.array([(*self._place(document), document.bytes) for document in documents], PLACED)

    def decide(self, round: int, notes: Sequence[np.ndarray], told: Any) -> tuple[float, int]:
        """The place of the last document that stays."""
        placed = np.sort(np.concatenate(notes), order=["loss", "tie"])
        middles = np.cumsum(placed["bytes"]) - placed["bytes"] / 2
        stay = np.searchsorted(middles, self.keep * placed["bytes"].sum(), side="right")
        if not stay:
            raise UserError(f"corpus.score.keep={self.keep}: no document stays")
        return float(placed["loss"][stay - 1]), int(placed["tie"][stay - 1])

    def apply(self, documents: Sequence[Document], told: tuple[float, int], first: int) -> list[Result]:
        return [self._judged(document, told) for document in documents]

    def _judged(self, document: Document, last: tuple[float, int]) -> Result:
        place = self._place(document)
        measured = Measured(f"{self.name}.{self.kind}", place[0], last[0])
        return Result([document], near=[measured]) if place <= last else Result([], removed=measured)

    def _place(self, document: Document) -> tuple[float, int]:
        """The best first; what ties does not depend on."""
        return -self.sign * document.meta["scores"][self.kind], classifier.order(document.meta["id"])
