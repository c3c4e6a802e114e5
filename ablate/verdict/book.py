"""A study as it goes into the lab book: a few plain tables, from which every verdict and figure can be made again.

    experiments/davinci_sweep/  README.md            question, design and verdict, for people
                                study.json race.json the declaration, and what a race decided
                                ledger.jsonl         earlier declarations, and looks
                                prior.json           what earlier studies told of the noise
                                plans.json           digests of what each run was to do
                                config.yaml          the settings of the base's first run, the study among them
                                configurations.jsonl how those of each run differ, section by section
                                runs.csv             a row a run: outcome, cost, final losses
                                evaluations.csv.gz   a row an evaluation, with the rate at that time
                                rescored.jsonl       what the saved weights of each run were found to score
                                traces.jsonl.gz      digests of what each run took in, and the norms of its gradients
                                scores/*.jsonl.gz    what each run answered to tasks
                                environments.json    versions and machines; runs.csv says whose

    keep(read(study_record("outputs", "davinci_sweep")), Path("experiments/davinci_sweep"))
    verdicts(read(Book(Path("experiments/davinci_sweep"))))          as from the records themselves

Weights and checkpoints stay in the outputs: they are large, and `ablate runs again FOLDER/ARM/SEED` trains a run again,
to the same bits.
"""

import gzip
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import yaml

from ablate.run.files import Damaged, below, make_folder, parsed, read_json, reading, write_atomically
from ablate.run.parse import settings_of, tree_of
from ablate.run.record import Record
from ablate.run.settings import Settings, UserError, Where
from ablate.run.shapes import Environment, Evaluated, KeptTrace, OfRun, Rescored, Result, fit
from ablate.run.study_record import StudyRecord, study_record
from ablate.scores.items import pack
from ablate.verdict.evidence import Evidence, Run

OF_STEP = ("lr", "weight_decay", "length")  # what an evaluation's row says of the step before it
TABLES = {"runs": "runs.csv", "evaluations": "evaluations.csv.gz"}
LISTS = ("validation.", "skipped.windows")  # beginnings of names in a result: lists of numbers
ENVIRONMENTS, TRACES, SCORES = "environments.json", "traces.jsonl.gz", "scores"
CONFIG, CONFIGURATIONS, RESCORED = "config.yaml", "configurations.jsonl", "rescored.jsonl"
AS_THEY_ARE = ("ledger.jsonl", "prior.json", "plans.json", "noise.json")
ROWS = ("trace", "kept", "sample", "spike", "inserted")  # of the metrics, as they are
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

    def damage(self) -> None:
        """A book says what it says: it holds no sums."""

    def environment(self) -> dict[str, Any]:
        return dict(self.machine)

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Evaluations, the trace, and some columns of every step logged: of an older book, of those evaluated."""
        evaluations = self.book.rows.get(self.id, []) if self.book else []
        if kind == "evaluation":
            if not evaluations and self.book and self.outcome["outcome"] == "finished":
                raise Damaged(self.book.folder / TABLES["evaluations"], f"damaged, it has no row of run {self.id}")
            return evaluations
        if self.book and (traced := self.book.traces.get(self.id)):
            return traced.get(kind, [])
        return [
            {name: row.get(name) for name in ("step", "tokens", *OF_STEP)} for row in evaluations * (kind == "train")
        ]

    def starts(self) -> list[dict[str, Any]]:
        return self.book.traces.get(self.id, {}).get("starts", []) if self.book else []

    def rescored(self) -> dict[str, Any]:
        return self.book.rescored.get(self.id, {}) if self.book else {}

    @property
    def configured(self) -> bool:
        return self.book is not None and self.id in self.book.configurations

    @property
    def scores(self) -> Path:
        return self.folder.parents[1] / SCORES / f"{self.id}.jsonl.gz"

    def settings(self) -> Settings:
        """As they were but for `where.outputs`. Raises UserError where the book does not hold them."""
        if not self.book or not self.configured:
            raise UserError(f"{self.folder.parent.parent} does not hold the settings of {self.id}")
        path = self.book.folder / CONFIGURATIONS
        return settings_of(path, self.book.base_configuration | self.book.configurations[self.id])


@dataclass(frozen=True)
class Book(StudyRecord):
    """The folder of one study in the lab book; reads like its record."""

    kept: ClassVar[bool] = True

    @property
    def exists(self) -> bool:
        return (self.folder / TABLES["runs"]).exists() and super().exists

    def run(self, id: str) -> Record:
        """A run of any phase."""
        return self._record(id)

    def _record(self, run: str) -> Record:
        path = self.folder / TABLES["runs"]
        if run not in self._kept and run in _ids(self.read()["runs"]):
            raise Damaged(path, f"damaged, it has no row of run {run}")
        # a positive control that was not wanted has no row
        return self._kept.get(run) or Kept(self.folder / "runs" / run, {"outcome": "not started"})

    @cached_property
    def _kept(self) -> dict[str, Kept]:
        path, machines = self.folder / TABLES["runs"], self._machines
        found: dict[str, Kept] = {}
        for row in _table(path, "id", "outcome"):
            run, machine = row.pop("id"), row.pop("environment", None)
            if row["outcome"] in ("finished", "diverged"):
                fit(Result, row, path)
            if run in found or (machine is not None and machine not in range(len(machines))):
                raise Damaged(path, f"damaged, {run} has two rows, or environment={machine}, which there is not")
            at = {} if machine is None else machines[machine]
            found[run] = Kept(below(self.folder / "runs", run), row, at, self)
        return found

    @cached_property
    def _machines(self) -> list[dict[str, Any]]:
        path = self.folder / ENVIRONMENTS
        return fit(list[Environment], read_json(path), path)

    @cached_property
    def base_configuration(self) -> dict[str, Any]:
        path = self.folder / CONFIG
        with reading(path):
            return tree_of(path, path.read_text(encoding="utf-8"))

    @cached_property
    def configurations(self) -> dict[str, dict[str, Any]]:
        """By run id, the sections in which its settings differ from the base's."""
        return _by_run(self.folder / CONFIGURATIONS, dict[str, Any])

    @cached_property
    def rescored(self) -> dict[str, dict[str, Any]]:
        """By run id; of an older book none."""
        return _by_run(self.folder / RESCORED, Rescored)

    @cached_property
    def traces(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """By run id: tries, digests and steps; of an older book none."""
        return _by_run(self.folder / TRACES, KeptTrace)

    @cached_property
    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Evaluations by run id: read when asked for, since a study's noise is known without them."""
        path = self.folder / TABLES["evaluations"]
        found: dict[str, list[dict[str, Any]]] = {}
        for row in _table(path, "id", "step", "tokens"):
            fit(Evaluated, row | {"kind": "evaluation"}, path)
            found.setdefault(row.pop("id"), []).append(row)
        return found


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
    runs = [_run(run, machines) for run in _all_runs(evidence)]
    rows = [_evaluation(run, row) for run in _all_runs(evidence) for row in run.evaluations]
    for name, found in (("runs", runs), ("evaluations", rows)):
        table = pd.json_normalize(found) if found else pd.DataFrame(columns=["id", "step", "tokens"])
        text = table.convert_dtypes().to_csv(index=False).encode()
        # the time of writing would make equal tables different files
        write_atomically(folder / TABLES[name], gzip.compress(text, mtime=0) if TABLES[name].endswith("gz") else text)
    write_atomically(folder / ENVIRONMENTS, json.dumps(machines, indent=1) + "\n")
    for name in AS_THEY_ARE:
        if (path := evidence.study.folder / name).exists() and evidence.study.folder != folder:
            shutil.copyfile(path, folder / name)
    _keep_settings(evidence, folder)
    for scores, run in ((one.record.scores, one.record.id) for one in _all_runs(evidence)):
        if scores.is_dir():  # those of a book are packed already
            pack(scores, folder / SCORES / f"{run}.jsonl.gz")
    again = [run.record.rescored() | {"id": run.record.id} for run in _all_runs(evidence) if run.record.rescored()]
    texts = [json.dumps({key: value for key, value in row.items() if key != "basis"}) + "\n" for row in again]
    write_atomically(folder / RESCORED, "".join(texts))
    lines = [json.dumps(_trace(run)) + "\n" for run in _all_runs(evidence) if run.record.starts()]
    write_atomically(folder / TRACES, gzip.compress("".join(lines).encode(), mtime=0))


def _all_runs(evidence: Evidence) -> list[Run]:
    """Of all phases."""
    return [run for one in (*evidence.before, evidence) for run in one.distinct_runs]


def _keep_settings(evidence: Evidence, folder: Path) -> None:
    """Those of the base in full, of every run where they differ; paths of this machine stay here."""
    known = {run.record.id: _plain(run.record.settings()) for run in _all_runs(evidence) if run.record.configured}
    if not known:
        return
    base = next(
        (known[run.record.id] for run in evidence.by_arm[evidence.base].values() if run.record.id in known), None
    )
    base = base or next(iter(known.values()))
    write_atomically(folder / CONFIG, yaml.safe_dump(base, sort_keys=False, allow_unicode=True))
    rows = [
        {"id": id} | {key: value for key, value in one.items() if key != "study" and value != base[key]}
        for id, one in known.items()
    ]
    write_atomically(folder / CONFIGURATIONS, "".join(json.dumps(row) + "\n" for row in rows))


def _plain(settings: Settings) -> dict[str, Any]:
    plain = json.loads(json.dumps(asdict(settings)))
    return plain | {"where": plain["where"] | {"outputs": Where().outputs}}


def _trace(run: Run) -> dict[str, Any]:
    steps = [{name: step.get(name) for name in ("step", "tokens", *OF_STEP, "grad_norm")} for step in run.steps]
    rows = {kind: run.record.rows(kind) for kind in ROWS}
    return {"id": run.record.id, "starts": run.record.starts(), "train": steps} | rows


def _run(run: Run, machines: list[dict[str, Any]]) -> dict[str, Any]:
    """One row; its environment is noted by its number among the different ones."""
    row: dict[str, Any] = {"id": run.record.id, "environment": None}
    if run.done:
        machine = run.record.environment()
        if machine not in machines:
            machines.append(machine)
        row["environment"] = machines.index(machine)
    result = {name: value for name, value in run.result.items() if name != "scores"}
    return row | {"outcome": run.outcome, "reason": run.reason} | result


def _evaluation(run: Run, row: dict[str, Any]) -> dict[str, Any]:
    step = min(run.steps, key=lambda one: abs(one["step"] - row["step"]), default={})
    of_step = {name: step.get(name) for name in OF_STEP}
    return {"id": run.record.id} | {name: value for name, value in row.items() if name != "kind"} | of_step


def _ids(runs: Mapping[str, Mapping[str, str]]) -> set[str]:
    return {run for seeds in runs.values() for run in seeds.values()}


def _table(path: Path, *columns: str) -> list[dict[str, Any]]:
    """The rows of a table. Raises Damaged for one without these columns, or with a gap in them."""
    texts: Any = dict.fromkeys((*DIGESTS, "id"), "string")
    with reading(path):
        # as written: the fast parser of floats may be wrong in the last digit
        table = pd.read_csv(path, float_precision="round_trip", dtype=texts)
        table = table.convert_dtypes()  # whole numbers stay so beside gaps
        if missing := [name for name in columns if name not in table or table[name].isna().any()]:
            raise Damaged(path, f"damaged, it lacks {missing[0]}")
        return [_deep(row) for row in table.to_dict("records")]


def _by_run(path: Path, shape: Any) -> dict[str, dict[str, Any]]:
    """Rows of JSON by the run that they are of. Raises Damaged; none of a file that is not there."""
    if not path.exists():
        return {}
    with reading(path):
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        rows = fit(list[OfRun], [parsed(line) for line in text.splitlines()], path)
    return fit(dict[str, shape], {row.pop("id"): row for row in rows}, path)


def _deep(row: Mapping[Any, Any]) -> dict[str, Any]:
    """{"sums.qa.nats": 2.1} -> {"sums": {"qa": {"nats": 2.1}}}; without what a row does not have. No table holds NaN,
    so a domain without nats diverged."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if pd.isna(value):
            continue
        *groups, last = name.split(".")
        place = found
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = json.loads(value) if name.startswith(LISTS) else value
    if "sums" in found and found.get("outcome") != "finished":
        found["sums"] = {domain: one for domain, one in found["sums"].items() if "nats" in one}
    return found
