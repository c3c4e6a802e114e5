"""A worked question with one slip: one result is wrong, all that follows is worked out from it, and so is the answer.

    3x = 40 - 7 = 33. x = 33 / 3 = 11.    11    becomes    3x = 40 - 7 = 93. x = 93 / 3 = 31.    31

Every number that changes keeps its sign and its digits in number, so that neither length nor form tells the slip.
"""

import random
import re
from collections.abc import Callable
from typing import NamedTuple

NUMBER = r"-?\d+"
EQUATION = re.compile(rf"({NUMBER}(?: (?://|[-+*/]) {NUMBER})+)((?: [a-z]+)? = )({NUMBER})(?![\d./,]*\d)(?! [-+*/])")
TRIES = 50  # to draw a wrong result from which all that follows is a whole number of as many digits
WORKED: dict[str, Callable[[int, int], int | None]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b if b else None,
    "/": lambda a, b: a // b if b and a % b == 0 else None,
}


class Slip(NamedTuple):
    trace: str
    answer: str


def slip(trace: str, answer: str, rng: random.Random) -> Slip | None:
    """None where the answer is not the last result, or no slip leads to a wrong one of its form."""
    found = list(EQUATION.finditer(trace))
    if not found or found[-1][3] != answer:
        return None
    places = list(range(len(found)))
    rng.shuffle(places)
    tried = (_carried(trace, place, rng) for place in places for _ in range(TRIES))
    return next((one for one in tried if one and one.answer != answer), None)


def _carried(trace: str, place: int, rng: random.Random) -> Slip | None:
    """With another result in the equation of that place; None where what follows cannot be worked out in its form."""
    others, told, end, result = dict[str, str](), list[str](), 0, ""
    for number, match in enumerate(EQUATION.finditer(trace)):
        asked = re.sub(NUMBER, lambda one: others.get(one[0], one[0]), match[1])
        result = _other(match[3], rng) if number == place else match[3] if number < place else _value(asked)
        if _form(result) != _form(match[3]):
            return None
        if result != match[3]:
            others[match[3]] = result
        told += [trace[end : match.start()], asked, match[2], result]
        end = match.end()
    return Slip("".join([*told, trace[end:]]), result)


def _value(asked: str) -> str:
    """Of two operands; nothing where it is not whole, and of more than two, which only sums have."""
    first, *rest = asked.split(" ")
    value: int | None = int(first)
    for sign, operand in zip(rest[::2], rest[1::2], strict=True):
        value = None if value is None else WORKED[sign](value, int(operand))
    return "" if value is None else str(value)


def _other(number: str, rng: random.Random) -> str:
    sign, digits = number[: number.startswith("-")], number.lstrip("-")
    least = 10 ** (len(digits) - 1) if len(digits) > 1 else 0
    other = digits
    while other == digits:
        other = str(rng.randrange(least, 10 ** len(digits)))
    return sign + other


def _form(number: str) -> tuple[bool, int]:
    return number.startswith("-"), len(number)
