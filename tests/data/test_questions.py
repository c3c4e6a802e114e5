"""Generated questions: every answer is found again from the question alone, every step is true."""

import datetime
import itertools
import re
from fractions import Fraction

import pytest

from ablate.corpus.checker import wrong
from ablate.data.questions import ALONE, CONVERSIONS, KINDS, TRAINED, alone, question

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


def solve_chains(asked):
    begin, *changes = re.findall(r"(?:is|plus|minus|times) \d", asked)
    value = int(begin[3:])
    for sign, by in (change.split() for change in changes):
        value = {"plus": value + int(by), "minus": value - int(by), "times": value * int(by)}[sign]
    return value


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


@pytest.mark.parametrize("kind", ALONE)
@pytest.mark.parametrize("first", [0, TRAINED])
def test_kinds_with_a_domain_of_their_own_are_right_and_their_steps_are_read(kind, first):
    for index in range(first, first + COUNT):
        asked = alone(kind, index)
        assert asked.answer == str(globals()[f"solve_{kind}"](asked.asked)), asked.text
        assert wrong(asked.steps, asked.answer, asked.answer) == ""
        assert asked.steps.endswith(f" = {asked.answer}."), "a trace alone ends in the answer"


@pytest.mark.parametrize("kind", ALONE)
def test_a_question_comes_twice_but_never_on_both_sides(kind):
    """Numbers are small, so that indices alone would not keep questions of tasks out of training text."""
    trained, asked = ({alone(kind, first + i).asked for i in range(20_000)} for first in (0, TRAINED))
    assert len(trained) < 20_000
    assert trained.isdisjoint(asked)
