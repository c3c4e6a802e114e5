"""What a model answered: the files of a run's scores, found by what was asked, and read once.

found(record.scores, "sums", "cloze", 300)      of the weights after step 300, whatever version asked
"""

import dataclasses
import functools
import glob
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.run.evaluate import Task
from ablate.run.settings import SettingsError, UserError
from ablate.scores import items, readings
from ablate.scores.items import VERSION, Row

PROTOCOLS = ("likelihood", "cloze", "generate", "write", "both")  # the keys of `protocols.PROTOCOLS`, which needs torch
LM_EVAL = "lm_eval"  # a kind of task, and the protocol of its own that it has


@dataclass(frozen=True, eq=False)  # each file is one object as long as it is not written anew
class Answers:
    """One whole file: what was asked, and what became of each item."""

    path: Path
    header: Row
    rows: tuple[Row, ...]

    def clean(self, left_out: Collection[str] = ()) -> list[Row]:
        """Rows of the items that do not stand in the training text, and are not to be left out for another run."""
        left_out = {*self.header["contaminated"], *left_out}
        return [row for row in self.rows if row["item"] not in left_out]

    def check(self, weights_sha256: str) -> "Answers":
        """Raises UserError, naming the file, where other weights than these were asked."""
        if self.header["weights_sha256"] != weights_sha256:
            raise UserError(
                f"{self.path}: other weights than those of the run were asked; delete it and evaluate again"
            )
        return self


@functools.lru_cache(2**16)
def value(one: Answers, reading: str, left_out: frozenset[str]) -> float:
    """Of the items that count: worked out once, though a verdict asks for it many times. Raises Unreadable."""
    return readings.value(one.clean(left_out), reading)


def found(folder: Path, task: str = "", protocol: str = "", step: int | None = None) -> list[Answers]:
    """The files of a folder, by name; of a task, a protocol and a step where these are given.

    folder: in the lab book, all of its files as one. Raises UserError, naming the file, for one that was damaged.
    """
    at = "*" if step is None else step
    pattern = f"{glob.escape(task) or '*'}-{glob.escape(protocol) or '*'}-{at}-*.jsonl"
    if folder.is_file():
        read = _packed(folder, folder.stat().st_mtime_ns)
    else:
        read = [_read(path, path.stat().st_mtime_ns) for path in sorted(folder.glob(pattern))]
    wanted = {"task": task, "protocol": protocol, "step": step}
    return [one for one in read if all(value in ("", None, one.header[name]) for name, value in wanted.items())]


def plain(task: Task) -> dict[str, Any]:
    """What a task is, as it stands in the first row of its files: under which protocol is told beside it."""
    return without_protocols(json.loads(json.dumps(dataclasses.asdict(task))))


def protocols_of(task: Mapping[str, Any]) -> list[str]:
    """How a declared task is asked; lm-eval asks in its own way."""
    return [LM_EVAL] if task["kind"] == LM_EVAL else list(task["protocols"])


def protocols_for(task: Mapping[str, Any], reading: str) -> list[str]:
    """Those of a declared task that give a number of their own: the nats of `generate` are those of `cloze`."""
    protocols = protocols_of(task)
    return [one for one in protocols if (reading, one) != ("bpb", "generate") or "cloze" not in protocols]


def check(tasks: Mapping[str, Task]) -> None:
    """Raises SettingsError for a protocol that there is not."""
    for name, task in tasks.items():
        key, known = f"evaluate.tasks.{name}.protocols", ", ".join(PROTOCOLS)
        if not task.protocols or (unknown := [one for one in task.protocols if one not in PROTOCOLS]):
            found = ", ".join(unknown) if task.protocols else "[]"
            raise SettingsError(f"{key}={found}: must be one of {known}")


def is_current(found: Answers) -> bool:
    """Whether the protocols as they are now asked."""
    return found.header["versions"].get("protocols", VERSION) == VERSION


def without_protocols(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "protocols"}


def of(folder: Path, task: str, settings: Mapping[str, Any], protocol: str, step: int) -> Answers | None:
    """Of a task with these settings, asked by the last version; None where nobody has asked so."""
    wanted = without_protocols(settings)
    same = [one for one in found(folder, task, protocol, step) if one.header["settings"] == wanted]
    return max(same, key=lambda one: sorted(one.header["versions"].items()), default=None)


@functools.lru_cache(4096)
def _read(path: Path, changed: int) -> Answers:
    header, rows = items.read(path)
    return Answers(path, header, tuple(rows))


@functools.lru_cache(256)
def _packed(path: Path, changed: int) -> list[Answers]:
    return [Answers(path, header, tuple(rows)) for header, rows in items.unpacked(path)]
