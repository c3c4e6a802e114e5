"""Sets of the user's own: generous in names, one line for what cannot be meant."""

import json

import pytest

from ablate.run.evaluate import Task
from ablate.run.settings import UserError
from ablate.scores.tasks.table import drawn
from tests.scores.tasks.heldtext import Held


def items(tmp_path, *rows, **settings):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return drawn("mine", Task(kind="jsonl", path=str(path), **settings), Held({})).items


CHOICES = ["Rome", "Milan", "2"]


@pytest.mark.parametrize(
    ("row", "gold"),
    [
        ({"question": "Q?", "choices": CHOICES, "answer": 1}, 1),
        ({"question": "Q?", "options": CHOICES, "gold": "B"}, 1),
        ({"question": "Q?", "endings": CHOICES, "label": "1"}, 1),  # as in HellaSwag
        ({"question": "Q?", "choices": CHOICES, "target": "Rome"}, 0),
        ({"question": "Q?", "choices": {"text": CHOICES, "label": ["1", "2", "3"]}, "answerKey": "3"}, 2),  # as in ARC
        ({"question": "Q?", "choices": {"text": CHOICES, "label": [1, 2, 3]}, "answerKey": 2}, 1),
        ({"question": "Q?", "choices": {"text": CHOICES, "label": ["A", "B", "C"]}, "answerKey": 2}, 2),
        ({"question": "Q?", "choices": {"a": "Rome", "b": "Milan", "c": "2"}, "answer": "b"}, 1),
    ],
)
def test_names_and_answers_of_many_kinds(tmp_path, row, gold):
    [item] = items(tmp_path, row)
    assert item.context == "Question: Q?\nAnswer:"
    assert item.choices == (" Rome", " Milan", " 2")
    assert item.gold == gold


def test_contexts_choices_and_sources(tmp_path):
    rows = [
        {"context": "The sun rises in the ", "choices": ["east", " west"], "answer": 0, "source": "page 3"},
        {"passage": "It rained.", "query": "Was it dry?", "answer": "no"},
        {"passage": "It rained.", "query": "Was it dry?", "answer": "no"},
    ]
    found = {item.key: item for item in items(tmp_path, *rows)}
    assert found.keys() == {"1", "2"}
    assert (found["1"].context, found["1"].choices) == ("The sun rises in the", (" east", " west"))
    assert (found["1"].source, found["2"].source) == ("page 3", "line 2")
    assert found["2"].context == "It rained.\nQuestion: Was it dry?\nAnswer:"
    assert found["2"].choices == (" no",)


def test_choices_are_text_as_contexts_are(tmp_path):
    """Training text is NFC, and no text has half of a pair of UTF-16."""
    [item] = items(tmp_path, {"question": "Q?", "choices": ["cafe\u0301\r\n", "\n  x\ud800"], "answer": 0})
    assert item.choices == (" café", "\n  x")


def test_a_misspelt_key_makes_an_open_question_and_is_named(tmp_path, capsys):
    [item] = items(tmp_path, {"question": "Q?", "choises": CHOICES, "answer": "Rome", "id": 7})
    assert item.choices == (" Rome",)
    said = "mine.jsonl: rows without choices are open questions; nothing reads their choises, id\n"
    assert capsys.readouterr().err.endswith(said)
    items(tmp_path, {"question": "Q?", "choices": CHOICES, "answer": 0, "id": 7}, {"question": "Q?", "answer": "Rome"})
    assert not capsys.readouterr().err


def test_rows_that_stand_twice_are_said_and_two_answers_refused(tmp_path, capsys):
    row = {"question": "Q?", "choices": ["a", "b"], "answer": 0}
    assert len(items(tmp_path, row, row, row, {"question": "P?", "answer": "x"})) == 2
    assert "mine.jsonl: rows that stand there again, and are asked once: 2" in capsys.readouterr().err
    assert len(items(tmp_path, row, {"question": "P?", "answer": "x"})) == 2
    assert capsys.readouterr().err == ""
    turned = {"question": "Q?", "choices": ["b", "a"], "answer": 0}
    with pytest.raises(UserError, match=r"mine\.jsonl:2: asks what line 1 asks, with another answer"):
        items(tmp_path, row, turned)


def test_a_part_of_the_set_is_drawn_by_seed(tmp_path):
    rows = [{"question": f"What is {n}?", "answer": str(n)} for n in range(100)]
    one, same, other = (items(tmp_path, *rows, items=20, seed=seed) for seed in (0, 0, 1))
    assert one == same != other
    assert len(one) == len(other) == 20


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", ":2: not JSON"),
        ("[1]", ":2: must be an object {...}, not list"),
        ({"answer": 1}, ":2: has nothing to ask (context, ctx, passage, prompt, text, question, query); it has answer"),
        ({"question": "Q?"}, ":2: has no answer (answer or gold or label or answerKey or target); it has question"),
        ({"question": "Q?", "answer": 1, "gold": 1}, ":2: answer and gold mean the same; keep one"),
        ({"question": 3, "answer": 1}, ":2: question=3: must be text that is not empty"),
        ({"question": "Q?", "choices": ["a"], "answer": 0}, ":2: choices=['a']: must be a list of two texts or more"),
        ({"question": "Q?", "choices": ["a", "a "], "answer": 0}, "must be texts that differ from one another"),
        (
            {"question": "Q?", "choices": ["a", "b"], "answer": 2},
            ":2: answer=2: must be one choice: a number from 0 to 1",
        ),
        (
            {"question": "Q?", "choices": ["1", "0"], "answer": "1"},
            ":2: answer='1': must be one choice",
        ),  # text or place
        ({"question": "Q?", "choices": ["a", "b"], "answer": True}, ":2: answer=True: must be one choice"),
        ({"question": "Q?", "choices": {"text": ["a", "b"], "label": ["A", "A"]}, "answer": "A"}, ":2: choices.label="),
        ({"question": "Q?", "answer": None}, ":2: answer=None: must be the right text"),
    ],
)
def test_mistakes_name_file_line_and_key(tmp_path, row, said):
    with pytest.raises(UserError) as caught:
        items(tmp_path, {"question": "Q?", "answer": "fine"}, row)
    assert str(caught.value).startswith(str(tmp_path / "mine.jsonl"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
