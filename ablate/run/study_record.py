"""What studies leave on disk: written here, read here, nowhere else.

    outputs/studies/<name>/  study.json          the declaration, and which run is which arm and seed
                             ledger.jsonl        earlier declarations, and looks (`run.ledger`)
                             prior.json          what earlier studies told of the noise at the first look
                             plans.json          digests of what each run will do, by step (`plan.digests`)
                             bases.json          the base of each phase: every run first takes steps of it (`fit.probe`)
                             race.json           why arms were stopped, if they race
                             noise.json          what earlier studies told of their noise, if they race

Every file but the ledger appears whole or not at all. A damaged one is set aside, and the launcher makes it again. What
nothing can make again (ledger.jsonl, prior.json, noise.json) is kept twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ablate.run import shapes, whole
from ablate.run.files import below, make_folder, make_own
from ablate.run.ledger import Ledger
from ablate.run.parse import from_plain
from ablate.run.record import Record, run_record
from ablate.run.settings import Settings, UserError
from ablate.run.study_shapes import Base, Declaration, Noise, Plans, Prior, Raced

# By the launcher; what each holds
MADE_AGAIN: dict[str, Any] = {
    "study.json": Declaration,
    "plans.json": Plans,
    "bases.json": list[Base],
    "race.json": dict[str, Raced],
}


@dataclass(frozen=True)
class StudyRecord:
    """The folder of one study: `runs[arm][seed]` is a run id, `arms[arm]` its difference from the base."""

    folder: Path
    kept: ClassVar[bool] = False  # in a lab book, where no look is noted

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def exists(self) -> bool:
        return (self.folder / "study.json").exists()

    def write(self, declaration: dict[str, Any]) -> None:
        make_own(self.folder)
        whole.write(self.folder / "study.json", declaration)

    def read(self) -> dict[str, Any]:
        path = self.folder / "study.json"
        if not path.exists():
            raise UserError(f"no study {self.name!r} in {self.folder.parent}; {_present(self.folder.parent)}")
        return shapes.fit(Declaration, whole.read(path), path)

    def mend(self) -> None:
        """Set aside what is damaged and the launcher writes anew."""
        for name in MADE_AGAIN:
            try:
                self._made_again(name, {})
            except whole.Damaged as error:
                whole.set_aside(error.path, error.what, "made again")

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger.jsonl")

    def promise(self, plans: dict[str, Any]) -> None:
        """Note what each run will do, by run id and number of steps (`plan.digests`)."""
        whole.write(self.folder / "plans.json", plans)

    def promised(self) -> dict[str, Any]:
        """What each run was to do; empty for a study that was not planned so."""
        return self._made_again("plans.json", {})

    def _made_again(self, name: str, default: Any) -> Any:
        path = self.folder / name
        return shapes.fit(MADE_AGAIN[name], whole.read(path), path) if path.exists() else default

    def keep_bases(self, bases: list[dict[str, Any]]) -> None:
        """Note the configuration of each phase's base: {"runs": ids, "settings", "fingerprint"}."""
        whole.write(self.folder / "bases.json", bases)

    def base_of(self, run: str) -> tuple[Settings, str] | None:
        """The base that a run of this study is compared with, and the fingerprint of its text; None if it is no run."""
        for base in self._made_again("bases.json", []):
            if run in base["runs"]:
                return from_plain(base["settings"]), base["fingerprint"]
        return None

    def decide(self, decisions: dict[str, Any]) -> None:
        """Note why and when each arm left the race, or that it is in it."""
        whole.write(self.folder / "race.json", decisions)

    def decisions(self) -> dict[str, Any]:
        """Of every arm of a raced study; empty for any other."""
        return self._made_again("race.json", {})

    def keep_noise(self, noise: dict[str, Any]) -> None:
        """Note what is known of the noise before the first look."""
        make_folder(self.folder)
        whole.write_twice(self.folder / "noise.json", noise)

    def noise(self) -> dict[str, Any] | None:
        """As it was noted; None before."""
        return self._kept_twice("noise.json", Noise)

    def _kept_twice(self, name: str, shape: Any) -> dict[str, Any] | None:
        path = self.folder / name
        return shapes.fit(shape | None, whole.read_either(path, None), path)

    def keep_prior(self, prior: dict[str, Any]) -> None:
        """Note what earlier studies told of the noise when the study was first looked at."""
        whole.write_twice(self.folder / "prior.json", prior)

    def prior(self) -> dict[str, Any] | None:
        """As it was noted, for ever after; None before."""
        return self._kept_twice("prior.json", Prior)

    def records(self, declared: dict[str, Any] | None = None) -> Iterator[tuple[str, int, Record]]:
        """(arm, seed, record) of every run declared, done or not; `declared`: of a phase, if not of the judged one."""
        return self._records((declared or self.read())["runs"])

    def controls(self, declared: dict[str, Any] | None = None) -> Iterator[tuple[str, int, Record]]:
        """As `records`, of the controls; none of a study that was declared before there were any."""
        return self._records((declared or self.read()).get("control_runs", {}))

    def _records(self, runs: dict[str, dict[str, str]]) -> Iterator[tuple[str, int, Record]]:
        for arm, seeds in runs.items():
            for seed, run in seeds.items():
                yield arm, int(seed), self._record(run)

    def _record(self, run: str) -> Record:
        return run_record(self.folder.parent.parent, run)


def study_record(outputs: Path | str, name: str) -> StudyRecord:
    return StudyRecord(below(Path(outputs) / "studies", name))


def _present(folder: Path) -> str:
    names = sorted(path.name for path in folder.glob("*") if path.is_dir())
    return "present: " + ", ".join(names) if names else "none was started yet"
