"""Text that an option names: a file that can be read, a folder of such files, or the code of an installed package.

books/good.jsonl    books/    package:numpy
"""

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from ablate.corpus.document import clean
from ablate.corpus.readers.table import read
from ablate.run.settings import SettingsError

PACKAGE = "package:"


def digest_of(key: str, path: str) -> str:
    """sha256 hex of the contents, whatever the files are called. Raises SettingsError where there are none."""
    digests = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in _files(key, path))
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def texts_of(key: str, path: str) -> Iterator[str]:
    """Raises UserError for what cannot be read."""
    yield from (clean(document.text) for file in _files(key, path) for document in read(file))


def _files(key: str, path: str) -> list[Path]:
    if path.startswith(PACKAGE):
        return _code_of(key, path.removeprefix(PACKAGE))
    root = Path(path)
    found = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
    if not path or not found or not all(file.is_file() for file in found):
        raise SettingsError(f"{key}={path}: must be a file, or a folder with files in it")
    return found


def _code_of(key: str, package: str) -> list[Path]:
    """The Python files of a package, found without importing it; empty ones aside."""
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError(f"{key}={PACKAGE}{package}: must be an installed package")
    found = Path(spec.submodule_search_locations[0]).rglob("*.py")
    return sorted(file for file in found if file.stat().st_size)
