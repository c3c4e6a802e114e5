"""Runs by name, and all that belongs to one on disk.

find("48d1b140", "outputs")                the run whose id, or whose hash, begins so
find("mix_sweep/share_40/0", "outputs")    the run of an arm and a seed of a study
find("phase_sweep/pretrain/none/0", ...)   the same, of a phase before the judged one
places("outputs")                          {run id: ["mix_sweep/share_40/0", ...]} of every study
needs(record) and belongings(record)       who would miss the run, and what would go with it
"""

import glob
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.run.files import Damaged, writing
from ablate.run.lineage import parent_of
from ablate.run.record import Record, run_record
from ablate.run.settings import UserError
from ablate.run.start import parse, teacher_of
from ablate.run.study_record import StudyRecord, study_record
from ablate.run.trunks import trunks

SHOWN = 6  # runs that an ambiguous name may mean


@dataclass(frozen=True)
class Place:
    """Where a study uses a run."""

    study: str
    arm: str
    seed: int

    def __str__(self) -> str:
        return f"{self.study}/{self.arm}/{self.seed}"


def runs(outputs: Path | str) -> list[Record]:
    """Every run that has begun, by name."""
    return [Record(path.parent) for path in sorted(Path(outputs, "runs").glob("[!.]*/config.yaml"))]


def studies(outputs: Path | str) -> dict[str, dict[str, Any]]:
    """The declarations of all studies that can be read."""
    found = {}
    for path in sorted(Path(outputs, "studies").glob("*/study.json")):
        with suppress(UserError):  # `ablate report` says what is wrong with it
            found[path.parent.name] = StudyRecord(path.parent).read()
    return found


def places(declared: dict[str, dict[str, Any]]) -> dict[str, list[Place]]:
    """Of each run, the arms and seeds that it is, in all studies; controls come last."""
    found: dict[str, list[Place]] = {}
    for kind in ("runs", "control_runs"):
        for study, declaration in declared.items():
            for arm, seeds in _arms(declaration, kind).items():
                for seed, run in seeds.items():
                    found.setdefault(run, []).append(Place(study, arm, int(seed)))
    return found


def _arms(declaration: dict[str, Any], kind: str) -> dict[str, dict[str, str]]:
    """The run of each arm and seed; of the phases before the judged one the arms are called PHASE/ARM."""
    before = declaration.get("before", {}).items()
    earlier = {f"{phase}/{arm}": seeds for phase, one in before for arm, seeds in one.get(kind, {}).items()}
    return declaration.get(kind, {}) | earlier


def find(name: str, outputs: Path | str) -> Record:
    """The run of that folder, id, beginning of an id or of its hash, or STUDY/(PHASE/)ARM/SEED. Raises UserError."""
    if (Path(name) / "config.yaml").exists():
        return Record(Path(name).resolve())
    if name.count("/") >= 2:
        return _in_study(name, outputs)
    known = [record.id for record in runs(outputs)]
    found = [id for id in known if id == name] or [id for id in known if id.startswith(name)]
    found = found or [id for id in known if _hash(id) == name] or [id for id in known if _hash(id).startswith(name)]
    if not found:
        raise UserError(f"{name}: no such run in {Path(outputs, 'runs')}; ablate runs lists them")
    if len(found) > 1:
        more = ", ..." if len(found) > SHOWN else ""
        raise UserError(f"{name}: begins {len(found)} runs: {', '.join(found[:SHOWN])}{more}")
    return run_record(outputs, found[0])


def _in_study(name: str, outputs: Path | str) -> Record:
    study, _, place = name.partition("/")
    return run_record(outputs, in_study(study_record(outputs, study), place))


def in_study(study: StudyRecord, place: str) -> str:
    """The id of the run (PHASE/)ARM/SEED. Raises UserError, naming those that there are."""
    arm, _, seed = place.rpartition("/")
    declaration = study.read()
    arms = _arms(declaration, "runs") | _arms(declaration, "control_runs")
    if arm not in arms:
        raise UserError(f"{study.name}/{place}: no such arm in {study.name}; there are {', '.join(arms)}")
    if seed not in arms[arm]:
        raise UserError(f"{study.name}/{place}: no such seed of {arm}; there are {', '.join(arms[arm])}")
    return arms[arm][seed]


def short(record: Record) -> str:
    """The hash at the end of an id, which is enough to find the run: 48d1b140, 48d1b140-r1 for a replicate."""
    return _hash(record.id)


def _hash(id: str) -> str:
    *_, last = id.split("-s")
    return last.partition("-")[2]


def children(record: Record) -> list[Record]:
    """Runs that began with the weights that this one ended with, or learnt from them."""
    found = []
    for other in runs(record.folder.parent.parent):
        with suppress(UserError):  # settings of an older version, which knew no parents
            settings = other.settings()
            starts = [start for start in (parse(settings.start), teacher_of(settings)) if start]
            if any((parent := parent_of(other, start)) and parent.id == record.id for start in starts):
                found.append(other)
    return found


def needs(record: Record) -> list[str]:
    """Who would miss the run: studies that declare it, and runs that began with its weights or learnt from them."""
    used = places(studies(record.folder.parent.parent)).get(record.id, [])
    return [*(f"study {place}" for place in used), *(f"run {child.id}" for child in children(record))]


def belongings(record: Record) -> list[Path]:
    """What goes with a run: its folder, its mirror on disk, what was exported of it, and trunks that it left alone."""
    outputs = record.folder.parent.parent
    id = glob.escape(record.id)
    mirror = [
        *outputs.glob(f"wandb/*run-*-{id}"),
        *outputs.glob(f"wandb/*run-*-{id}-in-*"),
        *outputs.glob(f"exports/{id}"),
    ]
    results = [_unless_damaged(other.result) for other in runs(outputs) if other.id != record.id]
    taken = {trunk["trunk"] for result in results if (trunk := result.get("grown_from"))}
    left = {trunk: _unless_damaged(trunk.read).get("run") for trunk in trunks(outputs)}
    own = [trunk.folder for trunk, run in left.items() if trunk.key not in taken and run == record.id]
    return [record.folder, *sorted(mirror), *own]


def _unless_damaged(read: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    try:
        return read() or {}
    except Damaged:
        return {}


def remove(paths: Iterable[Path]) -> None:
    """Take folders away, each at once for whoever looks for it."""
    for path in paths:
        gone = path.with_name(f".{path.name}.removed")
        with writing(path):
            path.rename(gone)
            shutil.rmtree(gone)
