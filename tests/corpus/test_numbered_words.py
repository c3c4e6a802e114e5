"""Words as numbers: the same words, the same numbers, at places that the text has them at."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ablate.corpus.words import Words, among, runs, wholes, words

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=60)
ASCII = st.text(st.characters(min_codepoint=9, max_codepoint=126, exclude_categories=["Cc"]), max_size=60)
RARE_SPACES = re.compile("[\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
SAMPLE = "The naïve cat: 3.5 = x; don't snake_case 中文字 カナ「か」 — end…"


def spelt(found: Words, texts: list[str]) -> list[list[str]]:
    """The words of each document, cut out of the text without case."""
    whole = "\n".join(texts).encode()
    pieces = [whole[a:b].decode().lower() for a, b in zip(found.starts_W, found.stops_W, strict=True)]
    return [[piece for piece, d in zip(pieces, found.documents_W, strict=True) if d == n] for n in range(len(texts))]


def test_words_of_a_sentence():
    [found] = spelt(words([SAMPLE]), [SAMPLE])
    expected = "the naïve cat 3 5 = x don t snake_case 中 文 字 カ ナ か — end".split()  # noqa: SIM905
    assert found == expected
    signs = [word for word, sign in zip(found, words([SAMPLE]).signs_W, strict=True) if sign]
    assert signs == ["=", "—"]


@given(st.lists(ASCII, min_size=1, max_size=5))
def test_words_of_ascii_are_those_of_the_regular_expression(texts):
    found = words(texts).letters()
    assert spelt(found, texts) == [re.findall(r"\w+", text.lower()) for text in texts]


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_whatever_stands_between_spaces_has_a_word(texts):
    found = words(texts)
    for text, of_text in zip(texts, spelt(found, texts), strict=True):
        assert len(of_text) >= len(RARE_SPACES.sub("", text).split())


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_numbers_are_equal_where_words_are(texts):
    found = words(texts)
    pieces = [piece for document in spelt(found, texts) for piece in document]
    by_number: dict[int, set[str]] = {}
    for number, piece in zip(found.numbers_W.tolist(), pieces, strict=True):
        by_number.setdefault(number, set()).add(piece)
    assert all(len(spellings) == 1 for spellings in by_number.values())
    assert len(by_number) == len(set(pieces))


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_a_document_has_its_numbers_wherever_it_stands(texts):
    together = words(texts)
    for number, text in enumerate(texts):
        alone = words([text])
        mine = together.documents_W == number
        assert np.array_equal(together.numbers_W[mine], alone.numbers_W)
        assert np.array_equal(runs(together, 3)[mine], runs(alone, 3))
        assert wholes(together)[number] == wholes(alone)[0]
        assert np.array_equal(together.starts_W[mine] - together.offsets_D[number], alone.starts_W)


def test_runs_are_equal_where_their_words_are_and_end_with_their_document():
    one, other = words(["a b c d", "x b c"]), words(["q b C d"])
    assert runs(one, 2)[1] == runs(one, 2)[5] == runs(other, 2)[1]
    assert runs(one, 2)[[3, 6]].tolist() == [0, 0]
    assert len(set(runs(one, 2)[[0, 1, 2, 4]].tolist())) == 4


def test_no_words_are_no_numbers():
    found = words(["", "  \n"])
    assert len(found.numbers_W) == len(runs(found, 5)) == 0
    assert len(wholes(found)) == 2


def test_among_sorted_numbers():
    ordered = np.array([2, 3, 5], dtype=np.uint64)
    assert among(np.array([0, 2, 4, 5, 9], dtype=np.uint64), ordered).tolist() == [False, True, False, True, False]
    assert among(ordered, ordered[:0]).tolist() == [False] * 3
