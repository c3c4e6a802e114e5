"""Items of tasks, and the file of what a model made of them.

    runs/<id>/scores/<task>-<protocol>-<step>-<digest>.jsonl

Its first row says what was asked of which weights; then comes a row an item, never a mean: paired tests, other norms
and other readings need no model. A file under that name is whole: it is written as `.part` first, which a killed
evaluation goes on from.

    {"task", "settings": of the task as declared, "protocol", "step", "weights_sha256", "items", "items_digest",
     "shots", "versions", "digest": of all these, "contaminated": [keys], "cut": items whose context did not fit,
     "sha256": of this row without it and of all others}
    {"item", "source", "gold", "nats": [of each choice], "bytes": [...], "tokens": [...], "cut": tokens, if any}
    {"item", "source", "gold", "text", "right", "nats": [of the gold answer], "bytes": [...], "tokens": [...]}

The last form is that of `generate`. Where a row has "right", that decides, and not the least nats.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from ablate.run import files
from ablate.run.settings import UserError

# Raise it when a protocol asks or counts otherwise, or a kind makes other items: what was asked before is asked again
VERSION = 2
Row = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """One question with its choices, of which `choices[gold]` is right.

    The model reads `context`, which does not end in a space; each choice begins with the space that parts it from the
    context, if one does. An item without wrong choices has one.
    """

    key: str  # unique within its task
    source: str  # what it was made from: items of one source stand or fall together
    context: str
    choices: tuple[str, ...]
    gold: int


@dataclass(frozen=True)
class Sheet:
    """What is asked of which weights, under which protocol."""

    task: str
    protocol: str
    step: int
    weights_sha256: str
    items: Sequence[Item]
    shots: Sequence[Item] = ()  # solved, before every item
    contaminated: Sequence[str] = ()  # keys of items that stand in the training text
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the task: what a study declares finds its answers

    def header(self, versions: dict[str, Any]) -> Row:
        """The first row, as far as it is known before anything was asked."""
        asked = {
            "task": self.task,
            "settings": dict(self.settings),
            "protocol": self.protocol,
            "step": self.step,
            "weights_sha256": self.weights_sha256,
            "items": len(self.items),
            "items_digest": digest(self.items),
            "shots": digest(self.shots) if self.shots else "",
            "versions": versions,
        }
        return named(asked) | {"contaminated": sorted(self.contaminated)}


def named(asked: Row) -> Row:
    """The beginning of a first row: what names an evaluation, and its digest."""
    return asked | {"digest": _sha256([asked])}


def digest(items: Iterable[Item]) -> str:
    """sha256 hex of all that a model is asked, in order."""
    lines = (json.dumps(asdict(item), sort_keys=True, ensure_ascii=False) for item in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check(task: str, items: Sequence[Item]) -> None:
    """Raises UserError for an item that no model could be asked fairly."""
    keys = [item.key for item in items]
    if not items:
        raise UserError(f"task {task}: no items")
    if len(set(keys)) < len(keys):
        raise UserError(f"task {task}: item {max(keys, key=keys.count)!r} comes twice; keys must be unique")
    for item in items:
        if why := _unfair(item):
            raise UserError(f"task {task}: item {item.key!r}: {why}")


def _unfair(item: Item) -> str:
    """Why, or nothing."""
    if not 0 <= item.gold < len(item.choices):
        return f"gold={item.gold}: must be the number of one of its {len(item.choices)} choices, from 0"
    if not all(choice.strip() for choice in item.choices):
        return "an empty choice has no bytes to be scored over"
    if item.context.endswith(" "):
        return "the context ends in a space; each choice must begin with it"
    return ""


def path_in(folder: Path, header: Row) -> Path:
    name = f"{header['task']}-{header['protocol']}-{header['step']}-{header['digest'][:8]}.jsonl"
    return folder / name


def keep(path: Path, header: Row, rows: Sequence[Row]) -> None:
    """Write the whole file."""
    header = {key: value for key, value in header.items() if key != "sha256"}
    header |= {"items": len(rows), "cut": sum(1 for row in rows if row.get("cut"))}
    header |= {"sha256": _sha256([header, *rows])}
    files.write_atomically(path, "".join(json.dumps(row) + "\n" for row in (header, *rows)))


def read(path: Path) -> tuple[Row, list[Row]]:
    """First row and rows of items. Raises UserError, naming the file, for one that was damaged or edited."""
    try:
        header, rows = _whole(list(files.read_rows(path)))
        if path_in(path.parent, header) == path:
            return header, rows
    except (IndexError, KeyError, TypeError, AttributeError, ValueError):
        pass  # no such row, or none that is JSON
    raise UserError(f"{path}: damaged or edited since it was written; delete it and evaluate again")


def pack(folder: Path, path: Path) -> None:
    """All files of a folder as one, for the lab book: one behind the other, compressed."""
    texts = [one.read_bytes() for one in sorted(folder.glob("*.jsonl"))]
    files.make_folder(path.parent)
    path.write_bytes(gzip.compress(b"".join(texts), mtime=0))


def unpacked(path: Path) -> list[tuple[Row, list[Row]]]:
    """As `read`, of every file that was packed."""
    try:
        rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        starts = [number for number, row in enumerate(rows) if "task" in row]
        return [_whole(rows[first:last]) for first, last in pairwise([*starts, len(rows)])]
    except (OSError, EOFError, KeyError, TypeError, AttributeError, ValueError):
        raise UserError(f"{path}: damaged or edited since it was kept") from None


def _whole(file: list[Row]) -> tuple[Row, list[Row]]:
    """First row and rows of items. Raises ValueError for other ones than were written."""
    header, rows = dict(file[0]), file[1:]
    told = header.pop("sha256")
    if len(rows) != header["items"] or told != _sha256([header, *rows]):
        raise ValueError
    return header, rows


def _sha256(rows: Sequence[Any]) -> str:
    lines = (json.dumps(row, sort_keys=True) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
