"""Questions made of a text by rule, the same every time: no model is needed, and none is better than the text.

    The cell is the smallest unit of life. It was first seen in 1665 by Hooke.

    Question: What is the cell?                                             definition
    Answer: the smallest unit of life
    Question: Which number is missing? It was first seen in ____ by Hooke.  number
    Answer: 1665

Every sentence gives one question: the first of BEST that it can, or else one of the others, which take turns.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from ablate.corpus import chunks

VERSION = 1
SHORTEST, LONGEST = 25, 400  # characters of a sentence that is asked about
GAP = "____"
PARAGRAPH = re.compile(r"\n\s*\n")
DEFINITION = re.compile(
    r"((?:The|An?) )?((?:[^\W\d_]|[-' ]){2,60}?) (is|are|was|were) ((?:an?|the|any|one of|those|that)\b.{8,}?)[.。]?$"
)
# What begins a sentence and names nothing
POINTERS = "it this that these those there he she they we you i here what which who where when why how one each such some all if as in on at for from with but and or so then thus hence also now not yet its his her their our my".split()  # noqa: E501, SIM905
NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\w])")
NAME = re.compile(r"(?<=[a-z,;] )[A-Z][^\W\d_]{2,}")
LONG = re.compile(r"(?<![\w_])[^\W\d_]{6,}(?![\w_])")
VALUE = r"\$?(-?\d+(?:\.\d+)?)"
EQUATION = re.compile(rf"{VALUE} ?([-+*/×÷−]) ?{VALUE} ?= ?{VALUE}(?![\w.(^*/+]|\s*[-+*/×÷−])")
OPERATOR_BEFORE = re.compile(r"(?:[-+*/×÷−^(=]\s*|[\w.])\Z")  # what follows is a part of a longer term
OPERATIONS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}
SIGNS = {"×": "*", "÷": "/", "−": "-"}


class Question(NamedTuple):
    kind: str
    asked: str
    answer: str

    @property
    def text(self) -> str:
        return f"Question: {self.asked}\nAnswer: {self.answer}"


def questions(text: str) -> list[Question]:
    """In the order of the text, none twice."""
    found = dict[tuple[str, str], Question]()
    for paragraph in PARAGRAPH.split(text):
        sentences = sentences_of(paragraph)
        for number, sentence in enumerate(sentences):
            following = sentences[number + 1] if number + 1 < len(sentences) else ""
            possible = [one for kind in KINDS.values() if (one := kind(sentence, following))]
            if possible:
                one = possible[0 if possible[0].kind in BEST else len(found) % len(possible)]
                found.setdefault((one.asked, one.answer), one)
    return list(found.values())


def sentences_of(paragraph: str) -> list[str]:
    """Those of a length that can be asked about, each on one line."""
    flat = " ".join(paragraph.split())
    return [one for part in chunks.SENTENCE.split(flat) if SHORTEST <= len(one := part.strip()) <= LONGEST]


def definition(sentence: str, following: str) -> Question | None:
    found = DEFINITION.match(sentence)
    if not found or found.group(2).split()[0].casefold() in POINTERS:
        return None
    article, name, verb, what = found.groups()
    return Question("definition", f"What {verb} {(article or '').lower()}{name}?", what)


def number(sentence: str, following: str) -> Question | None:
    return _missing("number", "Which number is missing?", sentence, NUMBER)


def name(sentence: str, following: str) -> Question | None:
    return _missing("name", "Which name is missing?", sentence, NAME)


def word(sentence: str, following: str) -> Question | None:
    """Of languages that write spaces."""
    if " " not in sentence:
        return None
    return _missing("word", "Which word is missing?", sentence, LONG)


def _missing(kind: str, asked: str, sentence: str, pattern: re.Pattern) -> Question | None:
    """The longest that the pattern finds, and of several the last; not one that the rest of the sentence gives away."""
    found = [one for one in pattern.finditer(sentence) if sentence.count(one.group()) == 1]
    if not found:
        return None
    gone = max(found, key=lambda one: (len(one.group()), one.start()))
    return Question(kind, f"{asked} {sentence[: gone.start()]}{GAP}{sentence[gone.end() :]}", gone.group())


def arithmetic(sentence: str, following: str) -> Question | None:
    """The first equation that is true."""
    for found in EQUATION.finditer(sentence):
        left, sign, right, result = found.groups()
        operation, b = OPERATIONS[SIGNS.get(sign, sign)], Fraction(right)
        inside = OPERATOR_BEFORE.search(sentence[: found.start()]) or (sign in "/÷" and b == 0)
        if not inside and operation(Fraction(left), b) == Fraction(result):
            return Question("arithmetic", f"What is {left} {sign} {right}?", result)
    return None


def next_sentence(sentence: str, following: str) -> Question | None:
    return Question("next", f"What comes next? {sentence}", following) if following else None


BEST = ("arithmetic", "definition")
KINDS: dict[str, Callable[[str, str], Question | None]] = {
    "arithmetic": arithmetic,
    "definition": definition,
    "number": number,
    "name": name,
    "next": next_sentence,
    "word": word,
}
