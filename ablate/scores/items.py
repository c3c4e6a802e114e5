"""Items of tasks, and the file of what a model made of them.

    runs/<id>/scores/<task>-<protocol>-<step>-<digest>.jsonl

Its first row says what was asked of which weights; then comes a row an item, never a mean: paired tests, other norms
and other readings need no model. A file under that name is whole: it is written as `.part` first, which a killed
evaluation goes on from.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass


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


def digest(items: Iterable[Item]) -> str:
    """sha256 hex of all that a model is asked, in order."""
    lines = (json.dumps(asdict(item), sort_keys=True, ensure_ascii=False) for item in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
