"""Folders that are believed: one file of each, written last, holds the sums of the others and one of itself.

    corpus       manifest.json    tokenizer.json, bytes_per_token.npy, code.train.bin, ...
    run          result.json      config.yaml, metrics.jsonl, weights.safetensors, ...
    trunk        trunk.json       metrics.jsonl, checkpoint/trainer.json, ...
    checkpoint   trainer.json     weights.safetensors, optimizer.safetensors, ...

    {..., "files": {"weights.safetensors": {"size": 102784, "sha256": "5d41402a..."}}, "sha256": "9b74c989..."}

`sha256` is of the value, not of its spelling: whoever lays the file out anew changes nothing. Files of one value that
belong to no folder (`starts.json`, `study.json`, ...) hold a sum of themselves alone. A file without one is of an older
version, and is read as it is.

    verified.json    {"code.train.bin": [size, modified, changed, inode], ...}    when its sum was right, times in ns

A file whose sum was right is not read again until anything about it has changed: a copy has inodes of its own.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ablate.run.files import Damaged, read_json, reading, write_json
from ablate.run.settings import UserError

SUM, MARKS = "sha256", "verified.json"
CHANGED = "is not what was written: its sha256 is another"


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
        return unsealed(read_json(path))
    except Damaged:
        raise
    except ValueError as error:
        raise Damaged(path, str(error)) from None


def unsealed(value: Any) -> Any:
    """The value without its sum. Raises ValueError for another one than was sealed."""
    if isinstance(value, dict | list):
        value, told = _parted(value)
        if told in (None, _sum(value)):
            return value
    raise ValueError(CHANGED)


def read_or(path: Path, default: Any) -> Any:
    """`read`, or the default where there is no file."""
    return read(path) if path.exists() else default


def write_twice(path: Path, value: Any) -> None:
    """What nothing can make again, and a copy beside it."""
    write(copy_of(path), value)
    write(path, value)


def read_either(path: Path, default: Any) -> Any:
    """What was written twice, or its copy where that is damaged; the default where there is no file."""
    try:
        return read_or(path, default)
    except Damaged:
        value = read(copy_of(path))
    print(f"{path}: {CHANGED}; taken from its copy", flush=True)
    write(path, value)
    return value


def read_if(path: Path, default: Any) -> Any:
    """`read_or`, and the default also where the file is damaged: of what is made again without a word."""
    try:
        return read_or(path, default)
    except Damaged:
        return default


def copy_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.copy")


def digest(value: Any) -> str:
    """sha256 hex of plain data, as it is when it has been written and read; the order of keys does not matter."""
    return _sum(json.loads(json.dumps(value)))


def _sum(read: Any) -> str:
    """Of a value as JSON gives it: its keys are strings already."""
    return hashlib.sha256(json.dumps(read, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


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


def sha256_of(path: Path) -> str:
    """Raises Damaged for what cannot be read."""
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong(
    folder: Path,
    files: Mapping[str, Mapping[str, Any]],
    sum_of: Callable[[Path, str], str] | None = None,
    then: Callable[[], None] = lambda: None,
) -> str | None:
    """What is wrong with the first file that is not as it is told; none is read whose sum was right as it is now.

    sum_of: of a file and the sum that it is told to have, if not all of it is to be read.
    then: whatever else is looked at, before files are remembered to be right.
    """
    found = {}
    for name, told in files.items():
        try:
            found |= states(folder, [name])
        except OSError:
            return f"{name} is gone"
        if (size := found[name][0]) != told["size"]:
            return f"{name} has {size} bytes, not {told['size']}"
    known = _known(folder)
    changed = [name for name, state in found.items() if state != known.get(name)]
    if what := unlike(folder, {name: files[name] for name in changed}, sum_of):
        return what
    if changed or not files:
        then()
    if changed:
        remember(folder, known | found)
    return None


def unlike(
    folder: Path, files: Mapping[str, Mapping[str, Any]], sum_of: Callable[[Path, str], str] | None = None
) -> str | None:
    """As `wrong`, but all are read, several at once, whatever is known of them. Raises OSError for one that is gone."""

    def is_right(name: str) -> bool:
        told = files[name][SUM]
        return told == (sum_of(folder / name, told) if sum_of else sha256_of(folder / name))

    with ThreadPoolExecutor() as threads:
        right = dict(zip(files, threads.map(is_right, files), strict=True))
    return next((f"{name} {CHANGED}" for name in files if not right[name]), None)


def set_aside(path: Path, what: str, again: str) -> None:
    """Say what is wrong with a folder or a file and take it out of the way, where no command looks for one."""
    aside = path.with_name(f".{path.name}.damaged")
    print(f"{path}: {what}; set aside as {aside.name}, and {again}", flush=True)
    if aside.is_dir():
        shutil.rmtree(aside)
    with contextlib.suppress(FileNotFoundError):  # another process was first
        path.replace(aside)


def states(folder: Path, names: Iterable[str]) -> dict[str, list[int]]:
    stats = {name: (folder / name).stat() for name in names}
    return {name: [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for name, s in stats.items()}


def remember(folder: Path, found: dict[str, list[int]]) -> None:
    """That these files are what they should be, as they are now."""
    with contextlib.suppress(UserError):  # of a folder that cannot be written: the next start looks again
        write_json(folder / MARKS, found)


def _known(folder: Path) -> dict[str, list[int]]:
    try:
        return dict(read_json(folder / MARKS))
    except (OSError, ValueError, TypeError):
        return {}


def _parted(value: Any) -> tuple[Any, str | None]:
    """The value, and the sum that it was written with."""
    if isinstance(value, dict):
        return {key: one for key, one in value.items() if key != SUM}, value.get(SUM)
    if value and isinstance(value[-1], dict) and value[-1].keys() == {SUM}:
        return value[:-1], value[-1][SUM]
    return value, None
