"""Generated questions: every answer is found again from the question alone, every step is true."""

import datetime
import itertools
import re
from fractions import Fraction

import pytest

from ablate.data.questions import CONVERSIONS, KINDS, question

COUNT = 200  # of each kind
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"-?\d+", text)]


def of_kind(kind: str) -> list[int]:
    return [i for i in range(COUNT * len(KINDS)) if question(i).kind == kind]


def solve_arithmetic(asked):
    [(a, sign, b, c)] = re.findall(r"(\d+) ([+-]) (\d+) \* (\d+)", asked)
    return int(a) + int(f"{sign}1") * int(b) * int(c)


def solve_division(asked):
    total, divisor = numbers(asked)
    return total % divisor


def solve_shopping(asked):
    n, p, m, q, paid = numbers(asked)
    return paid - n * p - m * q


def solve_units(asked):
    [(small, n, large, extra)] = re.findall(r"How many (\w+) are (\d+) (\w+) and (\d+)", asked)
    factor = {(a, b): f for a, b, f in CONVERSIONS}[large, small]
    return int(n) * factor + int(extra)


def solve_dates(asked):
    [(days, start)] = re.findall(r"Which date is (\d+) days after (\S+)\?", asked)
    return datetime.date.fromisoformat(start) + datetime.timedelta(days=int(days))


def solve_weekdays(asked):
    [(today, days)] = re.findall(r"Today is (\w+)\. .* in (\d+) days", asked)
    return DAYS[(DAYS.index(today) + int(days)) % 7]


def solve_algebra(asked):
    a, b, c = numbers(asked)
    [x] = [x for x in range(-100, 101) if a * x + b == c]
    return x


def solve_fractions(asked):
    a, b, c, d = numbers(asked)
    total = Fraction(a, b) + Fraction(c, d)
    return f"{total.numerator}/{total.denominator}"


def solve_sequences(asked):
    terms = numbers(asked)
    steps = [b - a for a, b in itertools.pairwise(terms)]
    return terms[-1] + steps[-1] + (steps[-1] - steps[-2])


def solve_comparing(asked):
    n, more, fewer = numbers(asked)
    return n + (n + more) + (n + more - fewer)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_right(kind):
    solve = globals()[f"solve_{kind}"]
    for index in of_kind(kind):
        asked = question(index)
        assert asked.answer == str(solve(asked.asked)), asked.text


def test_steps_are_true():
    checked = 0
    for index in range(COUNT * len(KINDS)):
        steps = question(index).steps
        for expression, result in re.findall(r"((?:-?\d+ (?:[-+*]|//?) )+-?\d+) = (-?\d+)", steps):
            assert eval(expression) == int(result), steps
            checked += 1
    assert checked > COUNT * len(KINDS)


def test_a_question_depends_on_its_index_alone():
    backwards = [question(i) for i in reversed(range(100))]
    assert backwards == [question(i) for i in range(100)][::-1]
    assert len({asked.text for asked in backwards}) == 100


def test_text_ends_in_the_answer():
    asked = question(6)
    assert asked.text == f"{asked.prompt} {asked.answer}"
    assert asked.text.splitlines()[-1] == f"Answer: {asked.answer}"
