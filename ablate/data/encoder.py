"""Documents to tokens: the quick way where it is known to give the same, and looked at batch by batch.

Passages of every batch are read back from their tokens, and the bytes of all text are counted (`cutting`); otherwise
bits per byte, the loss that all comparisons use, would be of another text.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ablate.data import fast
from ablate.data.shards import dtype_of
from ablate.data.tokenizer import end_of, pieces
from ablate.run.settings import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PROOFS, PROOF = 40, 500  # passages of a batch that are read back and tokenised both ways, and their characters
SHOWN = 12  # characters of a text that is rewritten, from where it begins to differ
EMPTY = 10_000  # spaces in a row: for many more tiktoken has no room, and ends the process


class Encoder:
    """A tokenizer with its table of bytes, ready to turn texts into arrays."""

    def __init__(self, tokenizer: "Tokenizer", vocabulary: int) -> None:
        self.tokenizer = tokenizer
        end = end_of(tokenizer)
        assert end is not None  # `tokenizer.read` says it politely
        self.end = end
        self.dtype = dtype_of(vocabulary)
        self.pieces = pieces(tokenizer, vocabulary)
        self.bytes_per_token = np.array([len(piece) for piece in self.pieces], dtype=np.int32)
        self.fast = fast.encoder(tokenizer, self.pieces)

    def encode(self, texts: Sequence[str], domain: str = "") -> np.ndarray:
        """All texts, one after the other, each closed by the end token.

        Raises UserError, naming the domain, if a passage is not what its tokens stand for.
        """
        if not texts:
            return np.empty(0, dtype=self.dtype)
        return np.concatenate([np.array([*ids, self.end], dtype=self.dtype) for ids in self.ids(texts, domain)])

    def ids(self, texts: Sequence[str], domain: str = "") -> Iterable[list[int]]:
        """The tokens of each text; which way they are found, all texts together decide. Raises UserError as above."""
        if not texts:
            return []
        passages = _passages(texts)
        proofs = self._own(passages)
        for passage, ids in zip(passages, proofs, strict=True):
            self._check_same(passage, ids, domain)
        quick = self.fast if not any(map(_is_empty, texts)) else None
        agree = quick and list(map(quick, passages)) == proofs
        return map(quick, texts) if quick and agree else self._own(texts)

    def _own(self, texts: Sequence[str]) -> list[list[int]]:
        """By the tokenizer itself, which spreads a batch over all cores."""
        return [found.ids for found in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _check_same(self, text: str, ids: list[int], domain: str) -> None:
        found, wanted = b"".join(map(self.pieces.__getitem__, ids)), text.encode()
        if found != wanted:
            place = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), len(wanted))
            before, after = (side[place : place + SHOWN].decode(errors="replace") for side in (wanted, found))
            raise UserError(
                f"data.tokenizer: it rewrites text of domain {domain} ({before!r} becomes {after!r}), so bits per byte "
                "would be wrong; use a byte-level tokenizer that does not rewrite text"
            )


def _is_empty(text: str) -> bool:
    """Whether there may be so many spaces in a row: then one of the blocks of half as many is nothing but spaces."""
    half = EMPTY // 2
    return len(text) >= EMPTY and any(text[i : i + half].isspace() for i in range(0, len(text) - half + 1, half))


def _passages(texts: Sequence[str]) -> list[str]:
    """Of PROOFS texts or fewer a passage each, from the beginning of the first to the end of the last."""
    some = texts[:: -(-len(texts) // PROOFS)]
    starts = [max(0, len(text) - PROOF) * number // len(some) for number, text in enumerate(some)]
    return [text[start : start + PROOF] for text, start in zip(some, starts, strict=True)]
