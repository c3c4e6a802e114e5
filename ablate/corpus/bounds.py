"""How far a rule of level 2 lets a document go: by kind of text, by script, and by the user's own bounds.

A document goes if what a rule measures is beyond its bound; `length.words` is the only one below which it goes. The
numbers of repetition are Gopher's (Rae et al. 2021, table A1: repeated lines and paragraphs .20 of characters, the
most frequent run of 2, 3, 4 words .20, .18, .16, runs of 5 and 10 words that come again .15 and .10) where the text
allows it: working with numbers and code repeat themselves by nature, and so do manuals (again_5 is above .31 in one of
a hundred) and a script without spaces, in which every character counts as a word. No bound may cost more than 1 % of
the clean documents of the corpora that they were tuned on (tests/corpus); others lose more (docs/text.md).
"""

from collections.abc import Sequence
from typing import NamedTuple

from ablate.run.corpus import Processing
from ablate.run.settings import UserError

# {rule: {what it measures: bound}} of prose
Tables = dict[str, dict[str, float]]
PROSE: Tables = {
    "length": {"words": 12},  # at least; characters in a script without spaces
    "garbled": {
        "characters": 0.004,  # share of characters that stand for none: lost, private, unassigned
        "mojibake": 0.004,  # sequences that ftfy takes for a wrong encoding, a character
        "codes": 0.15,  # share of characters in words of 60 and more as base64 and hashes are written
    },
    "symbols": {
        "signs": 0.3,  # share of characters that are neither letters nor digits, without spaces
        "digits": 0.35,
        "links": 0.1,  # web addresses, a word
    },
    "repetition": {
        "lines": 0.3,  # share of bytes in lines that were there before
        "paragraphs": 0.3,
        "top_2": 0.2,  # share of bytes in the run of 2 words that is most frequent
        "top_3": 0.2,
        "top_4": 0.2,
        "again_5": 0.4,  # share of bytes in runs of 5 words that were there before; 10 characters without spaces
        "again_10": 0.3,  # 20 characters
        "words": 0.75,  # share of words that were among the 50 before
        "characters": 0.2,  # share of characters that equal the one before
    },
    "language": {"other": 0.5},  # how sure it is that the text is of a language that is not wanted
    "against": {"share": 0.5},  # of the 13-word runs of an item of an evaluation set, those in the document
    "lines": {"documents": 12, "words": 3},  # a line of so many words in so many documents goes
    "copies": {"share": 0.8},  # of the 5-word runs of a document, those in one that stays
}
KINDS: dict[str, Tables] = {
    "prose": {},
    "code": {
        "length": {"words": 8},
        "symbols": {"signs": 0.5, "digits": 0.6},
        "garbled": {"codes": 0.3},
        "repetition": {
            **{"lines": 0.5, "paragraphs": 0.4, "top_2": 0.4, "top_3": 0.4, "top_4": 0.4},
            **{"again_5": 0.7, "again_10": 0.6, "words": 0.9, "characters": 0.5},
        },
        "language": {"other": 0.8},
    },
    "math": {
        "length": {"words": 8},
        "symbols": {"signs": 0.45, "digits": 0.6},
        "garbled": {"mojibake": 0.002},
        "repetition": {
            **{"lines": 0.4, "paragraphs": 0.4, "top_2": 0.3, "top_3": 0.3, "top_4": 0.3},
            **{"again_5": 0.5, "again_10": 0.4, "words": 0.9, "characters": 0.4},
        },
        "language": {"other": 0.8},
        "lines": {"documents": 50, "words": 8},
    },
    "qa": {
        "length": {"words": 4},
        "symbols": {"signs": 0.45, "digits": 0.6},
        "garbled": {"mojibake": 0.002},
        "repetition": {
            **{"lines": 0.4, "paragraphs": 0.4, "top_2": 0.3, "top_3": 0.3, "top_4": 0.3},
            **{"again_5": 0.5, "again_10": 0.4, "words": 0.9, "characters": 0.4},
        },
        "language": {"other": 0.8},
        "lines": {"documents": 50, "words": 8},
    },
}
# Every character is a word: more of them come again, and a run of as many says less
UNSPACED: Tables = {
    "length": {"words": 24},
    "repetition": {"words": 0.9, "lines": 0.5, "paragraphs": 0.5, "again_5": 0.65, "again_10": 0.62},
}
AT_LEAST = ("length.words",)
COUNTS = {"length.words": 0, "lines.documents": 2, "lines.words": 1}  # and the least; others are shares

Bounds = dict[str, float]


class Scripts(NamedTuple):
    """Bounds of one kind of text by how it is written, {"repetition.lines": 0.2}."""

    spaced: Bounds
    unspaced: Bounds


def bounds(processing: Processing, kind: str) -> Scripts:
    """Raises UserError for a rule or a bound that is not one."""
    if kind not in KINDS:
        raise UserError(f"corpus.kinds: {kind!r} must be one of {', '.join(KINDS)}")
    own = processing.bounds
    for rule, values in own.items():
        _known(f"corpus.bounds.{rule}", rule, list(PROSE))
        for name, value in values.items():
            _known(f"corpus.bounds.{rule}.{name}", name, list(PROSE[rule]))
            _sensible(f"{rule}.{name}", value)
    return Scripts(_flat(PROSE, KINDS[kind], own), _flat(PROSE, KINDS[kind], UNSPACED, own))


def _flat(*tables: Tables) -> Bounds:
    """Later tables win."""
    return {
        f"{rule}.{name}": bound for table in tables for rule, values in table.items() for name, bound in values.items()
    }


def _known(key: str, name: str, allowed: Sequence[str]) -> None:
    if name not in allowed:
        raise UserError(f"{key}: must be one of {', '.join(allowed)}")


def _sensible(name: str, value: float) -> None:
    least = COUNTS.get(name)
    if least is not None and (value < least or value != int(value)):
        raise UserError(f"corpus.bounds.{name}={value}: must be a whole number, at least {least}")
    if least is None and not 0 <= value <= 1:
        raise UserError(f"corpus.bounds.{name}={value}: must be from 0 to 1")
    if name == "copies.share" and not value:
        raise UserError(f"corpus.bounds.{name}={value}: must be above 0")
