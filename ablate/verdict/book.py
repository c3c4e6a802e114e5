"""A study as it goes into the lab book: a few plain tables, from which every verdict and figure can be made again.

    experiments/davinci_sweep/  README.md            question, design and verdict, for people
                                study.json race.json the declaration, and what a race decided
                                runs.csv             a row a run: outcome, cost, final losses
                                evaluations.csv.gz   a row an evaluation, with the rate at that time
                                environments.json    versions and machines; runs.csv says whose

    keep(read(study_record("outputs", "davinci_sweep")), Path("experiments/davinci_sweep"))
    verdicts(read(Book(Path("experiments/davinci_sweep"))))          as from the records themselves

Weights, checkpoints and the rows of single steps stay in the outputs: they are large, and training the
study again makes them again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ablate.run.files import make_folder, write_atomically
from ablate.run.record import Record, StudyRecord, study_record
from ablate.run.settings import UserError
from ablate.verdict.evidence import Evidence, Run

OF_STEP = ("lr", "weight_decay", "length")  # what an evaluation's row says of the step before it
TABLES = {"runs": "runs.csv", "evaluations": "evaluations.csv.gz"}
LISTS = ["validation"]  # of a result: numbers of each row of held-out text
ENVIRONMENTS = "environments.json"
DIGESTS = ("weights_sha256", "grown_from.trunk")  # hexadecimal: may have no letter


@dataclass(frozen=True)
class Kept(Record):
    """One run out of the book: what its record held, without the folder."""

    outcome: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    book: "Book | None" = field(default=None, repr=False, compare=False)  # its own rows are in it

    @property
    def done(self) -> bool:
        return self.outcome["outcome"] in ("finished", "diverged")

    def result(self) -> dict[str, Any] | None:
        return self.outcome if self.done else None

    def failure(self) -> dict[str, Any] | None:
        return None if self.done else self.outcome

    def environment(self) -> dict[str, Any]:
        return dict(self.machine)

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Evaluations; of training, the steps that were evaluated."""
        evaluations = self.book.rows.get(self.id, []) if self.book else []
        if kind == "evaluation":
            return evaluations
        return [{name: row.get(name) for name in ("step", "tokens", *OF_STEP)} for row in evaluations]


@dataclass(frozen=True)
class Book(StudyRecord):
    """The folder of one study in the lab book; reads like its record."""

    kept: ClassVar[bool] = True

    @property
    def exists(self) -> bool:
        return (self.folder / TABLES["runs"]).exists() and super().exists

    def _record(self, run: str) -> Record:
        # a positive control that was not wanted has no row
        return self._kept.get(run) or Kept(self.folder / "runs" / run, {"outcome": "not started"})

    @cached_property
    def _kept(self) -> dict[str, Kept]:
        machines = json.loads((self.folder / ENVIRONMENTS).read_text(encoding="utf-8"))
        found = {}
        for row in _table(self.folder / TABLES["runs"]).to_dict("records"):
            run, machine = row.pop("id"), row.pop("environment")
            at = {} if pd.isna(machine) else machines[int(machine)]
            found[run] = Kept(self.folder / "runs" / run, _deep(row), at, self)
        return found

    @cached_property
    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Evaluations by run id: read when asked for, since a study's noise is known without them."""
        table = _table(self.folder / TABLES["evaluations"])
        groups = {str(run): group.drop(columns="id") for run, group in table.groupby("id")}
        return {run: [_deep(row) for row in group.to_dict("records")] for run, group in groups.items()}


def study_named(outputs: Path | str, name: str) -> StudyRecord:
    """Of the lab book when the name is that of a folder there, or else of the outputs. Raises UserError."""
    book = Book(Path(name))
    if not book.exists and Path(name).name != name:
        raise UserError(f"{name}: no such folder of a lab book")
    return book if book.exists else study_record(outputs, name)


def keep(evidence: Evidence, folder: Path) -> None:
    """Write a study into the lab book, all but what people say of it."""
    make_folder(folder)
    book = Book(folder)
    book.write(evidence.declaration)
    if evidence.race:
        book.decide(evidence.race)
    machines: list[dict[str, Any]] = []
    runs = [_run(run, machines) for run in evidence.distinct_runs]
    rows = [_evaluation(run, row) for run in evidence.distinct_runs for row in run.evaluations]
    for name, found in (("runs", runs), ("evaluations", rows)):
        # the time of writing would make equal tables different files
        how: Any = {"method": "gzip", "mtime": 0} if TABLES[name].endswith("gz") else None
        pd.json_normalize(found).convert_dtypes().to_csv(folder / TABLES[name], index=False, compression=how)
    write_atomically(folder / ENVIRONMENTS, json.dumps(machines, indent=1) + "\n")


def _run(run: Run, machines: list[dict[str, Any]]) -> dict[str, Any]:
    """One row; its environment is noted by its number among the different ones."""
    row: dict[str, Any] = {"id": run.record.id, "environment": None}
    if run.done:
        machine = run.record.environment()
        if machine not in machines:
            machines.append(machine)
        row["environment"] = machines.index(machine)
    return row | {"outcome": run.outcome, "reason": run.reason} | run.result


def _evaluation(run: Run, row: dict[str, Any]) -> dict[str, Any]:
    step = min(run.steps, key=lambda one: abs(one["step"] - row["step"]), default={})
    of_step = {name: step.get(name) for name in OF_STEP}
    return {"id": run.record.id} | {name: value for name, value in row.items() if name != "kind"} | of_step


def _table(path: Path) -> pd.DataFrame:
    # as written: the fast parser of floats may be wrong in the last digit
    texts: Any = dict.fromkeys(DIGESTS, "string")
    table = pd.read_csv(path, float_precision="round_trip", dtype=texts)
    return table.convert_dtypes()  # whole numbers stay so beside gaps


def _deep(row: Mapping[Any, Any]) -> dict[str, Any]:
    """{"sums.qa.nats": 2.1} -> {"sums": {"qa": {"nats": 2.1}}}; without what a row does not have."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if pd.isna(value):
            continue
        *groups, last = name.split(".")
        place = found
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = json.loads(value) if groups[:1] == LISTS else value
    return found
