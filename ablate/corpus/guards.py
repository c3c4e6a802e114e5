"""Whether a refined piece of text may take the place of the original: the same text, cleaner, and nothing new in it.

    failed("The tower is 300 m hi gh.", "The tower is 330 m high.")      Failed("numbers", "330")

length    between .5 and 1.1 of the original's characters
talk      no word of the teacher's own: "Here is the cleaned text", "I hope this helps"
similar   of the refined text's runs of three words, most stand in the original
numbers   none that the original does not have
names     no word with a capital that the original does not have, broken words put together; at the beginning of a
          sentence it may be short, or a repaired one
added     nowhere several words more than stood there
"""

import difflib
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ablate.corpus import words

SHORTEST, LONGEST = 0.5, 1.1
SIMILAR, RUN = 0.6, 3  # share of runs of so many words
ADDED = 4  # words more than stood in their place
SHORT, REPAIRED = 3, 0.7  # letters of a word that may begin a sentence, likeness of one that was damaged (difflib)
TALK = re.compile(
    r"\A\W*(?:here(?:'s|’s| is| are) |sure\b|certainly\b|of course\b|as an? (?:ai|language model)\b"
    r"|i(?:'m|’m| am) sorry|i (?:cannot|can't|can’t|have) )"
    r"|(?:let me know if|hope this helps|is there anything else|feel free to|note: i )"
    r"|\A\W*(?:below is |output:|(?:the )?(?:cleaned|refined|corrected) (?:text|version)\b)|\A```",
    re.IGNORECASE,
)
NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
WORD = re.compile(r"[^\W\d_]+")
SENTENCE_END = re.compile(r"(?:\A|[.!?…:;。\n][\s\"'“”„«»(\[*#>-]*)\Z")
BROKEN = re.compile(r"[\s\u00ad-]+")


class Failed(NamedTuple):
    guard: str
    evidence: str = ""


def failed(original: str, refined: str) -> Failed | None:
    """The first guard that a refined text does not pass."""
    for name, guard in GUARDS.items():
        evidence = guard(original, refined)
        if evidence is not None:
            return Failed(name, evidence)
    return None


def length(original: str, refined: str) -> str | None:
    fits = SHORTEST * len(original) <= len(refined) <= LONGEST * len(original)
    return None if fits else f"{len(refined)} characters of {len(original)}"


def talk(original: str, refined: str) -> str | None:
    found = TALK.search(refined)
    return found.group() if found and not TALK.search(original) else None


def similar(original: str, refined: str) -> str | None:
    found = words.words([original, refined]).letters()
    size = max(1, min(RUN, *np.bincount(found.documents_W, minlength=2).tolist()))
    runs = [words.runs(found, size)[found.documents_W == side] for side in (0, 1)]
    old, new = (of_one[of_one > 0] for of_one in runs)
    share = np.isin(new, old).mean() if len(new) else 0.0
    return None if share >= SIMILAR else f"{share:.2f} of its runs of {size} words"


def numbers(original: str, refined: str) -> str | None:
    return _first(set(NUMBER.findall(refined)) - set(NUMBER.findall(original)))


def names(original: str, refined: str) -> str | None:
    """Words are compared without case: a repair may write one large."""
    known, whole = {word.casefold() for word in WORD.findall(original)}, BROKEN.sub("", original).casefold()
    large = [found for found in WORD.finditer(refined) if found.group()[0].isupper()]
    new = [found for found in large if (word := found.group().casefold()) not in known and word not in whole]
    return _first({found.group() for found in new if not _begins(refined, found, known)})


def _begins(text: str, found: re.Match, known: set[str]) -> bool:
    """Whether a word is large for it begins a sentence, and may be new: it is short, or the repair of a known one."""
    word = found.group().casefold()
    if not SENTENCE_END.search(text[max(0, found.start() - 8) : found.start()]):
        return False
    return len(word) <= SHORT or bool(difflib.get_close_matches(word, known, 1, REPAIRED))


def added(original: str, refined: str) -> str | None:
    """Words of a language without spaces are what stands between two marks."""
    old, new = ([word.casefold() for word in WORD.findall(text)] for text in (original, refined))
    for _, i, k, j, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if (m - j) - (k - i) >= ADDED and "".join(new[j:m]) not in BROKEN.sub("", original).casefold():
            return " ".join(new[j:m])
    return None


def _first(found: set[str]) -> str | None:
    return min(found, default=None)


GUARDS: dict[str, Callable[[str, str], str | None]] = {
    "length": length,
    "talk": talk,
    "similar": similar,
    "numbers": numbers,
    "names": names,
    "added": added,
}
