"""Arithmetic in a text: the equations that can be read, and whether they re-compute.

    all(holds(*sides) for sides in equations("48 / 2 = 24 clips. 48 + 24 = 73."))      False

Read are whole numbers, decimals, fractions, 2 1/2, 1,000, 20 %, money, brackets, `x` and `*`, // (the whole part of a
quotient), units behind numbers, and chains: a + b = c = d. A result may be rounded to, or cut at, the decimals that it
has. What cannot be read is not wrong: `3x = 12`, `1 hour = 60 minutes`, `7:50 + 30 = 8:20`.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise, product
from typing import NamedTuple

NUMBER = r"\d{1,3}(?:,\d{3})+(?!\d|,\d)(?:\.\d+)?|\d{1,3}(?: \d{3})* 000(?!\d)|\d+(?:\.\d+)?|(?<![\d.])\.\d+"
UNCLEAR = (
    r"\d+:\d+|(?!\d{1,3}(?: \d{3})* 000(?!\d))\d+(?: \d{3})+(?!\d)"  # 7:50, and 12 200, which are two numbers or one
)
WORD = r"(?![xX]\d)[^\W\d_]{1,2}\d+|[^\W\d_]+"  # and names such as D1
TOKEN = re.compile(
    rf"(?P<unclear>{UNCLEAR})|(?P<number>{NUMBER})|(?P<op>//|[-+*/()])|(?P<percent>%)|(?P<word>{WORD})|(?P<other>\S)"
)
MIXED = re.compile(r"(\d) and (?:\((\d+/\d+)\)|(\d+/\d+))")  # 3 and 1/3
LABEL = re.compile(r"^\W*(?:day|night|week|month|year|step|part) *\d+ *:", re.IGNORECASE)  # of a line
UNIT_LETTERS = "g"  # 130g; another letter at a number is a variable
EQUALS = re.compile(r"(?<![<>!=])=(?![=>])")
SIGNS = str.maketrans({"×": "*", "·": "*", "∗": "*", "÷": "/", "−": "-", "–": "-", "$": " ", "€": " ", "£": " "})
POWERS = re.compile(r"\^|\*\*|[²³]")
UNIT_WORDS = 3  # behind a number, at most
DIGITS = 60  # of a number, at most: no product of a few of them takes long


class Token(NamedTuple):
    kind: str  # number, op, percent, word, other
    text: str
    tight: bool  # whether nothing stands between it and the one before


class Side(NamedTuple):
    """One side of an equation: what of it is arithmetic, and the unit behind it."""

    tokens: tuple[Token, ...]
    unit: str

    @property
    def computes(self) -> bool:
        return sum(token.kind == "number" for token in self.tokens) > 1


class Reading(NamedTuple):
    """What may be meant in two ways."""

    percent: Fraction  # what 1 % is: 20/50 = 40 %, 20 / 50 * 100 = 40 %
    tops: bool  # whether a/b/c is a / (b/c)

    @classmethod
    def all_of(cls, tokens: Sequence[Token]) -> "list[Reading]":
        percents = (Fraction(1, 100), Fraction(1)) if any(one.kind == "percent" for one in tokens) else (Fraction(1),)
        tops = (False, True) if sum(one.text == "/" for one in tokens) > 1 else (False,)
        return [cls(*both) for both in product(percents, tops)]


class Unread(Exception):
    """What stands there is no arithmetic."""


def equations(trace: str) -> Iterator[tuple[Side, Side]]:
    """Both sides of every equation that can be read."""
    for line in MIXED.sub(r"\1 \2\3", trace.translate(SIGNS)).split("\n"):
        sides = [_tokens(part) for part in EQUALS.split(LABEL.sub("", line))]
        for left, right in pairwise(sides):
            try:
                a, b = _last(left), _first(right)
            except Unread:
                continue
            if a.computes or (b.computes and not a.unit):
                yield a, b


def holds(left: Side, right: Side) -> bool:
    """Whether an equation re-computes, by a reading of its percent signs. Sides of other units may be a conversion."""
    lefts = (
        [left.tokens, left.tokens[1:]] if left.tokens[0].text == "-" else [left.tokens]
    )  # - may begin a list's entry
    for tokens, a, b in product(lefts, Reading.all_of(left.tokens), Reading.all_of(right.tokens)):
        try:
            told, found = _value(tokens, a), _value(right.tokens, b)
        except (Unread, ZeroDivisionError):
            return True
        if _equal(told, found, right) or _equal(found, told, left):
            return True
    return bool(left.unit and (right.computes or (right.unit and right.unit != left.unit)))


def _equal(value: Fraction, told: Fraction, side: Side) -> bool:
    """Whether a side says a value; a single number may have fewer decimals."""
    if value == told or side.computes:
        return value == told
    number = next(token.text for token in side.tokens if token.kind == "number")
    decimals = len(number.partition(".")[2])
    if not decimals or not told:
        return False
    unit = abs(told / Fraction(number)) / 10**decimals  # of its last digit
    rounded = abs(value - told) <= unit / 2
    return rounded or Fraction(int(value / unit)) * unit == told


def _tokens(text: str) -> list[Token]:
    found, end = list[Token](), -1
    for match in TOKEN.finditer(POWERS.sub("^", text)):
        plain = match[0].replace(",", "").replace(" ", "") or match[0]
        found.append(Token(str(match.lastgroup), plain, match.start() == end))
        end = match.end()
    for place in range(1, len(found) - 1):  # 3 x 4, and not the x of 3x
        before, here, after = found[place - 1 : place + 2]
        apart = not here.tight and not after.tight
        times = here.text in ("x", "X") and (after.kind == "number" or after.text == "(")
        if times and (_ends(before) or (apart and before.kind == "word")):
            found[place] = here._replace(kind="op", text="*")
        if here.text == "of" and before.kind == "percent" and after.kind == "number":
            found[place] = here._replace(kind="op", text="*")
    return found


def _ends(token: Token) -> bool:
    """Whether an operand can end in it."""
    return token.kind in ("number", "percent", "unclear") or token.text == ")"


def _last(tokens: Sequence[Token]) -> Side:
    """The arithmetic that a text ends in, and the unit behind it."""
    at, unit = _before_unit(tokens, len(tokens))
    depth, kept = 0, list[Token]()
    wants_operand = True
    while at > 0:
        token = tokens[at - 1]
        if wants_operand and token.kind == "word":
            at, _ = _before_unit(tokens, at)
            if at == 0 or not _ends(tokens[at - 1]):
                raise Unread
            continue
        if wants_operand and not _ends(token):
            raise Unread
        if token.kind == "percent":
            pass
        elif token.text == ")":
            depth += 1
        elif token.kind == "number":
            wants_operand = _is_mixed(tokens, at)
        elif token.text == "(" and depth:
            depth -= 1
        elif token.kind == "op" and token.text not in "()":
            wants_operand = not _is_sign(tokens, at)
        else:
            break
        kept.append(token)
        at -= 1
    alone = len(kept) == 1 and at > 0 and tokens[at - 1].kind == "word"  # day 1
    implied = at > 0 and kept and kept[-1].text == "(" and _ends(tokens[at - 1])  # 2(30)
    if wants_operand or depth or alone or implied or (at and tokens[at - 1].text in ("^", "/")):
        raise Unread
    return Side(tuple(reversed(kept)), unit)


def _is_mixed(tokens: Sequence[Token], at: int) -> bool:
    """Whether the number before `at` is the top of a fraction with a whole number before it: 2 1/2."""
    fraction = at + 1 < len(tokens) and tokens[at].text == "/" and tokens[at + 1].kind == "number"
    return fraction and at > 1 and tokens[at - 2].kind == "number"


def _is_sign(tokens: Sequence[Token], at: int) -> bool:
    """Whether the operator before `at` is a sign: nothing that it could take from stands before it."""
    if tokens[at - 1].text != "-":
        return False
    before = tokens[at - 2] if at > 1 else None
    return before is None or before.text == "(" or before.kind == "other"


def _before_unit(tokens: Sequence[Token], stop: int) -> tuple[int, str]:
    """Where words that stand behind a number begin, and the first of them; `of a/b` and `per` are words too."""
    at = stop
    while at and stop - at < 2 * UNIT_WORDS and (tokens[at - 1].kind == "word" or _is_per(tokens, at)):
        at -= 1
    if at < stop and at and _is_variable(tokens, at):
        raise Unread
    return at, tokens[at].text.casefold() if at < stop else ""


def _is_variable(tokens: Sequence[Token], at: int) -> bool:
    """Whether the word at a place is the x of 3x."""
    word = tokens[at]
    return word.tight and _ends(tokens[at - 1]) and len(word.text) == 1 and word.text not in UNIT_LETTERS


def _is_per(tokens: Sequence[Token], at: int) -> bool:
    """Whether the token before `at` is the stroke of dollars/hour."""
    return tokens[at - 1].text == "/" and at < len(tokens) and tokens[at].kind == "word"


def _first(tokens: Sequence[Token]) -> Side:
    """The arithmetic that a text begins with, and the unit behind it."""
    kept, at, depth, unit = list[Token](), 0, 0, ""
    wants_operand = True
    while at < len(tokens):
        token = tokens[at]
        if not wants_operand and _is_hyphen(tokens, at):
            unit = tokens[at + 1].text.casefold()
            break
        if wants_operand and (token.kind == "number" or token.text in ("(", "-")):
            depth += token.text == "("
            wants_operand = token.kind != "number"
        elif not wants_operand and (token.kind == "percent" or (token.text == ")" and depth)):
            depth -= token.text == ")"
        elif not wants_operand and token.kind == "number" and _is_mixed(tokens, at + 1):
            pass
        elif not wants_operand and token.kind == "op" and token.text not in "()":
            wants_operand = True
        else:
            break
        kept.append(token)
        at += 1
        if not wants_operand and at < len(tokens) and tokens[at].kind == "word":
            if _is_variable(tokens, at):
                raise Unread
            unit, at = tokens[at].text.casefold(), _behind_unit(tokens, at)
    if wants_operand and kept and kept[-1].kind == "op" and unit:  # a unit, and a dash: 5 apples - she ate ...
        kept.pop()
        wants_operand = False
    if wants_operand or depth or (at < len(tokens) and tokens[at].text == "^"):
        raise Unread
    return Side(tuple(kept), unit)


def _is_hyphen(tokens: Sequence[Token], at: int) -> bool:
    """Whether a place holds that of 27-liter."""
    behind = tokens[at + 1] if at + 1 < len(tokens) else tokens[at]
    return tokens[at].text == "-" and tokens[at].tight and behind.kind == "word" and behind.tight


def _behind_unit(tokens: Sequence[Token], at: int) -> int:
    """Where arithmetic goes on behind a unit; the end if it does not."""
    for place in range(at, min(at + 2 * UNIT_WORDS, len(tokens))):
        if tokens[place].kind == "op" and tokens[place].text not in "()" and not _is_per(tokens, place + 1):
            return place
        if tokens[place].kind != "word" and not _is_per(tokens, place + 1):
            break
    return len(tokens)


def _value(tokens: Sequence[Token], reading: Reading) -> Fraction:
    """The value of a side. Raises Unread for what is no arithmetic, and ZeroDivisionError."""
    reader = _Reader(list(tokens), reading)
    value = reader.total()
    if reader.left:
        raise Unread
    return value


class _Reader:
    """Sums of products of operands, from left to right."""

    def __init__(self, tokens: list[Token], reading: Reading) -> None:
        self.left, self.reading = tokens, reading

    def total(self) -> Fraction:
        value = self.product()
        while self._next() in ("+", "-"):
            value = value + self.product() if self.left.pop(0).text == "+" else value - self.product()
        return value

    def product(self) -> Fraction:
        value = self.operand()
        while self._next() in ("*", "/", "//"):
            sign, other = self.left.pop(0).text, self.operand()
            if sign == "/" and self.reading.tops and self._next() == "/":
                self.left.pop(0)
                other /= self.operand()
            value = value * other if sign == "*" else value / other if sign == "/" else Fraction(value // other)
        return value

    def operand(self) -> Fraction:
        if not self.left:
            raise Unread
        token = self.left.pop(0)
        if token.text == "-":
            return -self.operand()
        if token.text == "(":
            value = self.total()
            if self._next() != ")":
                raise Unread
            self.left.pop(0)
        elif token.kind == "number" and len(token.text) <= DIGITS:
            value = Fraction(token.text) + self._fraction()
        else:
            raise Unread
        while self._next() == "%":
            value, _ = value * self.reading.percent, self.left.pop(0)
        return value

    def _fraction(self) -> Fraction:
        """That of a mixed number: the 1/2 of 2 1/2."""
        if [token.kind for token in self.left[:3]] != ["number", "op", "number"] or self.left[1].text != "/":
            return Fraction(0)
        top, _, bottom = (self.left.pop(0) for _ in range(3))
        return Fraction(top.text) / Fraction(bottom.text)

    def _next(self) -> str:
        return self.left[0].text if self.left else ""
