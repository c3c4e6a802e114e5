"""Level 5: questions and reasoning made of documents, each on the side of the split that its parent is on."""

import json

import pytest
from stepping import documents_of, results_of, summed, through
from teaching import prepare, said, serving, teacher, text_of

from ablate.corpus import complete, prompts, template
from ablate.corpus.document import Document
from ablate.corpus.endpoint import Endpoint
from ablate.run.settings import SettingsError

CELL = (
    "The cell is the smallest unit of life. It was first seen in 1665 by Robert Hooke. "
    "Every living thing is made of cells, 37 trillion in a human body."
)


def asked(text: str) -> list[tuple[str, str, str]]:
    return [tuple(one) for one in template.questions(text)]


def test_a_sentence_is_asked_about_by_what_it_holds():
    assert template.definition("The cell is the smallest unit of life.", "") == (
        "definition", "What is the cell?", "the smallest unit of life",
    )  # fmt: skip
    assert template.definition("It is the smallest unit of life.", "") is None
    assert template.number("It was seen in 1665 by 3 men.", "") == (
        "number", "Which number is missing? It was seen in ____ by 3 men.", "1665",
    )  # fmt: skip
    assert template.name("It was seen by Robert Hooke.", "") == (
        "name", "Which name is missing? It was seen by ____ Hooke.", "Robert",
    )  # fmt: skip
    assert template.word("All life is made of membranes.", "") == (
        "word", "Which word is missing? All life is made of ____.", "membranes",
    )  # fmt: skip
    assert template.next_sentence("One came.", "Two went.") == ("next", "What comes next? One came.", "Two went.")


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("So 48 / 2 = 24 clips.", ("What is 48 / 2?", "24")),
        ("She pays 3 × $2.50 = $7.50 in all.", ("What is 3 × 2.50?", "7.50")),
        ("It holds that 7 − 9 = -2 here.", ("What is 7 − 9?", "-2")),
        ("It is said that 48 / 2 = 25 here.", None),
        ("It is said that 1 + 2 + 3 = 5 here.", None),
        ("It is said that 5 / 0 = 0 here.", None),
        ("It is said that 2 + 3 = 5 + x here.", None),
    ],
)
def test_equations_are_asked_for_if_they_are_true_and_whole(text, question):
    found = template.arithmetic(text, "")
    assert (found and (found.asked, found.answer)) == question


def test_a_gap_is_not_given_away_by_the_rest():
    assert template.number("In 1665 it was, and 1665 it stays.", "") is None
    assert template.name("So says Hooke, and Hooke alone.", "") is None


def test_questions_of_a_text_in_its_order_the_same_every_time():
    found = asked(CELL)
    assert found == asked(CELL)
    assert [kind for kind, *_ in found] == ["definition", "name", "number"]
    assert found[2][2] == "37"
    assert asked(f"{CELL}\n\n{CELL}")[:3] == found
    assert asked("") == asked("Too short. So. Is. This.") == []


def made(documents, **changes):
    return through(complete.steps(teacher(maker="template", **changes), None), documents)


def test_what_is_made_has_the_source_of_its_parent_and_a_name_of_its_own():
    parent = Document(CELL, "book:1", {"id": "a" * 32, "url": "u", "domain": "bio", "scores": {"k": 1}, "level": 3})
    [child] = made([parent])
    assert child.source == "book:1"
    assert child.text == "\n\n".join(one.text for one in template.questions(CELL))
    name = child.meta["id"]
    assert child.meta == {"url": "u", "domain": "bio", "level": 5, "parents": ["a" * 32], "id": name}
    assert len(name) == 32
    assert made([parent._replace(meta={"id": "b" * 32})])[0].meta["id"] != name
    assert made([parent]) == [child]
    assert made([parent], parents=True)[0] is parent


def test_a_document_that_nothing_can_be_made_of_goes_unless_parents_stay():
    documents = documents_of(["Too short."])
    [result] = results_of(complete.steps(teacher(maker="template"), None)[0], documents)
    assert result.removed
    assert result.removed.rule == "complete.nothing"
    assert not result.documents
    assert made(documents, parents=True) == documents


def completing(url, folder, **changes):
    of = teacher(**{"maker": "endpoint", "chunk": 90} | changes)
    return complete.steps(of, Endpoint.of(of, prepare(url), folder / "replies.sqlite"))


def quiz(body, number):
    words = text_of(body).split()
    return said(body, f"Question: What begins it?\nAnswer: {words[0]}\nQuestion: What ends it?\nAnswer: {words[-1]}")


def test_a_teacher_asks_about_each_piece(tmp_path):
    with serving(quiz) as (server, url):
        results = results_of(completing(url, tmp_path)[0], documents_of([CELL]))
    [child] = results[0].documents
    assert child.text.split("\n\n") == [
        "Question: What begins it?\nAnswer: The",
        "Question: What ends it?\nAnswer: Hooke.",
        "Question: What begins it?\nAnswer: Every",
        "Question: What ends it?\nAnswer: body.",
    ]
    assert (summed(results)["complete.made"], summed(results)["teacher.requests"], server.requests) == (4, 2, 2)
    assert server.bodies[0]["messages"][0]["content"] == prompts.QUESTIONS


MANNERS = {
    "plain": "Question: Why?\nAnswer: So.\nQuestion: When?\nAnswer: Now.",
    "bold and numbered": "Here!\n\n**Question 1:** Why?\n**Answer 1:** So.\n\n**Question 2:** When?\n**Answer:** Now.",
    "short names": "1. Q: Why?\n   A: So.\n\n2. Q: When?\n   A: Now.\n",
    "headings": "### Question: Why?\n\n### Answer: So.\n\n### Question: When?\n\n### Answer: Now.",
    "twice": "Question: Why?\nAnswer: So.\nQuestion: When?\nAnswer: Now.\nQuestion: Why?\nAnswer: So.",
    "an empty one": "Question: Why?\nAnswer: So.\nQuestion: Where?\nAnswer:\nQuestion: When?\nAnswer: Now.",
}  # fmt: skip


@pytest.mark.parametrize("text", MANNERS.values(), ids=MANNERS)
def test_pairs_are_read_however_they_are_written(tmp_path, text):
    with serving(lambda body, number: said(body, text)) as (_, url):
        [child] = through(completing(url, tmp_path, chunk=999), documents_of([CELL]))
    assert child.text == "Question: Why?\nAnswer: So.\n\nQuestion: When?\nAnswer: Now."


def test_answers_of_several_lines_stay_whole(tmp_path):
    answer = "First 2 + 2 = 4.\nThen 4 * 3 = 12.\n\nSo it is 12."
    with serving(lambda body, number: said(body, f"Question: What is it?\nAnswer: {answer}")) as (_, url):
        [child] = through(completing(url, tmp_path, chunk=999), documents_of([CELL]))
    assert child.text == f"Question: What is it?\nAnswer: {answer}"


def test_of_a_reply_that_is_cut_the_last_pair_goes(tmp_path):
    text = "Question: Why?\nAnswer: So.\nQuestion: When?\nAnswer: No"
    with serving(lambda body, number: said(body, text, "length")) as (_, url):
        [child] = through(completing(url, tmp_path, chunk=999), documents_of([CELL]))
    assert child.text == "Question: Why?\nAnswer: So."


def test_replies_that_cannot_be_read_are_counted(tmp_path):
    with serving(lambda body, number: said(body, "I would rather talk about the weather.")) as (_, url):
        [result] = results_of(completing(url, tmp_path, chunk=999)[0], documents_of([CELL]))
    assert result.removed
    assert result.noted["complete.without.unread"] == 1


def test_reasoning_is_the_reply_unless_it_is_cut_or_talk(tmp_path):
    texts = {"one": ("Because it is so.", "stop"), "two": ("Sure! Because.", "stop"), "three": ("Because it", "length")}
    with serving(lambda body, number: said(body, *texts[text_of(body)])) as (server, url):
        results = results_of(completing(url, tmp_path, maker="reasoning")[0], documents_of(list(texts)))
    assert [one.text for result in results for one in result.documents] == ["Because it is so."]
    counts = summed(results)
    assert (counts["complete.without.unread"], counts["complete.without.cut"]) == (1, 1)
    assert server.bodies[0]["messages"][0]["content"] == prompts.REASONING


def test_makers_differ_in_key_and_an_unknown_one_is_one_line(tmp_path):
    keys = [completing("http://x/v1", tmp_path, maker=maker)[0].key() for maker in complete.MAKERS]
    assert len({json.dumps(key, sort_keys=True) for key in keys}) == len(complete.MAKERS)
    assert complete.needs_endpoint(teacher(maker="endpoint"))
    assert not complete.needs_endpoint(teacher(maker="template"))
    with pytest.raises(SettingsError, match=r"corpus\.teacher\.maker=x: must be one of endpoint, reasoning, template"):
        complete.steps(teacher(maker="x"), None)
