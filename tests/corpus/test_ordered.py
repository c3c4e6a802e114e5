"""Sorting text by its hash: as if all of it were in memory, though it is not."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.corpus import ordered as ordering
from ablate.corpus.document import Document, order_key
from ablate.corpus.ordered import ordered
from ablate.run.settings import UserError

TEXTS = st.text(st.characters(exclude_categories=()), max_size=5)  # halves of surrogate pairs included
DOCUMENTS = st.lists(st.builds(Document, TEXTS, st.sampled_from("abc"), st.just({"url": "u"})))


def in_memory(documents):
    return sorted(documents, key=lambda document: (order_key(document.text), document.source))


@pytest.mark.parametrize("held", [5, 1000])
@settings(max_examples=20, deadline=None)
@given(documents=DOCUMENTS)
def test_the_order_is_that_of_the_hash(held, documents):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "HELD_BYTES", held)
        assert list(ordered(documents)) == in_memory(documents)


def test_equal_texts_come_by_their_sources(monkeypatch):
    monkeypatch.setattr(ordering, "HELD_BYTES", 2)
    documents = [Document("same", f"{i:03d}") for i in range(20)]
    assert list(ordered(documents[::-1])) == documents


def test_memory_follows_what_is_held(monkeypatch):
    monkeypatch.setattr(ordering, "HELD_BYTES", 1_000_000)
    tracemalloc.start()
    read = sum(document.bytes for document in ordered(Document(f"{i} " * 5_000, "s") for i in range(800)))
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read > 15_000_000
    assert held < 4_000_000


def test_a_full_disk_is_one_line(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ordering, "HELD_BYTES", 1)
    monkeypatch.setattr("pickle.dump", full)
    with pytest.raises(UserError, match="No space left on device; TMPDIR names a place with room for all text"):
        list(ordered([Document("long", "s")]))
