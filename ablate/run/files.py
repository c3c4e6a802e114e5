"""Files that are believed when they exist: each appears whole or not at all, and what cannot be written is one line.

write_json(folder / "result.json", {...})     under another name first, then renamed
appear(folder / ".half", folder / "whole")    the same, of what is written already: a power cut leaves all or none
append_row(folder / "metrics.jsonl", {...})   a line; a writer that is killed may leave it cut short,
read_rows(folder / "metrics.jsonl")           and readers drop one that has no end
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablate.run import names
from ablate.run.settings import UserError

TAIL_BYTES = 16_384  # enough for the last rows of a file
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # as JSON spells half of a character


class Damaged(UserError):
    """A file is not as it was written, or is gone."""

    def __init__(self, path: Path, what: str, then: str = ""):
        super().__init__(f"{path}: {what}{then}")
        self.path, self.what = path, what


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What goes wrong in here is a UserError, one line that names `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What goes wrong in here is Damaged, but that there is no file; what is Damaged already is not said twice."""
    try:
        if kind := endless(path):
            raise Damaged(path, f"is a {kind}, not a file")
        yield
    except (FileNotFoundError, Damaged):
        raise
    except OSError as error:
        raise Damaged(path, f"cannot be read, {error.strerror or error}") from None
    except (ValueError, RecursionError, EOFError, zlib.error) as error:  # of JSON, UTF-8, CSV or gzip
        raise Damaged(path, f"damaged, {' '.join(str(error).split())}") from None


def endless(path: Path) -> str | None:
    """What a path is that a reader may wait for, or never see the end of: a pipe, a socket, a device; or None."""
    try:
        mode = path.stat().st_mode
    except OSError:  # as of a file that is gone meanwhile: whoever reads it says so
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"


def unfinished(path: Path) -> Path:
    """Another name beside it, of this writer alone: two containers may have one host name and one number of process."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")


def parsed(text: str) -> Any:
    """The value of JSON. Raises ValueError, or RecursionError, for text that is none, or is of half characters."""
    value = json.loads(text)
    if SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def make_folder(folder: Path) -> Path:
    """Create a folder for output; returns it. Raises UserError, one line, where that is not possible."""
    with writing(folder):
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for one in missing:
            sync(one.parent)
    return folder


def below(folder: Path, name: str) -> Path:
    """What has that name directly in a folder. Raises UserError for a name, read from a file say, that is no name."""
    try:
        return folder / names.file_name(str(name))
    except ValueError as error:
        raise UserError(f"{names.shown(str(name))}, in {folder}: {error}") from None


def make_own(folder: Path) -> Path:
    """As `make_folder`, of one in which all that is written stays: a link out of a folder of others would lead it
    elsewhere, and a pipe never takes it. Raises UserError for a folder that is a link, or holds one or a pipe."""
    make_folder(folder)
    inside = (Path(at, name) for at, folders, files in os.walk(folder) for name in (*folders, *files))
    for path in (folder, *inside):
        _refuse_link(path)
        if kind := endless(path):
            raise UserError(f"{path}: is a {kind}, not a file; remove it")
    return folder


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise UserError(f"{path}: is a link, and nothing is written where links lead; put what it means in its place")


def make_private(folder: Path) -> Path:
    """As `make_folder`, one that its owner alone can read or write, so that nobody else's links are in it. Raises
    UserError for a folder that is a link or another's."""
    make_folder(folder)
    _refuse_link(folder)
    with writing(folder):
        folder.chmod(0o700)
    return folder


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file that readers see whole or not at all, also after a crash of the machine."""
    temporary = unfinished(path)
    with writing(path):
        try:
            temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
            appear(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def appear(unfinished: Path, path: Path) -> None:
    """Give a whole file or folder, with all that is in it, its name: on disk before, and the name when this returns.

    What is written after that can lean on it, whenever the power fails.
    """
    for file in unfinished.rglob("*"):
        sync(file)
    sync(unfinished)
    unfinished.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    write_atomically(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Raises Damaged, one line, for a file that somebody has damaged."""
    with reading(path):
        return parsed(path.read_text(encoding="utf-8"))


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a line of JSON."""
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_rows(path: Path) -> Iterable[dict[str, Any]]:
    """Every whole row; none of a file that is not there. Raises Damaged."""
    if path.exists():
        with reading(path):
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            yield from [parsed(line) for line in lines if line.endswith("\n")]


def tail(path: Path) -> list[str]:
    """The last whole lines, at a price that does not grow with the file; of a long one, the first may lack its head."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="ignore").split("\n")[:-1]


def cut(path: Path, size: int) -> None:
    """Drop all rows but those in the first bytes; there may be none of them."""
    if path.exists():
        with writing(path):
            os.truncate(path, size)


def cut_broken_row(path: Path) -> None:
    """Drop a last row that was cut short, so that the next one stands on a line of its own."""
    if path.exists():
        whole = path.read_bytes().rfind(b"\n") + 1
        os.truncate(path, whole)


def modified(path: Path) -> int:
    """When, in nanoseconds; 0 of a file that is not there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def clock_of(folder: Path) -> float:
    """Seconds since 1970 by the clock that stamps the files of a folder: over a network, the file server's."""
    with writing(folder), tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


def sums(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file by its name."""
    found = {}
    for path in sorted(paths):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def link(source: str, target: str) -> None:
    """One file under a second name; a copy where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
