"""No window of held-out words is left in training text, and nothing else goes."""

import random
import re

import pytest

from ablate.corpus import turns
from ablate.corpus.copies import PIECE_BYTES, WINDOW, Copies
from ablate.corpus.document import Document

WORDS = [
    f"{a}{b}" for a in ("stone", "river", "ladder", "Field", "engine", "über", "x") for b in ("", "s", "ly", "7", "'s")
]
SIGNS = ["=", "-", "+=", "|", "—"]


def prose(draw: random.Random, count: int) -> list[str]:
    return [draw.choice(WORDS) + draw.choice(["", "", "", ",", "."]) for _ in range(count)]


def windows(text: str) -> set[tuple[str, ...]]:
    """By spaces, and by letters without case."""
    tellings = text.split(), re.findall(r"\w+", text.lower())
    return {tuple(told[i : i + WINDOW]) for told in tellings for i in range(len(told) - WINDOW + 1)}


def joined(draw: random.Random, words: list[str]) -> str:
    return "".join(word + draw.choice([" ", " ", " ", "\n", "\n\n"]) for word in words).strip()


def left(copies: Copies, *texts: str) -> list[str]:
    return [piece.text for piece in copies.cut([Document(text, "s") for text in texts]).documents]


@pytest.mark.parametrize("seed", range(20))
def test_no_window_is_left(seed):
    draw = random.Random(seed)
    held = [prose(draw, draw.randint(10, 400)) for _ in range(20)]
    texts = []
    for _ in range(60):
        own, other = prose(draw, draw.randint(20, 900)), draw.choice(held)
        start, length = draw.randrange(len(other)), draw.choice([20, WINDOW - 1, WINDOW, WINDOW + 1, 120])
        place = draw.randint(0, len(own))
        passage = other[start : start + length]
        passage = [word.upper() for word in passage] if draw.random() < 0.3 else passage
        if draw.random() < 0.3:  # as code and tables have it: signs that stand alone
            passage = [part for word in passage for part in (word, draw.choice(SIGNS))]
        texts.append(joined(draw, [*own[:place], *passage, *own[place:]]))
    held_texts = [joined(draw, words) for words in held]
    forbidden = set().union(*map(windows, held_texts))
    assert any(windows(text) & forbidden for text in texts)
    assert not any(windows(text) & forbidden for text in left(Copies.of(held_texts), *texts))


def test_a_dialogue_in_which_held_out_text_stands_goes_whole():
    """An answer without its question is no document; parts of the others are as they were."""
    held = joined(random.Random(1), prose(random.Random(1), 300))
    asked = turns.document(turns.pair(f"Read this. {held}", "Done. " * 300), "s", {})
    other = turns.document(turns.pair("Read this.", "Done. " * 300), "s", {})
    assert Copies.of([held]).cut([asked, other]) == ([other], 1, asked.bytes)


def test_a_copy_goes_whole_and_a_short_one_too():
    held = joined(random.Random(1), prose(random.Random(1), 300))
    copies = Copies.of([held, "A short answer: 42."])
    assert left(copies, held, held.upper() + "\n# copy", "a short answer, 42") == []
    assert left(copies, "A short answer: 43.") == ["A short answer: 43."]


def test_what_is_left_goes_on_in_pieces_and_is_counted():
    draw = random.Random(2)
    first, copied, last = (" ".join(prose(draw, count)) for count in (200, 60, 200))
    copies = Copies.of([copied])
    cut = copies.cut([Document(f"{first}\n{copied}\n{last}", "book", {"id": "1"}), Document(last, "other")])
    assert [piece.text for piece in cut.documents] == [first, last, last]
    assert {piece.source for piece in cut.documents} == {"book", "other"}
    assert cut.documents[0].meta == {"id": "1"}
    assert cut.touched == 1
    assert cut.bytes == len(copied.encode()) + 2


def test_a_line_of_its_own_length_is_cut_no_further_than_it_must():
    draw = random.Random(3)
    before, copied, after = (" ".join(prose(draw, count)) for count in (2000, 80, 2000))
    pieces = left(Copies.of([copied]), f"{before} {copied} {after}")
    assert len(pieces) == 2
    assert sum(map(len, pieces)) > len(before) + len(after) - 10


def test_little_that_is_left_is_no_document():
    draw = random.Random(4)
    copied = " ".join(prose(draw, 60))
    rest = joined(draw, prose(draw, 200))
    tail = "x" * (PIECE_BYTES - 1)
    assert left(Copies.of([copied]), f"{rest}\n{copied}\n{tail}") == [rest]


def test_other_numbers_are_other_text():
    template = "Question {}: a train goes {} km in {} hours and then {} km in {} hours. How fast is it? "
    held = "".join(template.format(*range(n, n + 5)) for n in range(0, 100, 5))
    own = "".join(template.format(*range(n, n + 5)) for n in range(1000, 1100, 5))
    assert left(Copies.of([held]), own) == [own]


def test_signs_of_chinese_are_words():
    draw = random.Random(5)
    signs = [chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(500)]
    held, own = "".join(signs[:120]), "".join(signs[200:])
    assert left(Copies.of([held]), own + "。\n" + held[30 : 30 + WINDOW] + "\n") == [own + "。"]


def test_nothing_is_held_out():
    assert left(Copies.of([]), "a text of its own") == ["a text of its own"]


def test_saved_and_loaded(tmp_path):
    draw = random.Random(6)
    held, own = (joined(draw, prose(draw, 300)) for _ in range(2))
    copies = Copies.of([held])
    copies.save(tmp_path / "copies.npz")
    assert left(Copies.load(tmp_path / "copies.npz"), held, own) == left(copies, held, own) == [own]
