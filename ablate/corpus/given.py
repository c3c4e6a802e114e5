"""Text that an option names: a file, or a folder of files; rows of .jsonl files, other files as a whole."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from ablate.run.settings import SettingsError, UserError


def digest_of(key: str, path: str) -> str:
    """sha256 hex of the contents, whatever the files are called. Raises SettingsError where there are none."""
    digests = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in _files(key, path))
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def texts_of(key: str, path: str) -> Iterator[str]:
    """Raises UserError for what is not UTF-8, or no row with a text."""
    for file in _files(key, path):
        try:
            text = file.read_text(encoding="utf-8-sig")
            if file.suffix == ".jsonl":
                yield from (json.loads(line)["text"] for line in text.split("\n") if line.strip())
            else:
                yield text
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{key}={path}: {file} must be UTF-8, and a .jsonl file hold rows with a text") from None


def _files(key: str, path: str) -> list[Path]:
    root = Path(path)
    found = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
    if not path or not found or not all(file.exists() for file in found):
        raise SettingsError(f"{key}={path}: must be a file, or a folder with files in it")
    return found
