"""Level 2: rules that look at a document by itself, all in one pass, and the steps of the level in their order.

masks    what reaches a person, before lines are compared
lines    a line that many documents have
rules    length, garbled text, signs, repetition, language, evaluation sets
copies   exact and near duplicates, of what is left
"""

import unicodedata
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from ablate.corpus import characters, language, repeats
from ablate.corpus.against import Against
from ablate.corpus.bounds import AT_LEAST, PROSE, Scripts, bounds
from ablate.corpus.document import Document
from ablate.corpus.evidence import evidence, mojibake
from ablate.corpus.lines import Lines
from ablate.corpus.masks import Masks
from ablate.corpus.near import Copies
from ablate.corpus.step import Measured, Result, Step
from ablate.corpus.words import batches, words
from ablate.run.corpus import Processing
from ablate.run.settings import UserError

VERSION = 2
RULES = [*PROSE, "masks"]  # what `corpus.rules` and `corpus.allow` may name
CORPUS_WIDE = ("lines", "copies")
LINKS = words(["http https www"]).numbers_W
LETTERS = 10  # letters that are at least one word
NEAR, MOST_NEAR = 0.8, 2  # how near a bound a passed rule is worth a look, and how many of a document


def steps(processing: Processing, kind: str, languages: Sequence[str]) -> list[Step]:
    """The steps of level 2 for text of one kind, in the order in which they run; raises UserError.

    `languages`: those that the domain is to be of; none: all.
    """
    for name in processing.rules:
        if name not in RULES:
            raise UserError(f"corpus.rules: {name!r} must be one of {', '.join(RULES)}")
    allowed = [*RULES, *bounds(processing, kind).spaced, "copies.exact", "copies.near"]
    for name in processing.allow:
        if name not in allowed:
            raise UserError(f"corpus.allow: {name!r} must be one of {', '.join(allowed)}")
    language.check("corpus.languages", languages)
    chosen, limits = processing.rules or RULES, bounds(processing, kind)
    alone = Rules(chosen, limits, languages, Against(processing.against))
    found: list[tuple[Any, Step]] = [
        ("masks" in chosen, Masks(kind)),
        ("lines" in chosen, Lines(kind, limits.spaced)),
        (alone.names, alone),
        ("copies" in chosen, Copies(kind, limits.spaced)),
    ]
    steps = [step for wanted, step in found if wanted]
    if not steps:
        needs = "`language` needs corpus.languages of the domain, `against` files of corpus.against"
        raise UserError(f"corpus.rules={processing.rules}: do nothing; {needs}")
    return steps


class Rules:
    """The rules that need one document only."""

    name, rounds = "rules", 0

    def __init__(self, chosen: Sequence[str], limits: Scripts, languages: Sequence[str], against: Against) -> None:
        names = [name for name in limits.spaced if name.split(".")[0] in set(chosen) - set(CORPUS_WIDE)]
        self.languages, self.against = sorted(languages), against
        unused = {"language.other": not self.languages, "against.share": not against.names}
        self.names = [name for name in names if not unused.get(name)]
        self.bounds_SR = np.array([[_signed(name, limit[name]) for name in self.names] for limit in limits])

    def key(self) -> dict[str, Any]:
        return {
            **{"name": self.name, "version": VERSION, "unicode": unicodedata.unidata_version, "ftfy": version("ftfy")},
            **{"bounds": dict(zip(self.names, self.bounds_SR.T.tolist(), strict=True)), "languages": self.languages},
            **{"against": self.against.digests, **language.key()},
        }

    def look(self, round: int, documents: Sequence[Document], told: Any) -> None: ...

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> None: ...

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        return [result for batch in batches(documents, _text) for result in self._judged(batch)]

    def _judged(self, batch: Sequence[Document]) -> list[Result]:
        values_DR, bounds_DR, items_D = self._measured([document.text for document in batch])
        beyond_DR, close_DR = values_DR > bounds_DR, _near(values_DR, bounds_DR)
        results = [Result((document,)) for document in batch]
        for number in np.flatnonzero((beyond_DR | close_DR).any(axis=1)).tolist():
            goes = bool(beyond_DR[number].any())
            rules = [int(beyond_DR[number].argmax())] if goes else np.flatnonzero(close_DR[number]).tolist()
            found = [
                Measured(
                    self.names[rule],
                    float(values_DR[number, rule]),
                    float(bounds_DR[number, rule]),
                    self._evidence(self.names[rule], batch[number].text, int(items_D[number])),
                )
                for rule in rules
            ]
            near = sorted(found, key=lambda one: -one.reached)[:MOST_NEAR]
            results[number] = Result((), removed=found[0]) if goes else Result((batch[number],), near=near)
        return results

    def _measured(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What each rule finds in each document, the bound there, and the item of an evaluation set that is nearest."""
        found, values = words(texts), characters.counts(texts)
        unspaced_D, odd_D = values.pop("unspaced"), values.pop("odd")
        bounds_DR = self.bounds_SR[unspaced_D.astype(int)]
        bounds = dict(zip(self.names, bounds_DR.T, strict=True))
        values |= repeats.shares(texts, found, unspaced_D)
        count_D = np.bincount(found.documents_W, minlength=len(texts))
        links_W = found.documents_W[np.isin(found.numbers_W, LINKS)]
        # A script such as Thai has spaces between phrases only
        values["length.words"] = -np.maximum(count_D, values.pop("letters") // LETTERS).astype(float)
        values["symbols.links"] = np.bincount(links_W, minlength=len(texts)) / np.maximum(count_D, 1)
        values["against.share"], items_D = self.against.shares(found, len(texts))
        # What takes long is asked only where it can matter
        for name, of_text, ask_D in [
            ("garbled.mojibake", mojibake, lambda: odd_D >= bounds["garbled.mojibake"] * NEAR),
            ("language.other", self._other, lambda: ~self._gone(values, bounds)),
        ]:
            if name in bounds:
                values[name] = np.zeros(len(texts))
                for number in np.flatnonzero(ask_D()).tolist():
                    values[name][number] = of_text(texts[number])
        return np.stack([values[name] for name in self.names], axis=1), bounds_DR, items_D

    def _gone(self, values: dict[str, np.ndarray], bounds: dict[str, np.ndarray]) -> np.ndarray:
        return np.any([values[name] > bounds[name] for name in bounds if name in values], axis=0)

    def _other(self, text: str) -> float:
        bound = self.bounds_SR[:, self.names.index("language.other")].min()
        return language.other(text, self.languages, NEAR * bound)[0]

    def _evidence(self, rule: str, text: str, item: int) -> str:
        if rule == "against.share":
            return f"{self.against.names[item]}: {self.against.passage(text, item)}"
        if rule == "language.other":
            return f"{language.other(text, self.languages, 0.0)[1]}: {text[:100]}"
        return evidence(rule, text)


def _near(values_DR: np.ndarray, bounds_DR: np.ndarray) -> np.ndarray:
    """Where `Measured.reached` is at least NEAR."""
    lower_DR = bounds_DR < 0
    return np.where(lower_DR, bounds_DR <= NEAR * values_DR, (values_DR >= NEAR * bounds_DR) & (values_DR > 0))


def _text(document: Document) -> str:
    return document.text


def _signed(name: str, bound: float) -> float:
    return -bound if name in AT_LEAST else bound
