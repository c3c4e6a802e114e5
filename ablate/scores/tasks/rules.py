"""Rules that make a wrong form of a right one, in English, Italian, code and equations.

A rule names places where the changed form is wrong whatever stands around it, and passes over all that is doubtful:
after `if`, "it were" is right, and so is "the for" before "loop"; "la maggiore" stands beside "il maggiore".
"""

import operator
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Change(NamedTuple):
    """`right` stands at `start` of a text; with `wrong` in its place the text is wrong."""

    start: int
    right: str
    wrong: str
    exchange: bool = False  # the same words or digits in another order: no form is commoner than the other


Rule = Callable[[str], Iterator[Change]]


def _verbs(subjects: str, forms: dict[str, str], unless_before: str, unless_after: str = "") -> Rule:
    """A verb right after its subject, in the other number."""
    doubtful, after = re.compile(rf"\b(?:{unless_before})\s+$", re.IGNORECASE), f"(?!\\s+(?:{unless_after})\\b)"
    pattern = re.compile(rf"\b(?:{subjects})\s+({'|'.join(forms)})(?=\s){after if unless_after else ''}")

    def rule(text: str) -> Iterator[Change]:
        for match in pattern.finditer(text):
            before = text[max(0, match.start() - 80) : match.start()]
            unreal = match[1] == "was" and UNREAL.search(re.split(r"[.!?]\s|\n\s*\n", before)[-1])
            if not doubtful.search(before) and not unreal:
                yield Change(match.start(1), match[1], forms[match[1]])

    return rule


UNREAL = re.compile(
    r"\b(?:if|wish|wished|though|although|whether|unless|suppose|supposing|lest|as|would)\b", re.IGNORECASE
)
ONE = {"is": "are", "was": "were", "has": "have"}
MANY = {plural: singular for singular, plural in ONE.items()}
NOT_FIRST = "and|or|nor|of|than|as|if"  # before the subject: it may then be part of a longer one
# Nouns of which both are said (the rest is, the rest are), and words that stand for either
EITHER = "following|rest|former|latter|first|second|third|last|next|other|same|remainder|majority|minority|number|half"
EITHER += "|data|media|criteria|police|people|staff|team|family|group|pair|couple|crew|public|government|company"
EITHER += "|committee|board|council|army|audience|club|crowd|enemy|firm|jury|band|faculty|cast|parliament|opposition"
EITHER += "|fish|sheep|deer|aircraft|spacecraft|offspring|youth|population|generation|percentage|poor|rich|dead"
ENGLISH_ONE = _verbs(f"[Hh]e|[Ss]he|[Ii]t|[Tt]his|[Tt]h(?:e|is) (?!(?:{EITHER})\\b)[a-z]*[a-rt-z]", ONE, NOT_FIRST)
PLURAL = r"(?!series|species|means|\w*ics\b)[a-z]+s"
ENGLISH_MANY = _verbs(f"[Tt]hey|[Ww]e|[Yy]ou|[Tt]hese|[Tt]h(?:e|ese|ose) {PLURAL}", MANY, NOT_FIRST)
# Behind any word but these it may be no subject: after "in questo", "secondo lui", "dopo ciò" both "è" and "sono"
# (I am) are right
NO_SUBJECT = r"(?!(?:che|perché|poiché|ma|se|quando|mentre|come|anche|non)\b)\w+"
# "questa sono io" is right; so is "questi è" of old, which has no place here
ITALIAN_ONE = _verbs(
    "[Ee]gli|[Ee]lla|[Ll]ui|[Ee]sso|[Ee]ssa|[Cc]iò|[Qq]uesto|[Qq]uesta|[Qq]uello|[Qq]uella|[Nn]essuno|[Oo]gnuno",
    {"è": "sono"},
    NO_SUBJECT,
    "io|tutti|tutte",
)
ITALIAN_MANY = _verbs(
    "[Ii]o|[Ee]ssi|[Ee]sse|[Qq]uelli|[Qq]uelle|[Tt]utti|[Tt]utte|[Mm]olti|[Mm]olte", {"sono": "è"}, NO_SUBJECT
)
# Nouns by endings that tell their gender: -zione is feminine; -ore is masculine, but for comparatives (minore).
# After `la` an ending must not be a verb's ("la commento" is "I comment on it"); `una` stands before no verb.
# `-ista` and its like are of both genders, and so are callings that were men's (una medico, una ministro).
COMMON = r"\w*(?:[ai]sta|iatra|cida|arca|eta|ota|euta|crata|glotta|datta|acrobata|ipocrita|cosmopolita)\b|collega|belga"
COMMON += r"|indigena|(?:eco|auto|radio|foto|moto|metro|dinamo|soprano|contralto|medico|chirurgo|avvocato|ministro)\b"
COMMON += r"|(?:architetto|sindaco|notaio|magistrato|deputato|soldato|capo|membro|modello|boa|lama|rosa|viola)\b"
VERBS = "tormento|lamento|commento|aumento|alimento|cemento|fermento|sperimento|ornamento|documento|rammento|assaggio"
FEMININE = re.compile(
    r"\b(?:(la) (?!podestà|avanza|\w+iore\b)\w+(?:zione|sione|gione|tà|tù|trice|tudine|aggine|enza|anza)"
    rf"|(una) (?!{COMMON})\w+(?:a|zione|sione|gione|tà|tù|trice|tudine|aggine))\b"
)
MASCULINE = re.compile(
    rf"\b(?:(il) (?!(?:{VERBS}|folgore|minore)\b|\w+iore\b)\w+(?:ore|ismo|aggio|mento)"
    rf"|(un) (?!{COMMON}|\w+iore\b|folgore\b|minore\b)\w+(?:o|ore))\b"
)
ARTICLES = {"il": "la", "la": "il", "un": "una", "una": "un"}


def agreement_en(text: str) -> Iterator[Change]:
    """is and are, was and were, has and have after a pronoun."""
    yield from ENGLISH_ONE(text)
    yield from ENGLISH_MANY(text)


def agreement_it(text: str) -> Iterator[Change]:
    """è and sono after a pronoun; il and la, un and una before a noun whose ending tells its gender."""
    yield from ITALIAN_ONE(text)
    yield from ITALIAN_MANY(text)
    for pattern in (FEMININE, MASCULINE):
        for match in pattern.finditer(text):
            article = match[1] or match[2]
            yield Change(match.start(), article, ARTICLES[article])


def _order(first: str, second: str) -> Rule:
    pattern = re.compile(rf"\b({first}) ({second})\b(?= \w)")

    def rule(text: str) -> Iterator[Change]:
        for match in pattern.finditer(text):
            yield Change(match.start(), match[0], f"{match[2]} {match[1]}", exchange=True)

    return rule


ENGLISH_PREPOSITIONS = _order("of|into|during", "the|a|an|its|their|his|our")
ENGLISH_AUXILIARIES = _order("has|have|had|will|would|should|can|could|may|might|must", "be|been")
ITALIAN_PREPOSITIONS = _order("per|con|tra", "il|lo|la|i|gli|le")  # "una per volta" and "uno con" are right


def word_order_en(text: str) -> Iterator[Change]:
    """of the, and its like; can be, and its like."""
    yield from ENGLISH_PREPOSITIONS(text)
    yield from ENGLISH_AUXILIARIES(text)


def word_order_it(text: str) -> Iterator[Change]:
    """per il, con una, and their like."""
    yield from ITALIAN_PREPOSITIONS(text)


EQUATION = re.compile(
    r"(?<![\w.,*/+^=×-])(?<![*/+^=×-] )(\d{1,6}) ?([-+*×/]|//) ?(\d{1,6}) ?= ?(\d{2,9})(?![\w*/+^×-]|[.,]\d| [-*/+^×])"
)
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "×": operator.mul}
OPERATIONS |= {"/": lambda a, b: a / b if b else None, "//": lambda a, b: a // b if b else None}


def digits(text: str) -> Iterator[Change]:
    """Two neighbouring digits of a result, exchanged; only of equations that are true."""
    for match in EQUATION.finditer(text):
        a, sign, b, result = match.groups()
        if OPERATIONS[sign](int(a), int(b)) == int(result):
            swaps = (result[:i] + result[i + 1] + result[i] + result[i + 2 :] for i in range(len(result) - 2, -1, -1))
            wrong = next((swap for swap in swaps if swap != result and swap[0] != "0"), None)
            if wrong:
                yield Change(match.start(4), result, wrong, exchange=True)


CLOSES = {"(": ")", "[": "]", "{": "}"}
WRONG_CLOSER = {")": "]}", "]": ")}", "}": ")]"}


def brackets(text: str) -> Iterator[Change]:
    """A closing bracket of another kind, in lines without quotes and comments that close all that they open."""
    for line in re.finditer(r".+", text):
        if not re.search(r"[\"'`#\\]|//", line[0]):
            for place, closer in _closers(line[0]):
                yield Change(line.start() + place, closer, WRONG_CLOSER[closer][(line.start() + place) % 2])


def _closers(line: str) -> list[tuple[int, str]]:
    """Places of closing brackets; none of a line that is not balanced in itself."""
    stack, found = [], []
    for place, sign in enumerate(line):
        if sign in CLOSES:
            stack.append(CLOSES[sign])
        elif sign in WRONG_CLOSER:
            if not stack or stack.pop() != sign:
                return []
            found.append((place, sign))
    return [] if stack else found


RULES: dict[str, Rule] = {
    "agreement_en": agreement_en,
    "agreement_it": agreement_it,
    "word_order_en": word_order_en,
    "word_order_it": word_order_it,
    "digits": digits,
    "brackets": brackets,
}
