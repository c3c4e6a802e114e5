"""Tables of questions: what they hold, and what is refused in one line."""

import json
from collections import Counter

import pytest

from ablate.run.evaluate import sha256_of
from ablate.run.parse import from_config
from ablate.run.questions import questions
from ablate.run.settings import SettingsError, UserError

FACT = {"name": "a", "text": "x is y.", "prompt": "x is", "answer": " y"}


def read(tmp_path, *rows):
    path = tmp_path / "table.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return questions(str(path), sha256_of(str(path), {}), 0)


def test_a_line_without_a_text_is_a_control(tmp_path):
    asked, controls = read(tmp_path, FACT, {"name": "b", "prompt": "z is", "answer": " w"})
    assert ([one.name for one in asked], [one.name for one in controls]) == (["a"], ["b"])


def test_made_up_facts_have_twenty_controls_each_and_none_tells_another():
    asked, controls = questions("", "", 20)
    assert len(controls) == 20 * len(asked) == 400
    words = {word for one in (*asked, *controls) for word in one.probe.split()}
    assert len({word for word in words if len(word) == 6 and word[0].isupper()}) >= 2 * 420
    assert all(one.probe + "." == one.text for one in asked)
    assert len({one.prompt.replace(one.prompt.split()[0], "") for one in asked}) == 20
    assert Counter(one.like for one in controls) == dict.fromkeys([one.name for one in asked], 20)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([FACT, FACT | {"prompt": "z is"}], "name='a' stands there 2 times"),
        ([FACT, FACT | {"name": "b"}], "prompt='x is' stands there 2 times"),
        (
            [FACT, {"name": "b", "text": "so x is y!", "prompt": "q", "answer": " r"}],
            "the probe of a stands in that of b",
        ),
        ([{"name": "b", "prompt": "z is", "answer": " w"}], "no line has a text to put in"),
        ([{"name": "b", "text": "z is w"}], ":1: must be an object of name, prompt, answer"),
        ([FACT | {"more": 1}], ":1: must be an object of name, prompt, answer"),
        ([FACT | {"text": " "}], ":1: text=' ': must be text that is not empty"),
        ([FACT, {"name": "b", "like": "c", "prompt": "z is", "answer": " w"}], "like='c' of b: must name a question"),
        ([FACT | {"like": "a"}], "like='a' of a: must name a question"),
        ([FACT | {"name": "../a"}], "must be of letters, digits and _ . -"),
        ([FACT | {"prompt": "x is "}], "must not end in a space"),
        ([FACT, "{"], ":2: not JSON"),
        ([FACT, "[" * 100_000], ":2: not JSON"),
        ([FACT, "9" * 5000], ":2: not JSON"),
        ([FACT | {"text": "half of \ud800"}], ":1: not JSON"),
        ([], "no line has a text to put in"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, rows, said):
    with pytest.raises(UserError) as error:
        read(tmp_path, *rows)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"insert": {"path": "gone.jsonl"}}, "insert.path=gone.jsonl: must be a file with a JSON object on every line"),
        ({"insert": {"stop": 0.5}}, "insert.stop=0.5: must be left out without insert.path or insert.made"),
        ({"insert": {"made": 2}, "objective": "answers"}, "objective=answers: must be next_token with insert"),
        ({"insert": {"made": 2, "stop": 10**6}}, "insert.stop=1000000.0: must be within the run, which has"),
        ({"insert": {"made": 2, "start": 0.5, "stop": 0.5}}, "insert.start=0.5: must be before insert.stop=0.5"),
        ({"insert": {"made": 2, "repetitions": [0]}}, "must be above 0 for some of the questions"),
        ({"insert": {"made": 2, "repetitions": [1, 1]}}, "must be without repeats"),
        ({"insert": {"made": 2}, "tokens": 0}, "tokens=0: must be above 0 with insert"),
    ],
)
def test_settings_that_do_nothing_are_refused(changes, said):
    with pytest.raises(SettingsError) as error:
        from_config(changes)
    assert said in str(error.value)
