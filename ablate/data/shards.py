"""Shards: documents as flat arrays of tokens on disk, one file per domain and split.

Not even a power cut leaves one that is believed and short (`files.appear`).
"""

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ablate.run.files import appear

SPLITS = ("train", "validation")
SOURCES = "sources.json"  # the source of every held-out document; names of sources are not content
MARKS = ".marks"  # beside a stream of which not all counts: a byte a token, 1 if it does
BLOCK_BYTES = 1 << 22  # copied at once


def shard_name(domain: str, split: str) -> str:
    return f"{domain}.{split}.bin"


def marks_name(domain: str, split: str) -> str:
    return f"{domain}.{split}{MARKS}"


def dtype_of(vocabulary: int) -> np.dtype:
    """Little-endian on every machine, so that equal tokens have equal files."""
    return np.dtype("<u2" if vocabulary <= 2**16 else "<u4")


def write(path: Path, content: Iterable[bytes]) -> None:
    """Written, not mapped: on a full disk a write is an error, a mapped page is the end of the process."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            for block in content:
                file.write(block)
    except BaseException:
        unfinished.unlink()
        raise
    appear(unfinished, path)


def write_table(path: Path, table: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, table)
    write(path, [buffer.getvalue()])


def write_tables(path: Path, **tables: Any) -> None:
    """A .npz of them."""
    buffer = io.BytesIO()
    np.savez(buffer, **tables)
    write(path, [buffer.getvalue()])


def join(paths: Iterable[Path], into: Path) -> None:
    """One file of those, one after the other."""
    write(into, blocks_of(paths))


def blocks_of(paths: Iterable[Path]) -> Iterable[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
