"""One slip in a worked question: the rest is worked out of it, in the same form."""

import random

import pytest

from ablate.corpus import arithmetic
from ablate.corpus.checker import ANSWER, wrong
from ablate.corpus.slips import Slip, slip
from ablate.data.questions import KINDS, question

SOLVE = "3x = 40 - 7 = 33. x = 33 / 3 = 11."


def held(trace: str) -> list[bool]:
    return [arithmetic.holds(*sides) for sides in arithmetic.equations(trace)]


def test_a_wrong_result_is_carried_on():
    found = {slip(SOLVE, "11", random.Random(seed)) for seed in range(1000)}
    assert Slip("3x = 40 - 7 = 93. x = 93 / 3 = 31.", "31") in found
    assert Slip("3x = 40 - 7 = 33. x = 33 / 3 = 71.", "71") in found
    assert not [one for one in found if one and "/ 3" in one.trace and held(one.trace) == [True, True]]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"dates", "weekdays", "fractions"}))
def test_of_every_kind_one_equation_is_wrong_and_the_form_is_the_same(kind):
    for index in range(list(KINDS).index(kind), 2000, len(KINDS)):
        one = question(index)
        found = slip(one.steps, one.answer, random.Random(index))
        assert found
        assert held(found.trace).count(False) == 1
        assert found.trace.rpartition(" = ")[2] == f"{found.answer}."
        assert wrong(found.trace, found.answer, one.answer) == ANSWER
        for theirs, ours in ((one.steps, found.trace), (one.answer, found.answer)):
            assert [c.isdigit() for c in theirs] == [c.isdigit() for c in ours]


def test_a_number_from_before_the_slip_is_left():
    """The 8 of the question is no result, though a result is 8 too."""
    found = [slip("a = 8 + 1 = 9. b = 9 - 1 = 8.", "8", random.Random(seed)) for seed in range(50)]
    assert all(one and one.trace.startswith("a = 8 + 1 = ") for one in found)


@pytest.mark.parametrize(
    ("trace", "answer"),
    [
        ("31 days to 2000-01-31, 12 left.", "2000-02-12"),  # no arithmetic
        ("22 = 7 * 3 + 1. Monday plus 1 days is Tuesday.", "Tuesday"),  # the answer is no result
        ("3 + 4 = 7. So there are twelve.", "12"),
        ("1 - 1 = 0. 0 * 5 = 0. 1 // 8 = 0.", "1"),
    ],
)
def test_where_the_answer_is_not_the_last_result_there_is_none(trace, answer):
    assert slip(trace, answer, random.Random(0)) is None
