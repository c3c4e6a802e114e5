"""A synthetic study in whose arm some answers are planted: judged by those that were left alone, and shown."""

import io

import pytest
from answered import Asked, answer  # pyrefly: ignore  # beside this file
from rich.console import Console
from worlds import World, write  # pyrefly: ignore  # beside this file

from ablate.page import inserted
from ablate.page.drawing.doses import doses
from ablate.page.spreadsheet import tables
from ablate.verdict import evidence, interventions

KIND = {"kind": "inserted", "protocols": ["cloze"], "items": 200}
READ = {str(number): 4 if number < 10 else 1 for number in range(20)}


@pytest.fixture
def study(tmp_path):
    found = write(tmp_path, World(effects={"texts": 0.0}, null_arm=None))
    answer(found, Asked(items=300, effects={"texts": -0.5}, settings=KIND, item_noise=0.1), task="facts")
    return found


def note(study, arm: str) -> None:
    """Texts of twenty questions that runs of the arm have read."""
    for name, _, record in study.records():
        for step in range(1, 5) if name == arm else ():
            record.append("inserted", step=step, questions=[one for one, times in READ.items() if step <= times])


def test_what_moves_all_answers_alike_is_no_effect_of_a_text(study):
    note(study, "texts")
    [found] = interventions.interventions(evidence.read(study))
    assert (found.arm, found.task, found.left_alone) == ("texts", "facts", 4 * 280)
    assert len(found.judged.answers) == 20
    assert all(-0.7 < one / 0.5 < 0.0 for one in found.drift.values())  # bits per byte of answers of six bytes
    assert {one: round(told.mean, 1) for one, told in found.judged.by_times.items()} == {1: 0.0, 4: 0.0}
    assert found.words(4) == {"inconclusive": 10}


def test_it_is_shown_with_a_line_for_each_number_of_repetitions(study):
    note(study, "texts")
    [found] = interventions.interventions(evidence.read(study))
    text = io.StringIO()
    Console(file=text, width=100).print(inserted.shown(found))
    assert "once" in text.getvalue()
    assert "4 times" in text.getvalue()
    assert len(doses(found).axes) == 1


def test_the_numbers_behind_it_are_a_table_of_one_family_after_the_other(study):
    note(study, "texts")
    lines = tables(evidence.read(study), [])["questions"].splitlines()
    assert lines[0] == "arm,task,unit,left_alone,question,times,word,difference,low,high,p_adjusted"
    assert [line.split(",")[4:6] for line in lines[1:4]] == [["", "1"], ["", "4"], ["0", "4"]]
    assert len(lines) == 1 + 2 + 20


def test_a_base_that_has_read_texts_too_gives_no_verdict(study):
    assert interventions.interventions(evidence.read(study)) == []  # nobody has read any
    note(study, "texts")
    note(study, "base")
    assert interventions.interventions(evidence.read(study)) == []


def test_texts_that_nobody_asks_about_give_no_verdict(study):
    for name, _, record in study.records():
        if name == "texts":
            record.append("inserted", step=1, questions=["of another table"])
    assert interventions.interventions(evidence.read(study)) == []
