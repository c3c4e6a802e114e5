"""What an exported folder says of itself: export.json, with the sums of all files (`run.whole`).

seal(folder, {...})     written last
told(folder)            what it says; None of a folder that `ablate export` did not write
check(folder)           raises UserError, naming the file, where a single bit has changed, or a file has been added
"""

from pathlib import Path
from typing import Any

from ablate.run import whole
from ablate.run.settings import UserError

NAME = "export.json"
CARD = "README.md"


def seal(folder: Path, what: dict[str, Any]) -> None:
    whole.write(folder / NAME, what | {"files": whole.files_of(folder, _names(folder))})


def told(folder: Path) -> dict[str, Any] | None:
    """Raises Damaged for another one than was written."""
    if not (folder / NAME).exists():
        return None
    found = whole.read(folder / NAME)
    if not isinstance(found, dict) or not isinstance(found.get("files"), dict):
        raise whole.Damaged(folder / NAME, whole.CHANGED)
    return found


def check(folder: Path, but: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """What it says. Raises UserError for a file that is gone, is new or has changed, but for those that may.

    A new one may be read before those that were written, or beside them: adapter_config.json, chat_template.jinja.
    """
    if (found := told(folder)) is None:
        return None
    names = _names(folder)
    if new := sorted({*names} - found["files"].keys()):
        raise UserError(f"{folder / new[0]}: was not exported")
    if gone := sorted(found["files"].keys() - {*names, *but}):
        raise UserError(f"{folder / gone[0]}: is gone")
    if wrong := whole.unlike(folder, {name: told for name, told in found["files"].items() if name not in but}):
        raise UserError(f"{folder}/{wrong}")
    return found


def _names(folder: Path) -> list[str]:
    """Of all its files but NAME, and but hidden ones: .gitattributes of a hub, which no program reads."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path != folder / NAME]
    return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))
