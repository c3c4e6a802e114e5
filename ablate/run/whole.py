"""Folders that are believed: one file of each, written last, holds the sums of the others and one of itself.

    corpus       manifest.json    tokenizer.json, bytes_per_token.npy, code.train.bin, ...
    run          result.json      config.yaml, metrics.jsonl, weights.safetensors, ...
    trunk        trunk.json       metrics.jsonl, checkpoint/trainer.json, ...
    checkpoint   trainer.json     weights.safetensors, optimizer.safetensors, ...

    {..., "files": {"weights.safetensors": {"size": 102784, "sha256": "5d41402a..."}}, "sha256": "9b74c989..."}

`sha256` is of the value, not of its spelling: whoever lays the file out anew changes nothing. Files of one value that
belong to no folder (`starts.json`, `study.json`, ...) hold a sum of themselves alone. A file without one is of an older
version, and is read as it is.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ablate.run.files import read_json, write_json
from ablate.run.settings import UserError

SUM = "sha256"
CHANGED = "is not what was written: its sha256 is another"


class Damaged(UserError):
    """A file is not as it was written, or is gone: `path` and `what`."""

    def __init__(self, path: Path, what: str):
        super().__init__(f"{path}: {what}")


def sealed(value: Any) -> Any:
    """A dict with one more key, or a list with one more entry: the sum of the rest."""
    total = {SUM: digest(value)}
    return [*value, total] if isinstance(value, list) else value | total


def write(path: Path, value: Any) -> None:
    """Whole or not at all, with its sum."""
    write_json(path, sealed(value))


def read(path: Path) -> Any:
    """The value, without its sum. Raises Damaged for one that is gone or not what was written."""
    if not path.exists():
        raise Damaged(path, "is gone")
    try:
        value = read_json(path)
    except (UserError, RecursionError) as error:
        raise Damaged(path, str(error).removeprefix(f"{path}: ")) from None
    if not isinstance(value, dict | list):
        raise Damaged(path, CHANGED)
    value, told = _parted(value)
    if told not in (None, digest(value)):
        raise Damaged(path, CHANGED)
    return value


def read_or(path: Path, default: Any) -> Any:
    """`read`, or the default where there is no file."""
    return read(path) if path.exists() else default


def digest(value: Any) -> str:
    """sha256 hex of plain data, as it is when it has been written and read; the order of keys does not matter."""
    text = json.dumps(json.loads(json.dumps(value)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def files_of(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and sha256 of each by its name, for the file that is written last; several are read at once."""
    names = sorted(names)
    with ThreadPoolExecutor() as threads:
        return dict(zip(names, threads.map(lambda name: file_of(folder / name), names), strict=True))


def file_of(path: Path, size: int | None = None) -> dict[str, Any]:
    """Size and sha256 of a file, or of its beginning."""
    with path.open("rb") as file:
        if size is None:
            return {"size": path.stat().st_size, SUM: hashlib.file_digest(file, "sha256").hexdigest()}
        start = file.read(size)
        return {"size": len(start), SUM: hashlib.sha256(start).hexdigest()}


def wrong(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What is wrong with the first file that is not as it is told."""
    for name, told in sorted(files.items(), key=lambda one: one[1]["size"]):  # small ones first: they cost nothing
        path = folder / name
        if not path.is_file():
            return f"{name} is gone"
        if (size := path.stat().st_size) != told["size"]:
            return f"{name} has {size} bytes, not {told['size']}"
    found = files_of(folder, files)
    return next((f"{name} {CHANGED}" for name in sorted(files) if found[name][SUM] != files[name][SUM]), None)


def _parted(value: Any) -> tuple[Any, str | None]:
    """The value, and the sum that it was written with."""
    if isinstance(value, dict):
        return {key: one for key, one in value.items() if key != SUM}, value.get(SUM)
    if value and isinstance(value[-1], dict) and value[-1].keys() == {SUM}:
        return value[:-1], value[-1][SUM]
    return value, None
