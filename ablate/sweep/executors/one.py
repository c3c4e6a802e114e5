"""One run by whoever is told to carry it out: the program that `where.command` starts, also by torchrun.

python -m ablate.sweep.executors.one outputs/runs/a128x4-1024-s0-7eead0bb/task.json
"""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ablate.run import files, shapes, whole
from ablate.run.parse import from_plain
from ablate.run.record import Record, plain
from ablate.run.trunks import Growth
from ablate.sweep import ranks
from ablate.sweep.trunk import Branch
from ablate.sweep.worker import Task, train_and_exit


class Told(shapes.Shape):
    """`task.json`: a run as who carries it out is told of it."""

    settings: dict[str, Any]
    corpus: str
    ways: list[Annotated[list[Any], Field(min_length=3, max_length=3)]]
    until: shapes.Whole | None


def write(task: Task) -> Path:
    """Beside the run's record."""
    assert not isinstance(task.ways, Growth)
    path = files.make_own(task.record.folder) / "task.json"
    ways = [dataclasses.astuple(branch) for branch in task.ways]
    told = {"settings": plain(task.settings), "corpus": str(task.corpus), "ways": ways, "until": task.until}
    whole.write(path, told)
    return path


def read(path: Path) -> Task:
    """Raises UserError for one that is not what was written."""
    told = shapes.fit(Told, whole.read(path), path)
    settings = from_plain(told["settings"])
    settings = dataclasses.replace(settings, where=dataclasses.replace(settings.where, executor="local"))
    ways = [Branch(*branch) for branch in told["ways"]]
    return Task(settings, Path(told["corpus"]), Record(path.parent), ways, told["until"])


def main() -> None:
    """Ends as `worker.train_and_exit` does."""
    task = read(Path(sys.argv[1]))
    where = task.settings.where
    if where.threads:  # before anything loads torch
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(where.threads)
    os.environ.update(where.environment)
    if not ranks.started():
        train_and_exit(task)
        return
    task = dataclasses.replace(task, settings=ranks.placed(task.settings))
    if ranks.is_first():
        ranks.lead(task, train_and_exit)
    else:
        ranks.follow(task.settings)


if __name__ == "__main__":
    main()
