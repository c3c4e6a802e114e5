"""Shards: documents as flat arrays of tokens on disk, one file per domain and split.

Every write ends in fsync, and the folder gets its name only after the last of them: not even a power
cut leaves a file that is believed and short. Bytes are counted while writing, and have to agree with
the text; otherwise bits per byte, the loss that all comparisons use, would be wrong.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.corpus.document import Document
from ablate.data.documents import Split
from ablate.run.settings import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPLITS = ("train", "validation")
BATCH_BYTES = 4_000_000  # of text tokenised at once
PROOFS = 40  # documents of a batch that are tokenised twice, before the fast way is believed for the others


class Encoder:
    """A tokenizer with its table of bytes, ready to turn documents into arrays."""

    def __init__(self, tokenizer: "Tokenizer", vocabulary: int) -> None:
        from ablate.data import fast
        from ablate.data.tokenizer import end_of, pieces

        self.tokenizer = tokenizer
        self.end = end_of(tokenizer)
        self.dtype = dtype_of(vocabulary)
        of_tokens = pieces(tokenizer, vocabulary)
        self.bytes_per_token = np.array([len(piece) for piece in of_tokens], dtype=np.int32)
        self.fast = fast.encoder(tokenizer, of_tokens)

    def encode(self, documents: list[Document]) -> np.ndarray:
        """All documents, one after the other, each closed by the end token."""
        texts = [document.text for document in documents]
        if self.fast and not self._agree(texts[:: -(-len(texts) // PROOFS)]):
            self.fast = None
        found = self._fast(texts) if self.fast else self._own(texts)
        end = np.array([self.end])
        return np.concatenate([part for ids in found for part in (ids, end)]).astype(self.dtype)

    def _agree(self, texts: list[str]) -> bool:
        return all(map(np.array_equal, self._fast(texts), self._own(texts)))

    def _own(self, texts: list[str]) -> list[np.ndarray]:
        """By the tokenizer itself, which spreads a batch over all cores."""
        return [np.array(found.ids) for found in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _fast(self, texts: list[str]) -> list[np.ndarray]:
        assert self.fast
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return list(threads.map(self.fast, texts))


def shard_name(domain: str, split: str) -> str:
    return f"{domain}.{split}.bin"


def dtype_of(vocabulary: int) -> np.dtype:
    """Little-endian on every machine, so that equal tokens have equal files."""
    return np.dtype("<u2" if vocabulary <= 2**16 else "<u4")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_domain(folder: Path, domain: str, split: Split, encoder: Encoder) -> dict[str, Any]:
    """Write both shards of a domain; returns its numbers of documents, sources, bytes and tokens."""
    counts: dict[str, Any] = {}
    for name, documents in zip(SPLITS, split, strict=True):
        text_bytes = sum(document.bytes for document in documents)
        arrays = (encoder.encode(batch) for batch in batches(documents))
        tokens, token_bytes = write_arrays(folder / shard_name(domain, name), arrays, encoder.bytes_per_token)
        _check_bytes(domain, text_bytes, token_bytes)
        sources = len({document.source for document in documents})
        counts[name] = {"documents": len(documents), "sources": sources, "bytes": text_bytes, "tokens": tokens}
    return counts


def write_arrays(path: Path, arrays: Iterable[np.ndarray], bytes_per_token: np.ndarray) -> tuple[int, int]:
    """Write arrays one after the other; returns tokens written and bytes of text they stand for."""
    tokens = token_bytes = 0
    # Written, not mapped: on a full disk a write is an error, a mapped page is the end of the process.
    with path.open("wb") as file:
        for array in arrays:
            file.write(array.tobytes())
            tokens += len(array)
            token_bytes += int(bytes_per_token[array].sum(dtype=np.int64))
        file.flush()
        os.fsync(file.fileno())
    return tokens, token_bytes


def write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_table(path: Path, table: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, table)
    write(path, buffer.getvalue())


def batches(documents: list[Document]) -> Iterator[list[Document]]:
    """Consecutive documents, about BATCH_BYTES at a time."""
    batch, size_bytes = [], 0
    for document in documents:
        batch.append(document)
        size_bytes += document.bytes
        if size_bytes >= BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _check_bytes(domain: str, text_bytes: int, token_bytes: int) -> None:
    if text_bytes != token_bytes:
        raise UserError(
            f"data.tokenizer: its tokens stand for {token_bytes} of the {text_bytes} bytes of domain {domain}, so "
            "bits per byte would be wrong; use a byte-level tokenizer that does not rewrite text"
        )
