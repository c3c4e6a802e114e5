"""Cleaning, duplicates, the cap and the split of documents."""

import itertools
import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import held  # pyrefly: ignore  # beside this file

from ablate.corpus.document import Document, clean, order_key
from ablate.data.documents import HELD_OUT_BYTES, Seen, capped, cleaned, keys

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # halves of surrogate pairs included
SIZES = st.dictionaries(st.text(min_size=1), st.integers(1, 10_000), min_size=2)
SHARES = st.floats(0.001, 0.5)


@given(ANY_TEXT)
def test_clean_text_is_utf8_nfc_without_controls(text):
    result = clean(text)
    result.encode()
    assert unicodedata.is_normalized("NFC", result)
    assert not [c for c in result if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert clean(result) == result


def test_clean_keeps_what_is_text():
    assert clean("\ufeffa\r\nb\rc\td\x00\x1b e\u0301\n\n") == "a\nb\nc\td \u00e9"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("end of page\x0cNext page", "end of page\nNext page"),
        ("a\x0bb\x1cc\x1dd\x1ee\u2028f\x85g", "a\nb\nc\nd\ne\nf\ng"),
        ("a\x1fb", "a b"),
        ("\x1b[31mred\x1b[0m \x1b[1;38;5;4mblue\x1b(B\x1b[m", "red blue"),
        ("\x1b]0;title\x07a \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "a link"),
        ("\x1b[31m\x00\x1b", ""),
        ("\x1b]never closed\nb", "]never closed\nb"),
        ("N\x08NA\x08AM\x08ME\x08E _\x08u_\x08p", "NAME up"),  # bold and underlined of nroff
        ("\x93it\x92s\x94 1\x962\x81", "\u201cit\u2019s\u201d 1\u20132"),
        (" \n\t\n    if a:\n        b\n \n", "    if a:\n        b"),
        ("\u3000\u3000\u4e2d", "\u3000\u3000\u4e2d"),
    ],
)
def test_separators_become_newlines_and_sequences_of_terminals_go_whole(text, right):
    assert clean(text) == right


@given(st.text(st.sampled_from("ab \t\n\r\x0b\x0c\x08\x1b\x1c\x1f\x07\x93\x00[]0;m(B\\\u0301e\u2028")))
def test_cleaning_twice_changes_nothing(text):
    assert clean(clean(text)) == clean(text)


@given(st.text(st.sampled_from("ab \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029\u3000")))
def test_cleaning_fuses_no_words(text):
    assert clean(text).split() == text.split()


def test_bytes_are_left_alone():
    pdf = Document("%PDF\r\n\x00\x0c\x93", "a", {"format": "pdf"})
    assert list(cleaned([pdf])) == [pdf]
    assert list(capped([pdf], 4)) == []


def test_empty_and_repeated_documents_are_dropped():
    documents = [Document("one", "a"), Document(" \x00\n", "a"), Document("one\r\n", "b"), Document("two", "b")]
    assert list(cleaned(documents)) == [Document("one", "a"), Document("two", "b")]


@given(st.lists(st.text(st.sampled_from("ab\u00e9\u4e2d"), min_size=1)), st.integers(1, 60))
def test_cap_keeps_the_beginning(texts, limit):
    kept = "".join(document.text for document in capped([Document(text, "s") for text in texts], limit))
    whole = "".join(texts)
    assert whole.startswith(kept)
    # a cut never breaks a character of up to 3 bytes
    assert min(limit, len(whole.encode())) - 3 < len(kept.encode()) <= limit


def test_no_cap():
    documents = [Document("a" * 1000, "s")] * 3
    assert list(capped(documents, 0)) == documents


@given(SIZES, SHARES)
def test_held_out_share(sizes, share):
    chosen = held(sizes, share)
    assert 0 < len(chosen) < len(sizes)
    error = sum(sizes[name] for name in chosen) - share * sum(sizes.values())
    assert abs(error) <= max(sizes.values())


def test_a_source_is_held_out_where_that_comes_nearer_to_the_share():
    """100 of 1,000 bytes are asked for, and the hash has d before f before c. With d 50 are too many, without 100 too
    few; a source of 200 and more would be further off than none."""
    assert held({"c": 760, "d": 150, "f": 90}, 0.1) == {"d"}
    assert held({"c": 710, "d": 200, "f": 90}, 0.1) == {"f"}


@given(SIZES, SHARES, st.randoms())
def test_held_out_ignores_order(sizes, share, rng):
    names = list(sizes)
    rng.shuffle(names)
    assert held({name: sizes[name] for name in names}, share) == held(sizes, share)


def test_many_sources_give_the_share_asked_for():
    rng = random.Random(0)
    sizes = {f"book {i}": rng.randint(100, 2000) for i in range(500)}
    chosen = sum(sizes[name] for name in held(sizes, 0.05))
    assert chosen / sum(sizes.values()) == pytest.approx(0.05, rel=0.02)


def test_a_domain_holds_out_no_more_than_helps():
    """64 MB in sources of 1 MB: half of them would be 32 MB."""
    assert len(held({f"s{i}": 1_000_000 for i in range(64)}, 0.5)) == HELD_OUT_BYTES // 1_000_000


@given(st.lists(st.lists(st.integers(0, 50), min_size=1), max_size=12))
def test_what_has_come_by_is_known(batches):
    seen, known = Seen(), set[int]()
    for batch in batches:
        new = seen.new(np.array(batch, dtype=np.uint64))
        assert new.tolist() == [number not in known and number not in batch[:i] for i, number in enumerate(batch)]
        known |= set(batch)
    assert sum(len(run) for run in seen.runs) == len(known)
    assert all(len(a) >= 2 * len(b) for a, b in itertools.pairwise(seen.runs))


def test_keys_sort_as_hashes_do():
    names = [f"source {number}" for number in range(200)]
    assert sorted(names, key=order_key) == [name for _, name in sorted(zip(keys(names).tolist(), names, strict=True))]
