"""What an exported folder says of itself: export.json, with the sha256 of every file and of its own content.

seal(folder, {...})     written last
told(folder)            what it says; None of a folder that `ablate export` did not write
check(folder)           raises UserError, naming the file, where a single bit has changed, or a file has been added
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from ablate.run.files import read_json, sums, write_json
from ablate.run.settings import UserError

NAME = "export.json"
CARD = "README.md"


def seal(folder: Path, what: dict[str, Any]) -> None:
    whole = what | {"files": {name: _sha256(folder / name) for name in _names(folder)}}
    write_json(folder / NAME, whole | {"sha256": _digest(whole)})


def told(folder: Path) -> dict[str, Any] | None:
    """Raises UserError where it is damaged."""
    if not (folder / NAME).exists():
        return None
    found = read_json(folder / NAME)
    if not isinstance(found, dict) or found.pop("sha256", "") != _digest(found):
        raise UserError(f"{folder / NAME}: damaged: it is not what was written")
    return found


def check(folder: Path, but: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """What it says. Raises UserError for a file that is gone, is new or has changed, but for those that may.

    A new one may be read before those that were written, or beside them: adapter_config.json, chat_template.jinja.
    """
    if (found := told(folder)) is None:
        return None
    for name in _names(folder):
        if name not in found["files"]:
            raise UserError(f"{folder / name}: was not exported")
    for name, sha256 in found["files"].items():
        if name in but:
            continue
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: is gone")
        if _sha256(folder / name) != sha256:
            raise UserError(f"{folder / name}: changed since it was exported, by its sha256")
    return found


def _names(folder: Path) -> list[str]:
    """Of all its files but NAME, and but hidden ones: .gitattributes of a hub, which no program reads."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path != folder / NAME]
    return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))


def _sha256(path: Path) -> str:
    return sums([path])[path.name]


def _digest(what: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
