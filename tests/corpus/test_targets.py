import random
import re

import pytest

from ablate.corpus import arithmetic, turns
from ablate.corpus.targets import TARGETS, Worked, altered, document, named, steps
from ablate.data.questions import question
from ablate.run.parse import from_plain
from ablate.run.settings import SettingsError

SOLVE = Worked("Solve 3x + 7 = 40 for x.", "3x = 40 - 7 = 33. x = 33 / 3 = 11.", "11")


def parts(target: str, worked: Worked = SOLVE, source: str = "a") -> list[turns.Part]:
    return turns.parts_of(document(target, worked, source), "qa")


def worked(index: int) -> Worked:
    return Worked(*question(index)[1:])


def trace_of(target: str, one: Worked, source: str) -> str:
    [_, response] = parts(target, one, source)
    return response.text.removeprefix("Steps: ").rpartition("\nAnswer: ")[0]


def held(trace: str) -> list[bool]:
    return [arithmetic.holds(*sides) for sides in arithmetic.equations(trace)]


def test_what_is_asked_and_what_is_learnt():
    asked = ("prompt", "Question: Solve 3x + 7 = 40 for x.\n")
    assert parts("answer") == [asked, ("response", "Answer: 11")]
    assert parts("trace") == [asked, ("response", "Steps: 3x = 40 - 7 = 33. x = 33 / 3 = 11.")]
    whole = "Steps: 3x = 40 - 7 = 33. x = 33 / 3 = 11.\nAnswer: 11"
    assert parts("trace_then_answer") == [asked, ("response", whole)]
    assert {parts(target)[0] for target in TARGETS if target != "repair"} == {asked}


def test_a_trace_and_its_answer_are_the_text_of_a_question():
    for index in range(50):
        assert document("trace_then_answer", worked(index), "a").text == question(index).text


def test_either_teaches_half_of_the_questions_each_way():
    found = [(parts("either", SOLVE, f"q/{n}"), parts("answer"), parts("trace_then_answer")) for n in range(400)]
    assert 160 < sum(one == at_once for one, at_once, _ in found) < 240
    assert all(one in (at_once, stepped) for one, at_once, stepped in found)


def test_repair_asks_with_a_slip_and_learns_what_is_right_from_there():
    for index in range(100):
        one = worked(index)
        prompt, response = parts("repair", one, f"questions/{index}")
        begun = prompt.text.removeprefix(f"Question: {one.prompt}\nSteps: ").removesuffix("\n")
        mended, _, answer = response.text.removeprefix("Mended: ").rpartition("\nAnswer: ")
        assert answer == one.answer
        assert one.trace.endswith(mended)
        before = one.trace.removesuffix(mended)
        assert begun.startswith(before)
        slip, first = begun.removeprefix(before), steps(mended)[0][0]
        assert slip != first
        assert len(slip) == len(first)


def test_a_wrong_trace_has_the_form_and_no_equation_that_holds():
    for index in range(200):
        one = worked(index)
        trace = trace_of("wrong_trace", one, f"questions/{index}")
        alike = re.search(r"\b(\d+)/\1\b", one.trace)  # 6/6 = 30/30 is 77/77 when it is carried on
        assert alike or not any(held(trace)), trace
        assert len(held(trace)) == len(held(one.trace))
        assert [c for c in trace if not c.isdigit()] == [c for c in one.trace if not c.isdigit()]
        assert trace != one.trace


def test_a_wrong_result_is_carried_on():
    trace = "2 * 3 = 6. 6 + 10 = 16."
    first, second = steps(altered(trace, random.Random(0)))[0]
    result = first.removeprefix("2 * 3 = ").removesuffix(".")
    assert second.startswith(f"{result} + 10 = ")


def test_a_shuffled_trace_has_the_same_steps_in_another_order():
    for index in range(200):
        one = worked(index)
        found, right = steps(trace_of("shuffled_trace", one, f"questions/{index}"))[0], steps(one.trace)[0]
        assert found != right
        assert sorted(found) == sorted(right) or len(right) == 1


def test_lines_are_steps_where_there_are_several():
    assert steps("He has 1. And 2.\nSo 3.") == (["He has 1. And 2.", "So 3."], "\n")
    assert steps("a is .5. b is 3.5 m.") == (["a is .5.", "b is 3.5 m."], " ")


def test_what_is_drawn_follows_from_the_document_alone():
    assert parts("wrong_trace", SOLVE, "a") == parts("wrong_trace", SOLVE, "a")
    assert len({tuple(parts("wrong_trace", SOLVE, source)) for source in "abcdef"}) > 1


def test_a_trace_with_nothing_to_alter_makes_no_document():
    one = Worked("Who?", "Nobody.", "Nobody")
    assert document("wrong_trace", one, "a").text == ""
    assert document("shuffled_trace", one, "a").text == ""
    assert document("repair", one, "a").text == ""


@pytest.mark.parametrize(
    ("target", "sources", "said"),
    [
        ({"qa": "steps"}, {}, "data.target.qa=steps: must be one of answer, trace,"),
        ({"math": "answer"}, {}, "data.target=math: must be one of"),
        ({"code": "answer"}, {}, "data.target.code=answer: code holds no worked questions"),
        ({"qa": "answer"}, {"code": "qa"}, "data.target.code: must be answer, as of the other domain that reads qa"),
    ],
)
def test_a_target_that_cannot_be_had(target, sources, said):
    data = from_plain({"data": {"target": target, "sources": sources}}).data
    with pytest.raises(SettingsError, match=f"^{said}"):
        named(data, lambda name: name == "qa")


@pytest.mark.parametrize("target", TARGETS)
def test_a_row_without_what_is_to_be_learnt_makes_no_document(target):
    blank = document(target, Worked("What is 1 + 1?", " ", "2"), "s")
    assert bool(blank.text) == (target == "answer")
    unanswered = document(target, Worked("What is 1 + 1?", "1 + 1 = 2.", "\n"), "s")
    assert bool(unanswered.text) == (target == "trace")
