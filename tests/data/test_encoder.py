"""Tokens stand for the text to the byte, or the tokenizer is refused."""

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from ablate.data.encoder import PROOF, PROOFS, Encoder, _passages
from ablate.data.questions import question
from ablate.data.tokenizer import load, train
from ablate.run.settings import UserError

TEXTS = [question(i).text for i in range(100)] + ["Stone Ladder 42\nof Winter Paper 7"]
PLAIN = load(train(TEXTS, 500).to_str())


def byte_level(**parts: object) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    end = ["<|endoftext|>"]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=end, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return load(tokenizer.to_str())


def cancelling() -> Tokenizer:
    """A space before each text, and a character lost in each: as many bytes as before."""
    return byte_level(
        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True),
        normalizer=normalizers.Replace(Regex("Q"), ""),
    )


REWRITING = {
    "capitals": byte_level(normalizer=normalizers.Lowercase()),
    "digits": byte_level(normalizer=normalizers.Replace(Regex("[0-9]"), "0")),
    "newlines": byte_level(normalizer=normalizers.Replace("\n", " ")),
    "what cancels out": cancelling(),
}


@pytest.mark.parametrize("kind", REWRITING)
def test_a_tokenizer_that_rewrites_text_is_refused(kind):
    with pytest.raises(UserError, match=r"rewrites text of domain notes \(.* becomes .*\), so bits per byte") as caught:
        Encoder(REWRITING[kind], 400).encode(TEXTS, "notes")
    assert "\n" not in str(caught.value)


def test_the_characters_that_are_rewritten_are_shown():
    with pytest.raises(UserError, match="'Stone Ladder' becomes 'stone ladder'"):
        Encoder(REWRITING["capitals"], 400).encode(["the Stone Ladder"], "notes")


@pytest.mark.parametrize("texts", [TEXTS, ["a"], ["x" * 5000], [f"{i}" for i in range(1000)], [""]])
def test_every_way_gives_the_tokens_of_the_tokenizer(texts):
    encoder = Encoder(PLAIN, 500)
    wanted = [token for text in texts for token in [*PLAIN.encode(text, add_special_tokens=False).ids, encoder.end]]
    assert encoder.encode(texts).tolist() == wanted
    encoder.fast = None
    assert encoder.encode(texts).tolist() == wanted
    assert Encoder(PLAIN, 500).encode([]).dtype == np.uint16


def test_passages_are_of_all_texts_and_of_all_places():
    texts = [f"{number + 1000}-" * 1000 for number in range(500)]
    found = _passages(texts)
    assert len(found) <= PROOFS
    assert {len(passage) for passage in found} == {PROOF}
    assert found[0] == texts[0][:PROOF]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("char", [" ", "\n", "-", "a", "\u4e2d", "ab"])
def test_a_word_of_a_million_characters_has_the_same_tokens(char):
    """Spaces alone are too many for tiktoken, which would end the process with a panic."""
    text = f"a{char * 1_000_000}b"
    found = Encoder(PLAIN, 500).encode([text])
    assert found.tolist() == [*PLAIN.encode(text, add_special_tokens=False).ids, 0]
