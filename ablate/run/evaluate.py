"""What a trained model is asked besides its held-out text: tasks and samples. Never part of what a run is."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from ablate.run.fields import Count, NotNegative, strict


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@strict
class Task:
    """A set of items, and the ways in which a model is asked for them."""

    kind: str = "questions"  # where the items come from: an entry of `scores.tasks.table.KINDS`
    # How a model is asked, entries of `scores.protocols.PROTOCOLS`; a metric that names none reads the first
    protocols: list[str] = dataclasses.field(default_factory=lambda: ["cloze"])
    items: Count = 200  # fewer where there are no more
    shots: NotNegative = 0  # solved items that stand before each
    seed: NotNegative = 0  # draws the items
    domains: list[str] = dataclasses.field(default_factory=list)  # whose held-out text they are of; empty: all
    path: str = ""  # of a set of your own: its file
    sha256: str = ""  # of that file, noted when the task is declared: an edited file has other items
    options: dict[str, Any] = dataclasses.field(default_factory=dict)  # of the kind

    def __post_init__(self) -> None:
        if not self.sha256 and self.path and Path(self.path).is_file():
            object.__setattr__(self, "sha256", file_sha256(Path(self.path)))


@strict
class Evaluate:
    """Tasks that the final weights of a run are asked, and texts that it goes on from while it trains."""

    tasks: dict[str, Task] = dataclasses.field(default_factory=dict)  # by the name that metrics give: task:<name>:acc
    samples: list[str] = dataclasses.field(default_factory=list)  # prompts, continued at every evaluation
    sample_tokens: Count = 64  # length of each continuation
