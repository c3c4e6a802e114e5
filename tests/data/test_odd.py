"""What is odd about a text is counted, and nothing of it reaches a terminal as a command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.data.odd import odd, repeated, shown


@pytest.mark.parametrize(
    ("text", "share"),
    [
        (b"", 0),
        (b"plain\ttext\r\n", 0),
        (b"ab\xff\x00", 0.5),
        ("ab\ufffd!".encode(), 0.5),
        ("\x9b31m".encode(), 0.4),
        (b"\x80\x80\x80\x80", 1),
        ("日本語".encode()[1:-1], 0),
    ],
)
def test_share_of_odd_bytes(text, share):
    assert odd(text) == pytest.approx(share)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffd")), st.integers(0, 3))
def test_text_that_was_cut_within_a_character_is_not_odd(text, cut):
    whole = text.encode()
    assert odd(whole[cut:]) == odd(whole[: len(whole) - cut]) == 0


def test_share_of_repeated_runs():
    assert repeated([1, 2, 3, 1, 2, 3], 3) == 0.25
    assert repeated(range(64)) == 0
    assert repeated([7] * 64) == pytest.approx(59 / 60)
    assert repeated([1, 2]) == 0


@given(st.binary())
def test_what_is_shown_is_one_line_that_no_terminal_obeys(text):
    assert shown(text).isprintable()


def test_text_stays_as_it_is_but_for_what_has_no_form():
    assert shown("\x1b[31mnaïve\n\n  日本".encode()) == "\ufffd[31mnaïve 日本"
