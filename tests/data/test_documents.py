"""Cleaning, duplicates, the cap and the split of documents."""

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.corpus.document import Document, clean
from ablate.data.documents import capped, cleaned, held_out, split
from ablate.run.settings import UserError

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
    held = held_out(sizes, share)
    assert 0 < len(held) < len(sizes)
    error = sum(sizes[name] for name in held) - share * sum(sizes.values())
    assert abs(error) <= max(sizes.values())


def test_a_source_is_held_out_where_that_comes_nearer_to_the_share():
    """100 of 1,000 bytes are asked for, and the hash has d before f before c. With d 50 are too many, without 100 too
    few; a source of 200 and more would be further off than none."""
    assert held_out({"c": 760, "d": 150, "f": 90}, 0.1) == {"d"}
    assert held_out({"c": 710, "d": 200, "f": 90}, 0.1) == {"f"}


@given(SIZES, SHARES, st.randoms())
def test_held_out_ignores_order(sizes, share, rng):
    names = list(sizes)
    rng.shuffle(names)
    assert held_out({name: sizes[name] for name in names}, share) == held_out(sizes, share)


def test_many_sources_give_the_share_asked_for():
    rng = random.Random(0)
    sizes = {f"book {i}": rng.randint(100, 2000) for i in range(500)}
    held = sum(sizes[name] for name in held_out(sizes, 0.05))
    assert held / sum(sizes.values()) == pytest.approx(0.05, rel=0.02)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.text(min_size=1)), min_size=1), SHARES)
def test_split_never_straddles_a_source(pairs, share):
    documents = [Document(text, source) for source, text in [*pairs, ("a", "x"), ("b", "y")]]
    train, validation = split("d", documents, share)
    assert {d.source for d in train}.isdisjoint({d.source for d in validation})
    assert train
    assert validation
    assert sorted(train + validation) == sorted(documents)


def test_one_source_is_refused():
    with pytest.raises(UserError, match=r"^domain d: .*one source \(s\)"):
        split("d", [Document("a", "s"), Document("b", "s")], 0.1)


def test_no_text_is_refused():
    with pytest.raises(UserError, match=r"^domain d: no text"):
        split("d", [], 0.1)
