"""The text that tells why a rule caught a document, as short as can be judged."""

import re
from collections import Counter

import numpy as np

from ablate.corpus import characters
from ablate.corpus.words import runs, words

LENGTH = 120  # characters
CODES = re.compile(rf"[0-9A-Za-z+/]{{{characters.LONG},}}")
SAME = re.compile(r"(\S)\1{4,}")
LINK = re.compile(r"\S*(?:https?:|www\.)\S*")


def evidence(rule: str, text: str) -> str:
    name, _, part = rule.partition(".")
    if rule == "garbled.characters":
        bad = characters.classes()[[ord(letter) for letter in text]] == characters.BAD
        return _around(text, int(bad.argmax()))
    if rule == "garbled.mojibake":
        from ftfy.badness import BADNESS_RE

        return _found(BADNESS_RE, text)
    if part in ("lines", "paragraphs"):
        parts = Counter(text.split("\n" if part == "lines" else "\n\n"))
        return max(parts, key=lambda one: (parts[one] - 1) * len(one))[:LENGTH]
    if name == "repetition" and part[-1].isdigit():
        return _most_frequent(text, int(part.split("_")[1]))
    forms = {"garbled.codes": CODES, "repetition.characters": SAME, "symbols.links": LINK}
    return _found(forms[rule], text) if rule in forms else text[:LENGTH]


def mojibake(text: str) -> float:
    """Sequences that stand for a wrong encoding, a character."""
    from ftfy.badness import badness

    return badness(text) / max(1, len(text))


def _found(form: re.Pattern[str], text: str) -> str:
    match = form.search(text)
    return _around(text, match.start()) if match else text[:LENGTH]


def _around(text: str, place: int) -> str:
    first = max(0, place - LENGTH // 4)
    return text[first : first + LENGTH]


def _most_frequent(text: str, length: int) -> str:
    """The run of so many words that comes most often."""
    found = words([text])
    numbers, first, times = np.unique(runs(found, length), return_index=True, return_counts=True)
    times[numbers == 0] = 0
    word = first[times.argmax()]
    last = min(word + length, len(found.stops_W)) - 1
    return text.encode()[found.starts_W[word] : found.stops_W[last]].decode(errors="ignore")[:LENGTH]
