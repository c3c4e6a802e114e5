"""The fast way gives the tokens of the tokenizer, and is not taken where it would not."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from ablate.corpus.document import clean
from ablate.data import fast
from ablate.data.encoder import Encoder
from ablate.data.questions import question
from ablate.data.tokenizer import load, pieces, train

TEXTS = [question(i).text for i in range(300)] + ["na\u00efve \u4e2d\u6587 caf\u00e9\n\n\tindented  code it's we'll"]
OURS = load(train(TEXTS, 600).to_str())
FAST = fast.encoder(OURS, pieces(OURS, 600))
SPACES, DIGITS = [" ", "  ", "\n", "\t"], ["7", "42", "\u0665", "\u00bd"]
WORDS = st.sampled_from([*SPACES, *DIGITS, "'s", "'ll", "'", "\u4e2d", "\u00e9", "the", "=", "<|end|>"])


@given(st.one_of(st.text(), st.lists(WORDS).map("".join)))
def test_every_text_has_the_same_tokens(text):
    text = clean(text)
    assert FAST
    assert FAST(text) == OURS.encode(text, add_special_tokens=False).ids


def test_a_word_without_end_has_the_same_tokens():
    assert FAST
    text = "".join(np.random.default_rng(0).choice(list("ACGT"), 100_000))
    assert FAST(text) == OURS.encode(text, add_special_tokens=False).ids


def changed(**of_model: Any) -> dict[str, Any]:
    parts = json.loads(OURS.to_str())
    return parts | {"model": parts["model"] | of_model}


def swapped() -> dict[str, Any]:
    """Two tokens with each other's numbers: tiktoken would merge them in the other order."""
    model = json.loads(OURS.to_str())["model"]
    vocab, (first, last) = model["vocab"], ("".join(model["merges"][place]) for place in (0, -1))
    return changed(vocab=vocab | {first: vocab[last], last: vocab[first]})


@pytest.mark.parametrize(
    "parts",
    [
        changed(dropout=0.1),
        swapped(),
        changed() | {"normalizer": {"type": "Lowercase"}},
        changed() | {"pre_tokenizer": fast.CUTS[1]},
    ],
    ids=["dropout", "swapped", "rewrites", "cuts otherwise"],
)
def test_other_tokenizers_are_left_to_their_library(parts):
    other = Tokenizer.from_str(json.dumps(parts))
    assert fast.encoder(other, pieces(other, 600)) is None


@pytest.mark.parametrize(("parts", "same"), [(("ab", "c"), True), (("a", "bc"), False)])
def test_a_token_must_come_to_the_parts_that_the_list_has_for_it(parts, same):
    vocab = {token: number for number, token in enumerate(["a", "b", "c", "ab", "bc", "abc"])}
    assert fast._is_ranked({"vocab": vocab, "merges": [["a", "b"], ["b", "c"], [*parts]]}) == same


def test_words_that_are_cut_otherwise_are_seen_before_a_batch_is_believed(monkeypatch):
    monkeypatch.setattr(fast, "WORDS", r"[\s\S]")
    encoder = Encoder(OURS, 600)
    assert encoder.fast
    found = encoder.encode(TEXTS)
    wanted = [[*OURS.encode(text, add_special_tokens=False).ids, encoder.end] for text in TEXTS]
    assert found.tolist() == [token for document in wanted for token in document]
