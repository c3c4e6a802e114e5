"""Files that are what a manifest tells, by their sha256: looked at once, and again when anything about them changed.

    verified.json    {"code.train.bin": [size, modified, changed, inode], ...}    when its sha256 was right, times in ns

A copy has inodes of its own, so that a file which was cut or zeroed on its way is found before anything is trained.
Shards that lie elsewhere (`data.mapped`) are known by their names in full.
"""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ablate.data.shards import sha256_of
from ablate.data.verified import SAMPLED, sampled_sha256_of
from ablate.run.files import write_json
from ablate.run.settings import UserError

NAME = "verified.json"
CHANGED = "is not what was written: its sha256 is another"


def wrong(folder: Path, files: dict[str, Any]) -> str | None:
    """What is wrong with the first file that is not as the manifest tells; `files`: its size and sha256 by name.

    Raises OSError for one that is missing.
    """
    known = _known(folder)
    found = states(folder, files)
    changed = [name for name, state in found.items() if state != known.get(name)]
    for name in changed:
        size, sha256 = files[name]["size"], files[name]["sha256"]
        if found[name][0] != size:
            return f"{name} has {found[name][0]} bytes, not {size}"
        sampled = sha256.startswith(SAMPLED)
        if (sampled_sha256_of if sampled else sha256_of)(folder / name) != sha256:
            return f"{name} {CHANGED}"
    if changed:
        remember(folder, known | found)
    return None


def states(folder: Path, names: Iterable[str]) -> dict[str, list[int]]:
    stats = {name: (folder / name).stat() for name in names}
    return {name: [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for name, s in stats.items()}


def remember(folder: Path, found: dict[str, list[int]]) -> None:
    """That these files are what they should be, as they are now."""
    with contextlib.suppress(UserError):  # of a folder that cannot be written: the next start looks again
        write_json(folder / NAME, found)


def _known(folder: Path) -> dict[str, list[int]]:
    try:
        return dict(json.loads((folder / NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
