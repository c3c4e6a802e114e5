"""Documents that hold items of evaluation sets go; those that quote what an item quotes stay."""

import json
from typing import Any

import numpy as np
import pytest
from level2 import results
from test_near import prose

from ablate.corpus.document import Document
from ablate.corpus.rules import steps
from ablate.run.corpus import Processing
from ablate.run.settings import UserError

RNG = np.random.default_rng(0)
QUESTIONS = [prose(RNG, 60) for _ in range(5)]
QUOTE = prose(RNG, 20)


@pytest.fixture
def path(tmp_path):
    rows = [{"question": question, "choices": ["one", "two"], "answer": 1} for question in QUESTIONS]
    rows += [
        {"question": f"{prose(RNG, 50)} {QUOTE}"},
        {"question": "who was the first to sail around the southern cape"},
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "items.jsonl")


def removed(text: str, path: str, **bounds: float) -> Any:
    processing = Processing(rules=["against"], against=[path], bounds={"against": bounds} if bounds else {})
    [step] = steps(processing, "prose", [])
    return results(step, [Document(text, "x")])[0].removed


def test_a_document_with_an_item_goes_and_shows_it(path):
    found = removed(f"{prose(RNG)} {QUESTIONS[3].upper()}! {prose(RNG)}", path)
    assert (found.rule, found.value, found.bound) == ("against.share", 1.0, 0.5)
    assert found.evidence.startswith("items.jsonl:4: ")
    assert found.evidence.split(": ")[1].lower() == " ".join(QUESTIONS[3].split()[:13])
    assert removed(prose(RNG, 500), path) is None


def test_a_quotation_is_no_item_unless_the_bound_says_so(path):
    text = f"{prose(RNG)} {QUOTE} {prose(RNG)}"
    assert removed(text, path) is None
    assert removed(text, path, share=0.1).value == pytest.approx((20 - 12) / (70 - 12))


@pytest.mark.parametrize(("words", "goes"), [(36, False), (37, True)])
def test_the_share_counts_runs_of_thirteen_words(path, words, goes):
    """An item of 60 words has 48 runs; 36 words hold 24 of them, 37 words 25."""
    assert bool(removed(" ".join(QUESTIONS[0].split()[:words]), path)) == goes


def test_a_short_item_is_told_by_eight_words(path):
    assert removed(f"{prose(RNG)} Who was the first to sail around the southern cape? {prose(RNG)}", path)
    assert not removed(f"{prose(RNG)} who was the first to sail to the southern cape {prose(RNG)}", path)


def test_files_of_other_forms(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(QUESTIONS))
    (tmp_path / "b.json").write_text(json.dumps({"data": [{"doc": {"q": question}} for question in QUESTIONS]}))
    for name in ("a.txt", "b.json"):
        assert removed(QUESTIONS[2], str(tmp_path / name)).evidence.startswith(f"{name}:3: ")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("x.csv", "a", "must be a .jsonl"), ("x.json", "{", "is not json"), ("", "", "No such file")],
)
def test_files_that_cannot_be_read(tmp_path, name, content, said):
    path = tmp_path / (name or "missing.txt")
    if name:
        path.write_text(content)
    with pytest.raises(UserError, match=f"corpus.against: .*{path.name}.*{said}"):
        steps(Processing(against=[str(path)]), "prose", [])


def test_the_key_is_what_the_files_hold(tmp_path, path):
    def key(*paths: str):
        return [step.key() for step in steps(Processing(against=list(paths)), "prose", [])]

    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "items.jsonl").read_bytes())
    assert key(path) == key(str(tmp_path / "copy.jsonl")) != key()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"caf\xe9", "a.txt is not txt: 'utf-8' codec can't decode"),
        ("a.json", b"[" * 100_000, "a.json is not json"),
        ("a.jsonl", b'{"n": ' + b"1" * 5_000 + b"}", "a.jsonl is not jsonl"),
        ("a.jsonl", b"", "a.jsonl has no text"),
        ("a.json", b'{"data": [{"text": "  "}]}', "a.json has no text"),
    ],
)
def test_a_file_without_items_is_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        steps(Processing(rules=["against"], against=[str(tmp_path / name)]), "prose", [])
    assert "\n" not in str(error.value)


def test_marks_separators_and_halves_of_characters_are_no_hindrance(tmp_path):
    row = f'{{"question": "{QUESTIONS[0]}\u2028and \\ud800 so on"}}'
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + row.encode())
    assert removed(QUESTIONS[0], str(tmp_path / "a.jsonl"))
