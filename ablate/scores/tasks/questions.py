"""Generated questions (`data.questions`) that no text to train on holds, each with three near misses.

A near miss is of the kind of the answer: one more or less, two digits exchanged, a result on the way. How many of the
three lie below the answer is drawn first, so that neither the middle nor an end of the four is a good guess.
"""

import dataclasses
import datetime
import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from math import gcd
from typing import Any

from ablate.data.questions import ALONE, KINDS, TRAINED, Question, alone, question
from ablate.run.evaluate import Task
from ablate.run.fields import strict
from ablate.run.parts import require_member
from ablate.scores.items import Item
from ablate.scores.tasks.making import Text, item

WRONG = 3
BLOCK = 10**8  # indices that a seed has to itself
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SIGNED = ("arithmetic", "algebra", "sequences")  # whose answers may lie below zero


@strict
class Options:
    """Which questions, and how much of them is told."""

    # Of `data.questions`, KINDS and ALONE; empty: all ten of KINDS
    kinds: list[str] = dataclasses.field(default_factory=list)
    # Whether the worked steps stand before the answer, as in text to train on: then it is what they end in
    steps: bool = True


def check(key: str, task: Task, options: Options) -> None:
    for kind in options.kinds:
        require_member(f"{key}.options.kinds", kind, KINDS | ALONE)


def make(task: Task, options: Options, text: Text, wanted: int) -> list[Item]:
    found: dict[tuple[str, ...], Item] = {}
    for index, asked in _asked(task.seed, options.kinds or list(KINDS)):
        if len(found) == wanted:
            break
        wrong = near_misses(asked, random.Random(f"near {index}"))
        if len(wrong) == WRONG:
            context = asked.prompt if options.steps else f"Question: {asked.asked}\nAnswer:"
            made = item(f"{asked.kind}/{index}", f"{asked.kind}/{index}", f"{context} ", asked.answer, wrong)
            found.setdefault((context, *made.choices), made)
    return list(found.values())


def _asked(seed: int, kinds: list[str]) -> Iterator[tuple[int, Question]]:
    """Kinds take turns, as in `data.questions`; in each turn, those alone come last."""
    places = sorted(list(KINDS).index(kind) for kind in set(kinds) & set(KINDS))
    first = TRAINED + seed * BLOCK
    for start in range(first, first + BLOCK, len(KINDS)):
        yield from ((start + place, question(start + place)) for place in places)
        yield from ((start, alone(kind, start)) for kind in ALONE if kind in kinds)


def near_misses(asked: Question, rng: random.Random) -> list[str]:
    """Three wrong answers; fewer where there are no more on one side of the right one."""
    if asked.kind == "weekdays":
        return rng.sample([day for day in DAYS if day != asked.answer], WRONG)
    key, near = NEAR.get(asked.kind, (int, _numbers))
    right, misses = key(asked.answer), sorted(set(near(asked)) - {asked.answer}, key=lambda miss: (key(miss), miss))
    below, above = ([m for m in misses if key(m) < right], [m for m in misses if key(m) > right])
    if min(len(below), len(above)) < WRONG:
        return []
    lower = rng.randint(0, WRONG)
    return rng.sample(below, lower) + rng.sample(above, WRONG - lower)


def _numbers(asked: Question) -> Iterator[str]:
    """Whole numbers, not below zero where answers never are."""
    right, digits = int(asked.answer), asked.answer.lstrip("-")
    sign = -1 if right < 0 else 1
    near = [right + off for off in (-10, -3, -2, -1, 1, 2, 3, 10)]
    near += [sign * int(_exchanged(digits, i)) for i in range(len(digits) - 1) if digits[i + (i == 0)] != "0"]
    near += [int(number) for number in re.findall(r"-?\d+", asked.steps) if len(number.lstrip("-")) == len(digits)]
    lowest = min(near) if asked.kind in SIGNED else 0
    return (str(number) for number in near if number >= lowest)


def _exchanged(digits: str, place: int) -> str:
    return digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :]


def _dates(asked: Question) -> Iterator[str]:
    right = datetime.date.fromisoformat(asked.answer)
    for days in (-31, -30, -10, -7, -2, -1, 1, 2, 7, 10, 30, 31):
        yield str(right + datetime.timedelta(days=days))


def _fractions(asked: Question) -> Iterable[str]:
    """Lowest terms, near the right one or as a slip gives them: tops and bottoms added up."""
    top, bottom = map(int, asked.answer.split("/"))
    a, b, c, d = map(int, re.findall(r"\d+", asked.asked)[:4])
    near = [(top + up, bottom + down) for up, down in itertools.product((-3, -2, -1, 0, 1, 2, 3), (-1, 0, 1))]
    near += [(a + c, b + d), (a * c, b * d), (a + c, max(b, d))]
    return (f"{x}/{y}" for x, y in near if x > 0 and y > 0 and gcd(x, y) == 1)


NEAR: dict[str, tuple[Callable[[str], Any], Callable[[Question], Iterable[str]]]] = {
    "dates": (datetime.date.fromisoformat, _dates),
    "fractions": (Fraction, _fractions),
}
