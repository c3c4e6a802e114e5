"""Text that an option names: a file of any kind that is read, or a folder of such files."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ablate.corpus.document import clean
from ablate.corpus.readers.table import read
from ablate.run.settings import SettingsError


def digest_of(key: str, path: str) -> str:
    """sha256 hex of the contents, whatever the files are called. Raises SettingsError where there are none."""
    digests = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in _files(key, path))
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def texts_of(key: str, path: str) -> Iterator[str]:
    """Raises UserError for what cannot be read."""
    yield from (clean(document.text) for file in _files(key, path) for document in read(file))


def _files(key: str, path: str) -> list[Path]:
    root = Path(path)
    found = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
    if not path or not found or not all(file.is_file() for file in found):
        raise SettingsError(f"{key}={path}: must be a file, or a folder with files in it")
    return found
