"""What a gate leaves on disk: a ledger like a study's (`run.ledger`), to which rows are added, and none is changed.

    outputs/gates/<name>/ledger.jsonl
    {"kind": "begun", "base": ["size=nano"], "alpha": 0.05, "ideas": 100, "effect": 2.0, "unit": "bits per byte", ...}
    {"kind": "opened", "number": 1, "change": ["optimizer.lr=6e-3"], "incumbent": ["size=nano"], "stake": 0.0005,
     "seed": 71234001000, "part": 1, "study": "gate-001", ...}
    {"kind": "judged", "number": 1, "word": "keep", "pairs": 12, "wealth": 2741.0, "mean": -0.02, ...}
    {"kind": "refused", "change": ["seed=5"], "reason": "...", ...}

A row is added before the first run of an idea, and after its last. What follows from the rows is read by
`verdict.ideas`. An idea is a study, whose records are where those of studies are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock, Timeout
from pydantic import Field

from ablate.run.files import below, make_own
from ablate.run.ledger import Ledger
from ablate.run.settings import UserError
from ablate.run.shapes import Number, Shape, Whole


class _Row(Shape):
    time: str
    after: str


class Begun(_Row):
    """The first row: the first incumbent, and the rule."""

    kind: Literal["begun"]
    base: list[str]
    metric: str
    unit: str
    alpha: Number
    ideas: Whole
    effect: Number


class Opened(_Row):
    kind: Literal["opened"]
    number: Whole
    change: list[str]
    incumbent: list[str]
    stake: Number
    seed: Whole  # of the first pair; the others follow it
    part: Whole  # of the held-out rows
    fresh: bool  # whether no earlier idea was scored on them
    study: str


class Judged(_Row):
    kind: Literal["judged"]
    number: Whole
    word: Literal["keep", "discard", "retest"]
    reason: str
    pairs: Whole
    wealth: Number
    mean: Number | None  # of the pairs that were judged, in the metric's unit; better is below 0 where lower is better
    again: list[Number]  # differences of the pairs after a keep


class Refused(_Row):
    """What is no idea: it stakes nothing."""

    kind: Literal["refused"]
    change: list[str]
    reason: str


GateRow = Annotated[Begun | Opened | Judged | Refused, Field(discriminator="kind")]


@dataclass(frozen=True)
class GateRecord:
    """The folder of one gate."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def outputs(self) -> str:
        return str(self.folder.parent.parent)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger.jsonl", GateRow)

    @contextmanager
    def held(self) -> Iterator[None]:
        """While one process judges, no other does. Raises UserError where another holds it."""
        make_own(self.folder)
        try:
            with FileLock(self.folder / ".gate.lock", timeout=0):
                yield
        except Timeout:
            raise UserError(f"gate {self.name}: another process judges an idea; one waits for the other") from None


def gate_record(outputs: Path | str, name: str) -> GateRecord:
    return GateRecord(below(Path(outputs) / "gates", name))
