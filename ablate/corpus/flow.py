"""A flow: steps over the parts of a domain, in processes, to a folder that has its name when whole.

    outputs/corpus/web-l2-3f9c01ab/
        part-00000.parquet          the documents, as many parts as came in
        removed-0-00000.parquet     those that went in pass 0, and why
        near-0-00000.parquet        some that stayed, the nearest to each bound
        manifest.json               key, counts by step and rule, size and hash of every part; who made it and how long

Steps that judge document by document share a pass; one that needs all documents (`rounds`) looks at what the passes
before left, decides, and begins a pass of its own. Whatever is killed, the next call goes on with what is there: a
process loses the part that it was at. The key is of content alone (parts that came in, keys of the steps): equal text
and steps are found again under it, whoever made them.
"""

import itertools
import json
import pickle
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ablate.corpus import engines, parts, passes
from ablate.corpus.chunks import Asked
from ablate.corpus.passes import Counts, Pass
from ablate.corpus.step import Step
from ablate.run import whole
from ablate.run.corpus import Prepare
from ablate.run.files import appear, make_folder, sums
from ablate.run.identity import digest
from ablate.run.processes import alone
from ablate.run.progress import Progress
from ablate.run.settings import UserError

VERSION = 1  # raised when equal steps come to write other parts
MANIFEST = "manifest.json"


class How(NamedTuple):
    """Whose documents they are and who works on them. `allow`: rules that may remove more than `most` of the bytes."""

    domain: str
    level: int
    prepare: Prepare
    allow: Sequence[str] = ()
    most: float = 1.0
    progress: bool = False


def run(parts_in: Sequence[Path], into: Path, steps: Sequence[Step], how: How) -> Path:
    """The folder `<into>-<key>` of what the steps make of the parts, made there first when it is missing.

    Any number of processes may ask at once. Raises UserError, one line, for a rule that removes most of the domain, a
    process that is killed, and full disks.
    """
    made_of = _made_of(parts_in, steps, how)
    folder = into.with_name(f"{into.name}-{digest(made_of)}")
    if folder.exists() and (what := _wrong(folder)):
        whole.set_aside(folder, what, "made again")
    if not folder.exists():
        make_folder(folder.parent)
        try:
            with alone(folder, how.progress):
                if not folder.exists():
                    _make(folder, parts_in, steps, how, made_of)
        except OSError as error:
            raise UserError(f"cannot write {folder}: {error.strerror or error}") from None
    return folder


def _wrong(folder: Path) -> str | None:
    """What is not as it was when the folder was made."""
    try:
        return whole.wrong(folder, manifest_of(folder)["files"])
    except whole.Damaged as error:
        return error.what


def manifest_of(folder: Path) -> dict[str, Any]:
    return whole.read(folder / MANIFEST)


def counts_of(folder: Path) -> list[Counts]:
    """What each step did, of a folder that a flow has made."""
    return [Counts(**step) for step in manifest_of(folder)["counts"]]


def _made_of(parts_in: Sequence[Path], steps: Sequence[Step], how: How) -> dict[str, Any]:
    """Everything that decides what is written, plain data."""
    keys = [{"step": step.name, **step.key()} for step in steps]
    return {"version": VERSION, "domain": how.domain, "level": how.level, "steps": keys, "input": digests(parts_in)}


def digests(found: Sequence[Path]) -> list[str]:
    """The sha256 of each part: as the manifest beside it has it, or of the file itself."""
    folder = found[0].parent if found else Path()
    beside = whole.read_or(folder / MANIFEST, {}).get("files", {})
    told = {path.name: beside[path.name] for path in found if path.name in beside}
    if len(told) == len(found) and not whole.wrong(folder, told):
        return [one[whole.SUM] for one in told.values()]
    return list(sums(found).values())


def _make(folder: Path, parts_in: Sequence[Path], steps: Sequence[Step], how: How, made_of: dict[str, Any]) -> None:
    unfinished = folder.with_name(f"{folder.name}.part")
    unfinished.mkdir(exist_ok=True)
    if not (unfinished / MANIFEST).exists():
        _work_off(unfinished, parts_in, steps, how, made_of)
    for path in (*unfinished.glob(".*"), *unfinished.glob("*.pickle"), *unfinished.glob("counts-*")):
        path.unlink()
    for path in (*unfinished.glob("pass-*"), unfinished / "logs"):
        shutil.rmtree(path, ignore_errors=True)
    appear(unfinished, folder)


def _work_off(unfinished: Path, parts_in: Sequence[Path], steps: Sequence[Step], how: How, made_of: Any) -> None:
    begun, grouped, counts = time.monotonic(), _grouped(steps), list[Counts]()
    total = len(parts_in) * sum(1 + group[0].rounds for group in grouped)
    with Progress(max(total, 1), how.progress, "part") as bar:
        for job in _passes(unfinished, parts_in, grouped, how):
            counts += _pass(job, how, bar)
            _check_rules(counts, how)
    passes.forget()
    _write_manifest(unfinished, counts, made_of, how, time.monotonic() - begun)


def _grouped(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps by pass: one that looks at all documents begins a pass."""
    found: list[list[Step]] = []
    for step in steps:
        if not found or step.rounds:
            found.append([])
        found[-1].append(step)
    return found


def _passes(unfinished: Path, first: Sequence[Path], grouped: list[list[Step]], how: How) -> Iterator[Pass]:
    """Each pass, once the parts that it reads are there."""
    found = first
    for number, steps in enumerate(grouped):
        last = number == len(grouped) - 1
        into = unfinished if last else unfinished / f"pass-{number}"
        into.mkdir(exist_ok=True)
        *starts, documents = [0, *itertools.accumulate(parts.count(path) for path in found)]
        if not documents:
            raise UserError(f"domain {how.domain}, level {how.level}: no document is left for {steps[0].name}")
        stamp = {"domain": how.domain, "level": how.level} if last else {}
        yield Pass(number, steps, found, starts, unfinished, into, stamp)
        found = parts.paths_of(into)


@dataclass(frozen=True)
class _Look:
    job: Pass
    round: int

    def __call__(self, part: int) -> None:
        passes.look(self.job, self.round, part)

    def done(self, part: int) -> bool:
        return self.job.note(self.round, part).exists()


@dataclass(frozen=True)
class _Apply:
    job: Pass

    def __call__(self, part: int) -> None:
        passes.apply(self.job, part)

    def done(self, part: int) -> bool:
        return self.job.part(part).exists()


def _pass(job: Pass, how: How, bar: Progress) -> list[Counts]:
    """Work off a pass, looks first; returns what its steps did."""
    each = partial(_each, job=job, how=how, bar=bar)
    for round in range(job.steps[0].rounds):
        if not job.told(round).exists():
            each(_Look(job, round), f"looking for {job.steps[0].name}")
            _decide(job, round)
    each(_Apply(job), ", ".join(step.name for step in job.steps))
    by_part = [passes.counted(job, part) for part in range(len(job.parts))]
    return [passes.summed([Counts(step.name), *of_step]) for step, *of_step in zip(job.steps, *by_part, strict=True)]


def _each(work: engines.Work, text: str, job: Pass, how: How, bar: Progress) -> None:
    left = [part for part in range(len(job.parts)) if not work.done(part)]
    bar.at(bar.done + len(job.parts) - len(left), text)
    asked = next((step for step in job.steps if isinstance(step, Asked)), None)
    with bar.while_waiting(lambda: f"{text}: {asked.endpoint.kept():,} replies so far") if asked else nullcontext():
        for _ in engines.each(work, left, how.prepare, job.folder / "logs"):
            bar.at(bar.done + 1, f"{how.domain}, level {how.level}: {text}")


def _decide(job: Pass, round: int) -> None:
    """What the first step makes of its notes, in the order of parts, is what it is told from then on."""
    paths = [job.note(round, part) for part in range(len(job.parts))]
    notes = [note for path in paths for note in pickle.loads(path.read_bytes())]
    told = pickle.loads(job.told(round - 1).read_bytes()) if round else None
    passes.save(job.told(round), job.steps[0].decide(round, notes, told))
    for path in paths:
        path.unlink()


def _check_rules(counts: list[Counts], how: How) -> None:
    """Raise UserError naming the first rule that removes most of what came in, unless that is allowed."""
    whole = counts[0].bytes
    for count in counts:
        for rule, (_, went) in sorted(count.removed.items()):
            if went > how.most * whole and not {rule, rule.partition(".")[0]} & set(how.allow):
                raise UserError(
                    f"domain {how.domain}: rule {rule} removes {went / whole:.0%} of its text; set its bound "
                    f"(corpus.bounds), leave it out (corpus.rules), or allow it: corpus.allow=[{rule}]"
                )


def _write_manifest(folder: Path, counts: list[Counts], made_of: dict[str, Any], how: How, seconds: float) -> None:
    names = [path.name for path in parts.paths_of(folder)]
    whole.write(
        folder / MANIFEST,
        {
            "key": digest(made_of, 64),
            **made_of,
            "documents": counts[-1].left,
            "bytes": counts[-1].left_bytes,
            "counts": [asdict(count) for count in counts],
            "files": whole.files_of(folder, names),
            "run": {"seconds": round(seconds, 1), "engine": how.prepare.engine, "workers": how.prepare.workers},
        },
    )


def as_json(folder: Path) -> str:
    """What a folder holds, without who made it: equal of equal content."""
    return json.dumps({key: value for key, value in manifest_of(folder).items() if key != "run"}, sort_keys=True)
