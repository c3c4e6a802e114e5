"""All items of a task asked of a model, once: the file is found if it is there, and gone on with if it was begun.

    path = ask(candidate, Sheet("qa", "cloze", 1000, sha, items), record.folder / "scores")
    header, rows = read(path)

Items are asked in blocks, which are batched each by itself: an evaluation that was killed begins again with the first
block that is not whole, and ends with the file that it would have written at once.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from ablate.run import files, whole
from ablate.scores import items
from ablate.scores.candidate import Candidate
from ablate.scores.items import VERSION, Row, Sheet
from ablate.scores.protocols import PROTOCOLS

BLOCK = 128  # items


def ask(candidate: Candidate, sheet: Sheet, folder: Path, beat: Callable[[], None] = lambda: None) -> Path:
    """The file of what the model made of the items. Several processes may ask at once: one works, the others wait.

    Raises UserError for items that cannot be asked, and for a file that was damaged.
    """
    items.check(sheet.task, sheet.items)
    header = sheet.header({"protocols": VERSION})
    return kept(folder, header, lambda part: ({}, _ask(candidate, sheet, part, header, beat)))


def kept(folder: Path, header: Row, found: Callable[[Path], tuple[Row, list[Row]]]) -> Path:
    """The file with that header; without one, `found` gives more of the header, and the rows.

    A header that tells which items are contaminated replaces what the file says of it.

    It may keep what is not whole yet under the path that it is given.
    """
    path = items.path_in(folder, header)
    part = path.with_name(path.name + ".part")
    files.make_folder(folder)
    with FileLock(folder / ".lock"):
        if not path.exists():
            more, rows = found(part)
            items.keep(path, header | more, rows)
            part.unlink(missing_ok=True)
        there, rows = items.read(path)
        told = header.get("contaminated", there["contaminated"])
        if there["contaminated"] != told:  # by other text or by a better search since
            items.keep(path, there | {"contaminated": told}, rows)
    return path


def _ask(candidate: Candidate, sheet: Sheet, part: Path, header: Row, beat: Callable[[], None]) -> list[Row]:
    rows = _begun(part, header)
    for start in range(len(rows), len(sheet.items), BLOCK):
        block = sheet.items[start : start + BLOCK]
        answers = PROTOCOLS[sheet.protocol](candidate, block, sheet.shots, beat)
        for row in answers:
            files.append_row(part, whole.sealed(row))
        rows += answers
    return rows


def _begun(part: Path, header: Row) -> list[Row]:
    """Rows of the blocks that are whole; the file afterwards holds no others. A damaged one is asked again."""
    asked, *rows = _unsealed(part) or [{}]
    if asked != header:
        rows = []
    rows = rows[: len(rows) // BLOCK * BLOCK]
    part.unlink(missing_ok=True)
    for row in (header, *rows):
        files.append_row(part, whole.sealed(row))
    return rows


def _unsealed(part: Path) -> list[Row]:
    """The rows before the first that is not as it was written."""
    found: list[Row] = []
    lines = part.read_bytes().split(b"\n")[:-1] if part.exists() else []
    with contextlib.suppress(ValueError):
        for line in lines:
            found.append(whole.unsealed(json.loads(line)))  # those before an error are wanted
    return found
