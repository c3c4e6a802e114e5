"""What is still to be asked of runs: known without torch, so that a command that has nothing to do says so at once.

asks = unanswered(asks_of(record, tasks, "last"))      ->  fit.answering.answer(asks)
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ablate.run import files, whole
from ablate.run.evaluate import Task
from ablate.run.record import Record
from ablate.run.settings import UserError
from ablate.scores import answers, items
from ablate.scores.answers import Answers


@dataclass(frozen=True)
class Foreign(Record):
    """A folder that transformers loads, in the place of a run: its weights are those after step 0."""

    outputs: Path = Path("outputs")  # where the held-out text is that its items are made of

    def kept(self) -> dict[int, str]:
        """By the bytes of the files: two forms of equal weights are two."""
        files_ = files.sums(path for path in self.folder.iterdir() if path.suffix in (".safetensors", ".json"))
        return {0: hashlib.sha256(repr(files_).encode()).hexdigest()}

    def beat(self) -> None:
        """Nobody waits for it."""


Steps = Literal["last", "all"] | Sequence[int]


@dataclass(frozen=True)
class Ask:
    """One task, under one protocol, of the weights of a run after one step."""

    record: Record
    name: str
    task: Task
    protocol: str
    step: int

    @property
    def answers(self) -> Answers | None:
        """None where nobody has asked so. Raises UserError for answers of other weights."""
        found = answers.of(self.record.scores, self.name, answers.plain(self.task), self.protocol, self.step)
        return found.check(self.record.kept()[self.step]) if found else None


def asks_of(record: Record, tasks: Mapping[str, Task], steps: Steps = "last") -> list[Ask]:
    """All tasks by all their protocols. Raises UserError for a step of which no weights are kept."""
    kept = sorted(record.kept())
    wanted = kept if steps == "all" else kept[-1:] if steps == "last" else list(steps)
    for step in wanted:
        if step not in kept:
            there = ", ".join(map(str, kept))
            raise UserError(f"{record.id}: no weights are kept of step {step}; there are those of {there}")
    return [
        Ask(record, name, task, protocol, step)
        for step in wanted
        for name, task in tasks.items()
        for protocol in answers.protocols_of(dataclasses.asdict(task))
    ]


def set_aside_damaged(record: Record) -> None:
    """What the weights answered, where it is not as it was written: so that they are asked again."""
    for path in sorted(record.scores.glob("*.jsonl")):
        try:
            items.read(path)
        except UserError:
            whole.set_aside(path, whole.CHANGED, "asked again")


def unanswered(asks: Iterable[Ask]) -> list[Ask]:
    """Those that nobody has asked, by the code as it is now."""
    return [ask for ask in asks if (found := ask.answers) is None or not answers.is_current(found)]
