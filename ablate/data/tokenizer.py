"""The tokenizer: a byte-level BPE trained on the text itself, or any tokenizer.json.

Bits per byte is the one loss that compares runs with different tokenizers, and it needs to know how
many bytes of text each token stands for. For a byte-level BPE that is exact:

    "naïve 12" -> [na][Ã¯][ve][Ġ][1][2]   bytes per token 2 2 2 1 1 1, together 9 = len("naïve 12".encode())

A tokenizer that rewrites the text (lowercase, a space put in front) has no such table; preparing
data with it fails rather than reports a loss that means something else (`ablate.data.tokens`).
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from ablate.run.settings import UserError

END = "<|end|>"  # ends every document
END_NAMES = (END, "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[EOS]", "<|eos|>", "<end_of_text>")
LONGEST = 256  # characters of a word that it is trained on: the time goes with their square
_LONGER = re.compile("|".join(f"{kind}{{{LONGEST}}}(?={kind})" for kind in (r"[^\W\d_]", r"\s", r"(?:[^\w\s]|_)")))
_BYTE = re.compile("<0x[0-9A-F]{2}>")  # how tokenizers with byte fallback write a single byte


def train(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of at most `vocabulary` tokens (fewer when the text is too small), END being 0.

    Digits stay single, so that numbers are read alike wherever they stand. Words without end are learnt from in
    pieces. Equal texts give equal tokenizers.
    """
    tokenizer = Tokenizer(models.BPE())
    by_word = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), by_word])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(END, special=True)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((piece for text in texts for piece in _pieces_of(text)), trainer)
    return tokenizer


def _pieces_of(text: str) -> Iterator[str]:
    """The text, cut inside of words that are longer than LONGEST."""
    begin = 0
    for found in _LONGER.finditer(text):
        yield text[begin : found.end()]
        begin = found.end()
    yield text[begin:]


def read(path: Path, vocabulary: int) -> str:
    """The text of a tokenizer.json that fits `vocabulary` and has an end token. Raises UserError otherwise."""
    try:
        text = path.read_text(encoding="utf-8")
        tokenizer = load(text)
    except OSError as error:
        raise UserError(f"data.tokenizer={path}: {error.strerror}") from None
    except Exception as error:  # the library raises nothing more specific
        raise UserError(f"data.tokenizer={path}: not a tokenizer.json ({str(error).splitlines()[0]})") from None
    size = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    if size > vocabulary:
        raise UserError(
            f"data.tokenizer={path}: has {size} tokens; set data.vocabulary={size} or more, not {vocabulary}"
        )
    if end_of(tokenizer) is None:
        raise UserError(f"data.tokenizer={path}: has no token that ends a document; one of {' '.join(END_NAMES)}")
    return text


def load(text: str) -> Tokenizer:
    """A tokenizer from the text of its tokenizer.json, for whole documents as they are, which it cuts the same way
    every time."""
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # "<|end|>" in a document about tokenizers is eight characters of text, not its end.
    tokenizer.encode_special_tokens = True
    if isinstance(tokenizer.model, models.BPE):
        tokenizer.model.dropout = None
    return tokenizer


def as_trained(text: str) -> str:
    """The text of a tokenizer.json that cuts a text as `load` does, wherever it is read: without <s> around it, merges
    left out by chance, an end cut off or filled up."""
    parts = json.loads(text)
    unsaid = {"post_processor"} if Tokenizer.from_str(text).num_special_tokens_to_add(is_pair=False) else set()
    unsaid |= {name for name in ("truncation", "padding") if parts.get(name)}
    dropout = {"dropout": None} if parts["model"].get("dropout") else {}
    if not unsaid and not dropout:
        return text
    return json.dumps(parts | dict.fromkeys(unsaid) | {"model": parts["model"] | dropout}, ensure_ascii=False)


def end_of(tokenizer: Tokenizer) -> int | None:
    """Id of the token that ends a document."""
    ids = (tokenizer.token_to_id(name) for name in END_NAMES)
    return next((token for token in ids if token is not None), None)


def as_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text that a model goes on with: a document begins after the token that ended another."""
    end = end_of(tokenizer)
    assert end is not None  # `read` says it politely
    return [end, *tokenizer.encode(text, add_special_tokens=False).ids]


def pieces(tokenizer: Tokenizer, vocabulary: int) -> list[bytes]:
    """The bytes of text that each token stands for, maybe a part of a character; none for special and unused ones."""
    parts = json.loads(tokenizer.to_str())
    # Then every character of a token is one byte.
    byte_level = any("ByteLevel" in json.dumps(parts[part]) for part in ("normalizer", "pre_tokenizer", "decoder"))
    found = [b""] * vocabulary
    for token, index in tokenizer.get_vocab(with_added_tokens=False).items():
        found[index] = bytes(_BYTE_OF.get(char, UNKNOWN) for char in token) if byte_level else _plain_bytes(token)
    for index, added in tokenizer.get_added_tokens_decoder().items():
        found[index] = b"" if added.special else added.content.encode()
    end = end_of(tokenizer)
    assert end is not None  # `read` says it politely
    found[end] = b""
    return found


def _plain_bytes(token: str) -> bytes:
    return bytes([int(token[3:5], 16)]) if _BYTE.fullmatch(token) else token.replace("\u2581", " ").encode()


def _byte_of() -> dict[str, int]:
    """What each character of a byte-level token stands for: itself, or a byte that has no printed form (GPT-2)."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + n): byte for n, byte in enumerate(others)}


UNKNOWN = ord("?")  # a character that no byte-level tokenizer writes
_BYTE_OF = _byte_of()
