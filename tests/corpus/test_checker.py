import random
import re

import pytest

from ablate.corpus.arithmetic import equations, holds
from ablate.corpus.checker import same, wrong
from ablate.data.questions import KINDS, question

RIGHT = [
    "48/2 = 24. 48+24 = 72.",
    "Weng earns 12/60 = $0.2 per minute. Working 50 minutes, she earned 0.2 x 50 = $10.",
    "10 / 3 = 3.33 and 20 / 3 = 6.66",  # rounded, and cut
    "$1,200 * 3 = $3,600, or 3,600.00 / 2 = 1,800",
    "20% of 50 = 10, and 10 / 50 = 20%, and 10 / 50 * 100 = 20%",
    "1/2 + 1/3 = 5/6. 2 1/2 * 4 = 10. 4 / 3 = 1 and 1/3",
    "(3 + 4) * 2 = 7 * 2 = 14",
    "12 apples * 2 boxes = 24 apples. $12/hour * 5 hours = $60.",
    "60 students x 2/3 = 40 students",
    "123 // 7 = 17. 17 * 7 = 119.",
    "Day 3:100+20=120",
    "a leap year: 3 / 1/4 = 12",
    "2 − 5 = −3; 2 × 3 ÷ 6 = 1",
    "- 5 + 3 = 8",  # an entry of a list
]
WRONG = [
    "48/2 = 24. 48+24 = 73.",
    "0.2 x 50 = $11",
    "10 / 3 = 3.34",
    "$1,200 * 3 = $3,700",
    "20% of 50 = 11",
    "1/2 + 1/3 = 2/5",
    "2 1/2 * 4 = 11",
    "(3 + 4) * 2 = 7 * 2 = 15",
    "(3 + 4) * 2 = 7 * 3 = 21",  # the first of the two signs
    "2 + 3 + 4 = 10 apples",
    "3x = 40 - 7 = 34",
    "7 = 2 * 3 + 2",
]
UNREAD = [
    "3x = 12",
    "1 hour = 60 minutes",
    "1.5 hours = 1.5*60",
    "7:50 + 30 = 8:20",
    "x + 3 = 30 + 4y",
    "2^3 = 8",
    "a = b",
]


@pytest.mark.parametrize("trace", RIGHT)
def test_arithmetic_that_is_right(trace):
    assert list(equations(trace))
    assert wrong(trace, "1", "1") == ""


@pytest.mark.parametrize("trace", WRONG)
def test_arithmetic_that_is_wrong(trace):
    assert wrong(trace, "1", "1") == "arithmetic"


@pytest.mark.parametrize("trace", UNREAD)
def test_what_cannot_be_read_is_not_wrong(trace):
    assert all(holds(*sides) for sides in equations(trace))


def test_the_answer_decides_first():
    assert wrong("1 + 1 = 3", "", "2") == "no answer"
    assert wrong("1 + 1 = 2", "3", "2") == "answer"
    assert wrong("1 + 1 = 2", "2", "2") == ""


def test_answers_are_numbers_or_text():
    assert same("$1,000.00", "1000")
    assert same(" 72. ", "72")
    assert same("monday", "Monday")
    assert same("-3", "−3")
    assert same(".5", "0.5")
    assert not same("3", "-3")
    assert not same("2/4", "1/2")  # lowest terms are asked for
    assert not same("7", "72")
    assert not same("2020-01-02", "2020-01-03")


def test_planted_mistakes_are_all_caught_and_no_right_question_is_lost():
    """In as many questions of each kind, one digit of one result."""
    rng = random.Random(0)
    planted = 0
    for index in range(1000):
        asked = question(index)
        assert wrong(asked.steps, asked.answer, asked.answer) == "", asked
        results = list(re.finditer(r"(?<![\d-])-?\d+ (?:[-+*]|//?) -?\d+ = (-?\d+)", asked.steps))
        if results:
            planted += 1
            assert wrong(_with_a_wrong_digit(asked.steps, rng.choice(results), rng), "1", "1") == "arithmetic", asked
    assert planted == 1000 * 8 // len(KINDS)  # days of the week are written otherwise, and dates have no equations


def _with_a_wrong_digit(text: str, result: re.Match[str], rng: random.Random) -> str:
    place = rng.choice([i for i in range(*result.span(1)) if text[i].isdigit()])
    return text[:place] + rng.choice([digit for digit in "123456789" if digit != text[place]]) + text[place + 1 :]
