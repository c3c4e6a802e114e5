"""What a trained model is asked besides its held-out text: tasks and samples. Never part of what a run is."""

import contextlib
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import yaml

from ablate.run.fields import Count, NotNegative, strict


class _Tagless(yaml.SafeLoader):
    """Reads the YAML of lm-eval, in which `!function` names code."""


_Tagless.add_multi_constructor("!", lambda *_: None)


def files_of(path: str, options: dict[str, Any]) -> list[Path]:
    """Files of the user's own that a task is made of: its own, the data that a YAML of lm-eval names, or its folder."""
    folder, found = options.get("data", ""), [Path(path)] if path else []
    if found and found[0].suffix in (".yaml", ".yml"):
        with contextlib.suppress(OSError, ValueError, AttributeError, yaml.YAMLError):  # whoever asks says why
            found += _data_files(yaml.load(found[0].read_text(encoding="utf-8"), _Tagless))
    found += sorted(Path(folder).rglob("*")) if folder else []
    return [one for one in found if one.is_file()]


def _data_files(declared: dict[str, Any]) -> list[Path]:
    named = declared.get("dataset_kwargs", {}).get("data_files", [])
    lists = named.values() if isinstance(named, dict) else [named]
    return [Path(one) for paths in lists for one in ([paths] if isinstance(paths, str) else paths)]


def sha256_of(path: str, options: dict[str, Any]) -> str:
    """Of the files of a task; of several, of their sums. Empty where there is none."""
    sums = []
    for one in files_of(path, options):
        with one.open("rb") as file:
            sums.append(hashlib.file_digest(file, "sha256").hexdigest())
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest() if sums else ""


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
    sha256: str = ""  # of its files, noted when the task is declared: edited files have other items
    options: dict[str, Any] = dataclasses.field(default_factory=dict)  # of the kind

    def __post_init__(self) -> None:
        if not self.sha256:
            object.__setattr__(self, "sha256", sha256_of(self.path, self.options))


@strict
class Evaluate:
    """Tasks that the final weights of a run are asked, and texts that it goes on from while it trains."""

    tasks: dict[str, Task] = dataclasses.field(default_factory=dict)  # by the name that metrics give: task:<name>:acc
    samples: list[str] = dataclasses.field(default_factory=list)  # prompts, continued at every evaluation
    sample_tokens: Count = 64  # length of each continuation
