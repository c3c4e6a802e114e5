"""The tokenizer: bytes add up, equal texts give equal tokenizers, and unfit files are refused in one line."""

import json
import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from ablate.corpus.document import clean
from ablate.data.questions import question
from ablate.data.tokenizer import END, LONGEST, _pieces_of, as_prompt, as_trained, end_of, load, pieces, read, train
from ablate.run.settings import UserError

TEXTS = [question(i).text for i in range(300)] + ["na\u00efve \u4e2d\u6587 caf\u00e9\n\n\tindented  code"]
OURS = load(train(TEXTS, 500).to_str())
TABLE = np.array([len(piece) for piece in pieces(OURS, 512)])


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


@given(st.text())
def test_bytes_of_tokens_add_up_to_the_text(text):
    text = clean(text)
    assert TABLE[ids(OURS, text)].sum() == len(text.encode())
    assert OURS.decode(ids(OURS, text)) == text


def test_vocabulary():
    assert OURS.get_vocab_size() == 500
    assert OURS.token_to_id(END) == end_of(OURS) == 0
    assert TABLE[0] == 0
    assert (TABLE[1:500] > 0).all()
    assert (TABLE[500:] == 0).all()


def test_the_end_written_in_a_text_is_text():
    assert 0 not in ids(OURS, f"a {END} b")


def test_as_it_was_trained_it_cuts_alike_wherever_it_is_read():
    text = train(TEXTS, 500).to_str()
    assert as_trained(text) == text
    theirs = Tokenizer.from_str(text)
    theirs.enable_truncation(3)
    theirs.enable_padding(length=9)
    theirs.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, 0)])
    parts = json.loads(theirs.to_str())
    parts["model"]["dropout"] = 0.9
    plain = Tokenizer.from_str(as_trained(json.dumps(parts)))
    assert plain.encode("What is 2 + 2? 4, and so on.").ids == ids(OURS, "What is 2 + 2? 4, and so on.")


def test_digits_stay_single():
    assert TABLE[ids(OURS, "1234567")].tolist() == [1] * 7


def test_equal_texts_give_equal_tokenizers():
    assert train(TEXTS, 500).to_str() == train(TEXTS[::-1], 500).to_str()
    assert train(TEXTS, 500).to_str() != train(TEXTS[:200], 500).to_str()


@pytest.mark.parametrize("kind", ["ACGT", "-", " ", "\n\t", "\u4e2d\u6587\u5b57", "_=+"])
def test_a_word_without_end_is_learnt_from_in_pieces(kind):
    """Trained on as a whole, 400 kB of letters take minutes, and four times as many 16 times as long."""
    word = "".join(random.Random(0).choices(kind, k=400_000))
    pieces = list(_pieces_of(f"a b{word}. c"))
    assert "".join(pieces) == f"a b{word}. c"
    assert max(len(piece) for piece in pieces) < 2 * LONGEST
    begun = time.process_time()
    vocabulary = train([*TEXTS, word], 500).get_vocab()
    assert time.process_time() - begun < 20  # 0.3 seconds alone on a machine
    assert max(len(token) for token in vocabulary) <= 4 * LONGEST  # bytes


def test_text_of_ordinary_words_is_learnt_from_whole():
    text = f"{'x' * LONGEST} {'-' * LONGEST}\n{' ' * (LONGEST - 1)}{'7' * 1000}" + "a-" * 1000
    assert list(_pieces_of(text)) == [text]


def test_a_tokenizer_that_draws_lots_does_not():
    """`dropout` of BPE leaves out merges at random."""
    parts = json.loads(gpt2_like().to_str())
    drawing = load(json.dumps(parts | {"model": parts["model"] | {"dropout": 0.5}}))
    wanted = gpt2_like().encode(TEXTS[0], add_special_tokens=False).ids
    assert all(ids(drawing, TEXTS[0]) == wanted for _ in range(10))


def gpt2_like(end: str = "<|endoftext|>") -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=[end], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def llama2_like() -> Tokenizer:
    """Spaces as a visible mark, single bytes for what is not in the vocabulary."""
    alphabet = sorted(set("".join(TEXTS[:300]).replace(" ", "\u2581")))
    tokens = ["</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *alphabet]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["</s>"])
    return tokenizer


@pytest.mark.parametrize("make", [gpt2_like, llama2_like])
def test_bytes_of_other_tokenizers(make):
    tokenizer = load(make().to_str())
    of_tokens = pieces(tokenizer, 512)
    table = np.array([len(piece) for piece in of_tokens])
    for text in [*TEXTS, "\u00fc\U0001f600 \u00df"]:
        assert table[ids(tokenizer, text)].sum() == len(text.encode())
        assert b"".join(of_tokens[token] for token in ids(tokenizer, text)) == text.encode()


def test_a_prompt_begins_where_a_document_ended():
    assert as_prompt(OURS, "") == [0]
    assert as_prompt(OURS, "a <|end|> b") == [0, *ids(OURS, "a <|end|> b")]


@given(st.text())
def test_pieces_of_tokens_are_the_text(text):
    table = pieces(OURS, 512)
    assert b"".join(table[token] for token in ids(OURS, clean(text))) == clean(text).encode()
    assert table[0] == table[511] == b""


def test_a_file_is_read_as_it_is(tmp_path):
    tokenizer = gpt2_like()
    tokenizer.enable_truncation(max_length=4)
    tokenizer.enable_padding(length=100)
    tokenizer.save(str(tmp_path / "t.json"), pretty=True)
    text = read(tmp_path / "t.json", 400)
    assert text == (tmp_path / "t.json").read_text()
    assert ids(load(text), TEXTS[0]) == ids(gpt2_like(), TEXTS[0])
    assert end_of(load(text)) == 0


def test_files_that_do_not_fit(tmp_path):
    gpt2_like().save(str(tmp_path / "large.json"))
    gpt2_like("[NOPE]").save(str(tmp_path / "endless.json"))
    (tmp_path / "broken.json").write_text('{"version": "1.0"')
    (tmp_path / "latin.json").write_bytes(b"\xff")
    assert "has 400 tokens; set data.vocabulary=400 or more, not 399" in complaint(tmp_path / "large.json", 399)
    assert "no token that ends a document" in complaint(tmp_path / "endless.json", 400)
    assert "not a tokenizer.json" in complaint(tmp_path / "broken.json", 400)
    assert "not a tokenizer.json" in complaint(tmp_path / "latin.json", 400)
    assert "No such file" in complaint(tmp_path / "missing.json", 400)


def complaint(path: Path, vocabulary: int) -> str:
    with pytest.raises(UserError) as caught:
        read(path, vocabulary)
    message = str(caught.value)
    assert message.startswith(f"data.tokenizer={path}: ")
    assert "\n" not in message
    return message
