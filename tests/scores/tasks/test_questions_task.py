"""Questions that are asked: never those of training text, and near misses that give nothing away."""

import random
from fractions import Fraction
from typing import Any

import pytest

from ablate.data import installed
from ablate.data.questions import ALONE, KINDS, TRAINED, alone, question
from ablate.run.evaluate import Task
from ablate.scores.tasks.questions import BLOCK, Options, _asked, make, near_misses
from tests.scores.tasks.heldtext import Held

NONE = Held({})


def test_training_text_ends_where_questions_for_tasks_begin(monkeypatch):
    """However large a corpus is: its questions are those below a bound, and tasks of any seed are not."""
    monkeypatch.setattr(installed, "TRAINED", 7)
    assert len(list(installed.qa())) == 7
    assert all(next(_asked(seed, [kind]))[0] >= TRAINED for seed in (0, 1, 10**6) for kind in KINDS | ALONE)


def test_seeds_ask_other_questions():
    one, other = (make(Task(seed=seed), Options(), NONE, 300) for seed in (0, 1))
    assert {item.key for item in one}.isdisjoint(item.key for item in other)
    assert all(int(item.key.rpartition("/")[2]) >= TRAINED + BLOCK for item in other)


@pytest.mark.parametrize("kind", KINDS)
def test_near_misses_are_wrong_and_like_the_answer(kind):
    for item in make(Task(), Options(kinds=[kind]), NONE, 100):
        asked = question(int(item.key.rpartition("/")[2]))
        assert asked.kind == kind
        assert item.choices[item.gold] == f" {asked.answer}"
        assert item.context == asked.prompt
        assert len(set(item.choices)) == 4
        values = [_value(kind, choice.strip()) for choice in item.choices]
        assert len(set(values)) == 4
        if kind in ("division", "shopping", "units", "comparing"):
            assert not any(choice.startswith(" -") for choice in item.choices)


def _value(kind: str, answer: str) -> Any:
    if kind == "fractions":
        value = Fraction(answer)
        assert answer == f"{value.numerator}/{value.denominator}"  # in lowest terms, as asked
        return value
    return answer if kind in ("dates", "weekdays") else int(answer)


def test_a_near_miss_may_be_a_result_on_the_way():
    """49 dozens are 588 pieces, and 10 more 598."""
    asked = question(next(i for i in range(3, 10**4, 10) if "dozens" in question(i).asked))
    between = asked.steps.split(" = ")[2].split()[0]
    drawn = {miss for seed in range(200) for miss in near_misses(asked, random.Random(seed))}
    assert between in drawn or len(between) != len(asked.answer)


def test_without_steps_the_question_stands_alone():
    [item] = make(Task(), Options(steps=False), NONE, 1)
    asked = question(int(item.key.rpartition("/")[2]))
    assert item.context == f"Question: {asked.asked}\nAnswer:"


def test_kinds_with_a_domain_of_their_own_are_asked_where_they_are_named():
    both = make(Task(), Options(kinds=["chains", "units"]), NONE, 20)
    assert {item.key.partition("/")[0] for item in both} == {"chains", "units"}
    assert not any(item.key.startswith("chains") for item in make(Task(), Options(), NONE, 50))
    item = next(item for item in both if item.key.startswith("chains"))
    assert item.context == alone("chains", int(item.key.rpartition("/")[2])).prompt
