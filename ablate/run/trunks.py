"""Beginnings that runs leave for others: written here, read here, nowhere else.

outputs/trunks/<key>/    checkpoint/         the state after some step, for every run that passes it
                         metrics.jsonl       the rows up to there
                         weights/            those that the run kept up to there, if it kept any
                         trunk.json          which run left it, at what step and cost; written last, with sums
                                             of all others (`run.whole`)
"""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.run import files, shapes, whole
from ablate.run.files import appear, write_atomically, writing
from ablate.run.record import Record
from ablate.run.settings import UserError
from ablate.run.shapes import ROWS

LAST = "trunk.json"


@dataclass(frozen=True)
class Trunk:
    """The folder of one trunk. It appears whole; of two runs that leave the same one, the first counts."""

    folder: Path

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def exists(self) -> bool:
        return (self.folder / LAST).exists()

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    def leave(self, checkpoint: Path, record: Record, step: int, cost: dict[str, Any]) -> None:
        """Keep a run's checkpoint (linked, not copied, where the file system can) and its rows so far.

        `cost`: what a run has spent that comes this far, alone: FLOPs and seconds.
        """
        temporary = files.unfinished(self.folder)
        with writing(self.folder):
            try:
                shutil.copytree(checkpoint, temporary / "checkpoint", copy_function=files.link)
                for row in (row for row in record.rows("kept") if row["step"] <= step):
                    _link(record.weights_after(row["step"]), Record(temporary).weights_after(row["step"]))
                rows = [row for kind in ROWS for row in record.rows(kind) if row["step"] <= step]
                lines = [json.dumps(row) + "\n" for row in sorted(rows, key=lambda row: row["step"])]
                write_atomically(temporary / "metrics.jsonl", "".join(lines))
                told = {"run": record.id, "step": step} | cost
                whole.write(temporary / LAST, told | {"files": whole.files_of(temporary, _names(temporary))})
                appear(temporary, self.folder)
            except (OSError, UserError):
                if not self.exists:
                    raise
            finally:  # also what others left who were killed meanwhile
                for half in self.folder.parent.glob(f".{self.key}.*"):
                    shutil.rmtree(half, ignore_errors=True)

    def read(self) -> dict[str, Any]:
        """What was left; raises Damaged."""
        path = self.folder / LAST
        told = shapes.fit(shapes.Left, whole.read(path), path)
        return {name: value for name, value in told.items() if name != "files"}

    def whole(self) -> bool:
        """Whether every file is as it was left."""
        try:
            return not whole.wrong(self.folder, whole.read(self.folder / LAST)["files"])
        except (OSError, whole.Damaged, KeyError, TypeError):
            return False

    def grow(self, record: Record) -> None:
        """Begin a run's rows and kept weights with the trunk's own, and note that the trunk was used."""
        for path in self._weights():
            _link(path, record.folder / "weights" / path.name)
        write_atomically(record.folder / "metrics.jsonl", (self.folder / "metrics.jsonl").read_text(encoding="utf-8"))
        self.touch()

    def _weights(self) -> list[Path]:
        return sorted((self.folder / "weights").glob("step-*"))

    def touch(self) -> None:
        """Note that the trunk is used."""
        os.utime(self.folder)

    def remove(self) -> None:
        """Take the trunk away: at once for whoever looks for it, then its bytes."""
        gone = files.unfinished(self.folder)
        try:
            self.folder.rename(gone)
        except FileNotFoundError:  # another was first
            return
        shutil.rmtree(gone)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())


@dataclass(frozen=True)
class Growth:
    """Where a run starts, what it leaves for others (by the step it is the state after), and where it pauses."""

    start: Trunk | None = None
    leave: Mapping[int, Trunk] = field(default_factory=dict)
    until: int | None = None  # steps; the run saves and ends there with the exit code `failures.PAUSED`


def trunk_record(outputs: Path | str, key: str) -> Trunk:
    return Trunk(files.below(Path(outputs) / "trunks", key))


def trunks(outputs: Path | str) -> list[Trunk]:
    """All trunks, the one used last first."""
    used: dict[Path, float] = {}
    for path in (Path(outputs) / "trunks").glob("[!.]*/trunk.json"):
        with suppress(FileNotFoundError):  # removed meanwhile
            used[path.parent] = path.parent.stat().st_mtime
    return [Trunk(folder) for folder in sorted(used, key=lambda folder: used[folder], reverse=True)]


def _names(trunk: Path) -> list[str]:
    """Of all that is in it but the last."""
    return [str(path.relative_to(trunk)) for path in trunk.rglob("*") if path.is_file() and path.name != whole.MARKS]


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # of a try that was killed
    files.link(str(source), str(target))
