"""What runs leave on disk: written here, read here, nowhere else. Studies have `run.study_record`, trunks `run.trunks`.

    outputs/runs/<id>/       config.yaml         the settings, whole
                             environment.json    commit, versions, hardware: recorded, never hashed
                             metrics.jsonl       a row an event, append-only; tokens are the x-axis
                             skips.json          spikes that it has taken back, with the steps left out (`fit.spikes`)
                             starts.json         under what conditions each try took its steps (`fit.conditions`)
                             end.json            what the probes said after its last step (`fit.trace`)
                             result.json         written last; its existence is "done"
                             rescored.json       what its saved weights were found to score, by another process
                             failure.json        why it is not done (yet)
                             weights.safetensors the final weights
                             packed.safetensors  the same in few bits, of a run with `compress`
                             weights/            those of steps before, where some are kept (`fit.keep`)
                             scores/             what the model answered, a file a task and step (`scores.items`)
                             checkpoints/        while it trains
                             pulse               touched while it takes steps

Every file but metrics.jsonl appears whole or not at all, and result.json holds sums of all that were there before it
(`run.whole`). A run that was killed may leave a last row cut short, or rows past its last checkpoint: readers drop the
first and keep the later of the second, which is equal anyway.

One that is not as it was written is never believed. A damaged run is set aside and trained again by the command that
wants it; what follows from other files (rescored.json, failure.json, ...) is as if it were not there. Nothing can
make skips.json again, so it is kept twice.
"""

import dataclasses
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ablate.run import checkpoints, files, machine, shapes, whole
from ablate.run.files import make_folder, write_atomically, writing
from ablate.run.identity import difference
from ablate.run.parse import settings_of, tree_of
from ablate.run.settings import Settings, UserError
from ablate.run.shapes import ROWS

# Files that the last one of a run, result.json, holds sums of, beside the weights that were kept on the way
NAMED = ("config.yaml", "environment.json", "metrics.jsonl", "starts.json", "end.json")
NAMED += ("skips.json", "weights.safetensors", "packed.safetensors")
OF_TEXT = "# sha256 of the lines above: "


@dataclass(frozen=True)
class Record:
    """The folder of one run."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def done(self) -> bool:
        return (self.folder / "result.json").exists()

    @property
    def configured(self) -> bool:
        """Whether the settings are there."""
        return (self.folder / "config.yaml").exists()

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def saved_step(self) -> int:
        """Steps that need not be taken again; 0 without a checkpoint."""
        return max(map(checkpoints.step_of, checkpoints.saved(self.checkpoints)), default=0)

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    @property
    def packed(self) -> Path:
        """The weights as small as they are said to be, of a run that made them smaller."""
        return self.folder / "packed.safetensors"

    def weights_after(self, step: int) -> Path:
        """Of the weights that are kept after some step before the last (`where.keep`)."""
        return self.folder / "weights" / f"step-{step:08d}.safetensors"

    def kept(self) -> dict[int, str]:
        """The sha256 of all weights that the run noted, by step: those kept on the way, then the final ones."""
        found = {row["step"]: row["weights_sha256"] for row in self.rows("kept")}
        result = self.result() or {}
        return found | ({result["step"]: result["weights_sha256"]} if "weights_sha256" in result else {})

    @property
    def scores(self) -> Path:
        return self.folder / "scores"

    def begin(self, settings: Settings, fingerprint: str, hardware: dict[str, Any], rows: int | None = None) -> None:
        """Write what the run is and where it runs; drop the traces of an earlier try, but for so many bytes of its rows
        where the run goes on from it."""
        files.make_own(self.folder)
        config = self.folder / "config.yaml"
        with suppress(whole.Damaged):  # or gone: there is nothing to collide with
            if changed := difference(self.settings(), settings):
                differs = f"which differs in {', '.join(changed)}: two ids collide"
                raise UserError(f"{self.folder} holds another run, {differs}")
        text = yaml.safe_dump(plain(settings), sort_keys=False)
        write_atomically(config, f"{text}{OF_TEXT}{whole.digest(text)}\n")
        found = machine.environment()
        found |= {"diff": self._keep_changes(found["commit"]), "data": fingerprint} | hardware
        whole.write(self.folder / "environment.json", found)
        self.try_again()
        files.cut(self.folder / "metrics.jsonl", rows or 0)
        if rows is None:
            (self.folder / "starts.json").unlink(missing_ok=True)

    def _keep_changes(self, commit: str | None) -> str | None:
        """Keep what the code has besides its commit, once for all runs; returns the name of the patch."""
        if not (commit or "").endswith("-dirty"):
            return None
        patch = machine.changes()
        path = self.folder.parents[1] / "patches" / f"{hashlib.sha256(patch.encode()).hexdigest()[:16]}.patch"
        if not path.exists():
            files.make_folder(path.parent)
            write_atomically(path, patch)
        return path.name

    def append(self, kind: str, **values: Any) -> None:
        """Add one row to the metrics. `kind`: one of ROWS; `step` is among the values."""
        files.append_row(self.folder / "metrics.jsonl", {"kind": kind, **values})

    def start(self, conditions: dict[str, Any]) -> None:
        """Note under what conditions a try begins; those of tries of which nothing was kept are dropped."""
        kept = [earlier for earlier in self.starts() if earlier["step"] < conditions["step"]]
        whole.write(self.folder / "starts.json", [*kept, conditions])

    def starts(self) -> list[dict[str, Any]]:
        """The conditions of every try, by the step that it began at; empty for a run that noted none."""
        return self._read_or("starts.json", list[shapes.Start], [])

    def take_back(self, spikes: list[dict[str, Any]]) -> None:
        """Note spikes whose steps the run leaves out from now on, whatever happens to it; on disk when this returns."""
        whole.write_twice(self.folder / "skips.json", spikes)

    def taken_back(self) -> list[dict[str, Any]]:
        """As noted: the rows of these spikes."""
        path = self.folder / "skips.json"
        return shapes.fit(list[shapes.Spike], whole.read_either(path, []), path)

    def spikes(self) -> list[dict[str, Any]]:
        """The rows of all spikes, by step."""
        rows = {row["at"]: row for row in [*self.rows("spike"), *self.taken_back()]}
        return [rows[at] for at in sorted(rows)]

    def end(self, probes: dict[str, Any]) -> None:
        """Note what the probes say after the last step."""
        whole.write(self.folder / "end.json", probes)

    def ended(self) -> dict[str, Any]:
        """What was noted after the last step; empty for a run that has not come so far."""
        return self._read_or("end.json", shapes.End, {})

    def beat(self) -> None:
        """Show that the run is making progress."""
        path = self.folder / "pulse"
        with writing(path):
            path.touch()

    def pulse(self) -> tuple[int, ...]:
        """Changes whenever the run makes progress: a step, a checkpoint."""
        signs = (self.folder / "pulse", self.checkpoints)
        return tuple(files.modified(path) for path in signs)

    @property
    def begins_again(self) -> bool:
        """Whether the run has taken no step since it took steps back."""
        return files.modified(self.folder / "skips.json") > files.modified(self.folder / "pulse")

    def finish(self, result: dict[str, Any]) -> None:
        """Declare the run done, with its outcome ("finished" or "diverged") and final numbers: all else is on disk."""
        for trace in ("failure.json", "pulse"):
            (self.folder / trace).unlink(missing_ok=True)
        names = [name for name in NAMED if (self.folder / name).exists()]
        names += [str(path.relative_to(self.folder)) for path in (self.folder / "weights").glob("step-*")]
        with writing(self.folder):
            for name in names:
                files.sync(self.folder / name)
        told = result | {"files": whole.files_of(self.folder, names)}
        whole.write(self.folder / "result.json", told)
        whole.remember(self.folder, whole.states(self.folder, names))

    def fail(self, outcome: str, reason: str) -> None:
        """Note why the run is not done. Starting it again goes on from its last checkpoint."""
        if not self.done:
            make_folder(self.folder)
            whole.write(self.folder / "failure.json", {"outcome": outcome, "reason": reason})

    def try_again(self) -> None:
        """Forget why an earlier try failed."""
        (self.folder / "failure.json").unlink(missing_ok=True)

    def settings(self) -> Settings:
        """Raises UserError, naming the file, for settings that were damaged, or that this version does not know."""
        path = self.folder / "config.yaml"
        if not path.exists():
            raise whole.Damaged(path, "is gone")
        with files.reading(path):
            text, _, told = path.read_text(encoding="utf-8", errors="replace").rpartition(OF_TEXT)
            if text and told.strip() != whole.digest(text):
                raise whole.Damaged(path, whole.CHANGED)
        return settings_of(path, tree_of(path, text or told))

    def environment(self) -> dict[str, Any]:
        """Commit, versions and machine; empty for a run that has not begun."""
        return self._read_or("environment.json", shapes.Environment, {})

    @property
    def fingerprint(self) -> str:
        """Of the text that the run read. Raises UserError, naming the file, where that is gone."""
        return self._noted("data")

    @property
    def device(self) -> str:
        """That the run was trained by: cpu, or the name of a GPU. Raises UserError as `fingerprint`."""
        return self._noted("device")

    @property
    def threads(self) -> int:
        """Of the process that scored the run. Raises UserError as `fingerprint`."""
        return self._noted("threads")

    def _noted(self, name: str) -> Any:
        if name not in (environment := self.environment()):
            raise UserError(f"{self.folder / 'environment.json'}: missing or damaged, it says `{name}` of the run")
        return environment[name]

    def result(self) -> dict[str, Any] | None:
        """None before the run is done. Raises Damaged for another one than was written."""
        if not self.done:
            return None
        return {name: value for name, value in self._whole_result().items() if name != "files"}

    def _whole_result(self) -> dict[str, Any]:
        path = self.folder / "result.json"
        return shapes.fit(shapes.Result, whole.read(path), path)

    def _read_or(self, name: str, shape: Any, default: Any) -> Any:
        path = self.folder / name
        return shapes.fit(shape, whole.read_or(path, default), path)

    def _read_if(self, name: str, shape: Any, default: Any) -> Any:
        """As `whole.read_if`."""
        try:
            return self._read_or(name, shape, default)
        except whole.Damaged:
            return default

    def damage(self) -> str | None:
        """What is not as it was written, of a run that is done, or of the rows of one that goes on from them."""
        try:
            if self.done:
                told = self._whole_result().get("files", {})
                return whole.wrong(self.folder, told, then=self._read_all)
            there = checkpoints.saved(self.checkpoints)
            return checkpoints.wrong_rows(there[-1]) if there else self._read_all()
        except whole.Damaged as error:
            return str(error).removeprefix(f"{self.folder}/")

    def _read_all(self) -> None:
        """Raises Damaged for the first file that nobody could read."""
        self.environment(), self.starts(), self.ended(), self.taken_back()
        self._rows(*ROWS)
        try:
            domains = self.settings().data.domains if self.configured else []
        except whole.Damaged:
            raise
        except UserError:  # of a version that knows other settings
            return
        sums = (self.result() or {}).get("sums") or dict.fromkeys(domains)
        if missing := [domain for domain in domains if domain not in sums]:
            raise whole.Damaged(self.folder / "result.json", f"damaged, it lacks sums.{missing[0]}")

    def set_aside(self, what: str) -> None:
        """Take the damaged record of a run out of the way: it is as if it had never begun."""
        whole.set_aside(self.folder, what, "trained again")

    def keep_rescored(self, found: dict[str, Any]) -> None:
        """Note what the saved weights were found to score (`fit.saved`)."""
        whole.write(self.folder / "rescored.json", found)

    def rescored(self) -> dict[str, Any]:
        """As it was noted; empty before, and where that is damaged, so that it is noted again."""
        return self._read_if("rescored.json", shapes.Rescored, {})

    def failure(self) -> dict[str, Any] | None:
        """None of a run that did not fail, or whose note of it is damaged: it is tried again all the same."""
        return self._read_if("failure.json", shapes.Failure | None, None)

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Rows of one kind by step; of several for one step the last counts."""
        rows = {row["step"]: row for row in self._rows(kind)}
        return [rows[step] for step in sorted(rows)]

    def _rows(self, *kinds: str) -> list[dict[str, Any]]:
        """Those of these kinds as they were added. Raises Damaged for one that no run writes."""
        path = self.folder / "metrics.jsonl"
        rows = shapes.fit(list[shapes.Row], list(files.read_rows(path)), path)
        found = [row for row in rows if row["kind"] in kinds]
        for kind in kinds:
            shapes.fit(list[shapes.ROWS[kind]], [row for row in found if row["kind"] == kind], path)
        return found

    def last_row(self, kind: str = "train") -> dict[str, Any] | None:
        """The newest row of a kind among the last ones, cheaply: how far a run is, and how good."""
        lines = reversed(files.tail(self.folder / "metrics.jsonl"))
        path = self.folder / "metrics.jsonl"
        with files.reading(path):
            rows = (files.parsed(line) for line in lines if line.startswith(f'{{"kind": "{kind}"'))
            return shapes.fit(shapes.ROWS[kind] | None, next(rows, None), path)


@dataclass(frozen=True)
class Lost(Record):
    """A run whose record is damaged: nothing of it is read, as if it had never begun."""

    @property
    def done(self) -> bool:
        return False

    @property
    def configured(self) -> bool:
        return False

    def _read_or(self, name: str, shape: Any, default: Any) -> Any:
        return default

    def _rows(self, *kinds: str) -> list[dict[str, Any]]:
        return []


def run_record(outputs: Path | str, run: str) -> Record:
    return Record(files.below(Path(outputs) / "runs", run))


def plain(settings: Settings) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(settings)))
