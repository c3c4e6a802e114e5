"""Bits that flip and power that fails: is anything believed then, lost, or trained twice?

    python -m bench flips

One study of two arms and two seeds, of runs of a second, in three states: its text is prepared; two runs are done and a
third is stopped on its way; all is done. 200 times one bit of one file in the outputs is flipped, and the same command
is given again. It must end with the weights, the losses and the verdict of the study that nobody disturbed.

Power fails while the command works, at the moment of some write. What was not synced by then is gone: names in a folder
since the folder was synced, contents of a file since the file was. The same command goes on from what is left. A run
that was done by then must be done still, and is not trained again.

The study runs in a fork of this process, one run after the other, and draws no page: these are not asked here.
"""

import contextlib
import importlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from ablate.run.record import Record, run_record
from ablate.sweep import conduct, worker
from ablate.sweep.executors.executor import Executor
from bench.rounds import Row

TINY = ["size=tiny", "size.width=32", "size.hidden=64", "data.domains=[general,qa]", "data.domain_bytes=100000"]
TINY += ["data.span=64", "data.vocabulary=512", "step_tokens=512", "evaluation.times=3", "evaluation.spans=4"]
TINY += ["where.peak_tflops=0.1", "where.threads=1", "where.wandb=off", "where.progress=false", "controls=none"]
ARMS = ["schedule=wsd,cosine", "seed=0,1"]
TOKENS, FLIPS, CUTS = 20_000, 200, 30
STATES = {"before": 0.2, "during": 0.4, "after": 0.4}  # and their share of the flips
STOPPED = 15  # steps of the third run when it is stopped
LOADED = ["ablate.fit.warm", "hydra", "ablate.sweep.preview", "ablate.sweep.wave", "ablate.page.page"]
LOADED += ["ablate.fit.saved", "ablate.train", "ablate.console.compose", "ablate.fit.run"]
UNASKED = (".lock", "log.txt", ".damaged")  # ends of names that nobody reads


@dataclass(eq=False)
class Here(Executor):
    """Trains runs in this process, one after the other; `stop`: runs after which the next one stops on its way."""

    stop = 99

    @classmethod
    def prepare(cls, where: Any) -> None:
        pass

    def num_held(self) -> int:
        return 0

    def train(self, show: Callable[[], None]) -> None:
        for number, outcome in enumerate(self.outcomes):
            task = self.task(outcome)
            task = replace(task, settings=replace(task.settings, where=replace(task.settings.where, progress=False)))
            if number == self.stop:
                with contextlib.suppress(SystemExit):
                    worker.train(replace(task, until=STOPPED))
                os._exit(9)
            worker.train(task)
            outcome.state = "done"


def flips(quick: bool) -> list[Row]:
    """bits that were believed, work that was lost or done twice"""
    for name in LOADED:  # once, before this process is forked
        importlib.import_module(name)
    random_ = random.Random(0)
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        place = Path(folder)
        tokens = TOKENS // 2 if quick else TOKENS
        for state, stop in {"before": 0, "during": 2, "after": 99}.items():
            at = place / state / "outputs"
            at.mkdir(parents=True)
            if state == "before":
                _prepare(at, tokens)
            else:
                shutil.copytree(place / "before" / "outputs", at, dirs_exist_ok=True)
                study(at, tokens, stop)
        wanted = outcome(place / "after" / "outputs")
        assert len(wanted) > 4, wanted
        rows = []
        for state, share in STATES.items():
            rows += _flipped(place, state, round((12 if quick else FLIPS) * share), tokens, wanted, random_)
        return rows + _powerless(place, 3 if quick else CUTS, tokens, wanted, random_)


def study(outputs: Path, tokens: int, stop: int = 99, within: Any = None) -> tuple[int, str]:
    """The command, in a fork: its exit code, and what it said. `within`: a context that it works in."""
    said = outputs.parent / "said.txt"
    if (child := os.fork()) == 0:
        code = 1
        with said.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        try:
            with within or contextlib.nullcontext():
                _command(outputs, tokens, stop)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            print(end.code)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said.read_text(errors="replace")


def _command(outputs: Path, tokens: int, stop: int) -> None:
    from ablate.train import main

    with (
        mock.patch.dict(conduct.EXECUTORS, {"local": Here}),
        mock.patch.object(Here, "stop", stop),
        mock.patch("ablate.page.page.of", return_value=""),
    ):
        main(["-m", *TINY, *ARMS, f"tokens={tokens}", "study.name=flips", f"where.outputs={outputs}"])


def _prepare(outputs: Path, tokens: int) -> None:
    """The text, and nothing else."""
    _, said = study(outputs, tokens, 0)
    for path in outputs.iterdir():
        if path.name != "data":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert any((outputs / "data").glob("*/manifest.json")), said


def outcome(outputs: Path) -> dict[str, Any]:
    """What a study came to: weights, losses and rows of its runs, and its words; of damage, what is wrong."""
    from ablate.run.study_record import study_record
    from ablate.verdict.compare import verdicts
    from ablate.verdict.evidence import read

    found: dict[str, Any] = {}
    for path in sorted(outputs.glob("runs/[!.]*")):
        record = Record(path)
        result = record.result() or {}
        rows = [*(row["sums"] for row in record.rows("evaluation")), *record.rows("trace")]
        found[path.name] = [record.damage(), result.get("weights_sha256"), result.get("sums"), rows]
    evidence = read(study_record(outputs, "flips"))
    found["words"] = [(one.arm, one.word, one.differences) for one in verdicts(evidence)]
    found["declared"] = evidence.declaration["digest"], evidence.study.ledger.whole
    return found


def _flipped(
    place: Path, state: str, count: int, tokens: int, wanted: dict[str, Any], random_: random.Random
) -> list[Row]:
    believed = told = stuck = 0
    seconds = []
    for number in range(count):
        outputs = _fresh(place, state)
        where = flip(outputs, random_)
        began = time.monotonic()
        code, said = study(outputs, tokens)
        seconds.append(time.monotonic() - began)
        wrong = _unlike(outputs, wanted)
        stuck += code != 0
        believed += code == 0 and bool(wrong)
        told += any(word in said for word in ("set aside", "removed", "taken from its copy", "damaged"))
        if code or wrong:
            print(f"{state} {number}: {where}: exit code {code}, {wrong}\n{said[-2000:]}", flush=True)
            shutil.copytree(outputs, place.parent / f"flip-{state}-{number}", dirs_exist_ok=True)
        shutil.rmtree(outputs)
    return [
        Row(f"{count} flips {state}", "believed", [believed], 0, "at most"),
        Row(f"{count} flips {state}", "not mended by the same command", [stuck], 0, "at most"),
        Row(f"{count} flips {state}", "told with a line", [told]),
        Row(f"{count} flips {state}", "seconds of the command", sorted(seconds)),
    ]


def flip(outputs: Path, random_: random.Random) -> str:
    """One bit of one file, all files alike. Those that nobody reads are left out."""
    paths = sorted(path for path in outputs.rglob("*") if path.is_file() and path.stat().st_size)
    path = random_.choice([path for path in paths if not path.name.endswith(UNASKED)])
    content = bytearray(path.read_bytes())
    at, bit = random_.randrange(len(content)), random_.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {at} of {path.relative_to(outputs)}"


def _fresh(place: Path, state: str) -> Path:
    """The outputs as they were in that state."""
    outputs = place / "now" / "outputs"
    shutil.rmtree(outputs, ignore_errors=True)
    return shutil.copytree(place / state / "outputs", outputs)


def _unlike(outputs: Path, wanted: dict[str, Any]) -> str:
    """What differs from the undisturbed study."""
    try:
        found = outcome(outputs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ", ".join(key for key in wanted | found if found.get(key) != wanted.get(key))


class Power:
    """Remembers what is on disk, and fails at the write of some number: what is left is put into a folder.

    Needs a file system that gives no number of a file twice, as one in memory does.
    """

    def __init__(self, outputs: Path, left: Path, fails: int):
        self.outputs, self.left, self.fails, self.count = outputs, left, fails, 0
        self.names: dict[int, dict[str, int]] = {}
        self.contents: dict[int, bytes] = {}
        self.folders: set[int] = set()
        self.done: list[str] = []
        for path in (outputs, *outputs.rglob("*")):
            self._keep(path)

    def __enter__(self) -> None:
        fsync, replaced, finish = os.fsync, os.replace, Record.finish

        def synced(handle: int) -> None:
            self._count()
            fsync(handle)
            with contextlib.suppress(OSError):
                self._keep(Path(os.readlink(f"/proc/self/fd/{handle}")))

        def renamed(source: Any, target: Any, **more: Any) -> None:
            replaced(source, target, **more)
            self._count()

        def finished(record: Record, result: Any) -> None:
            finish(record, result)
            self.done.append(record.id)
            self._count()

        self.patches = [
            mock.patch("os.fsync", synced),
            mock.patch("os.replace", renamed),
            mock.patch.object(Record, "finish", finished),
        ]
        for patch in self.patches:
            patch.start()

    def __exit__(self, *_: Any) -> None:
        print(f"writes {self.count}")
        (self.outputs.parent / "writes.txt").write_text(str(self.count))

    def _count(self) -> None:
        self.count += 1
        if self.count == self.fails:
            self._leave(self.outputs.stat().st_ino, self.left)
            (self.left.parent / "done.json").write_text(json.dumps(self.done))
            os._exit(7)

    def _keep(self, path: Path) -> None:
        """A file with its contents, or the names in a folder."""
        if path.is_dir():
            self.names[path.stat().st_ino] = {one.name: one.stat().st_ino for one in path.iterdir()}
            self.folders |= {path.stat().st_ino, *(one.stat().st_ino for one in path.iterdir() if one.is_dir())}
        else:
            self.contents[path.stat().st_ino] = path.read_bytes()

    def _leave(self, number: int, path: Path) -> None:
        path.mkdir(parents=True)
        for name, one in self.names.get(number, {}).items():
            if one in self.folders:
                self._leave(one, path / name)
            else:
                (path / name).write_bytes(self.contents.get(one, b""))


def _powerless(place: Path, count: int, tokens: int, wanted: dict[str, Any], random_: random.Random) -> list[Row]:
    lost = again = believed = stuck = 0
    for number in range(count + 1):
        outputs, left = _fresh(place, "before"), place / "left" / "outputs"
        shutil.rmtree(left, ignore_errors=True)
        writes = outputs.parent / "writes.txt"
        fails = random_.randrange(1, int(writes.read_text())) if number else 0  # first, to count them
        code, said = study(outputs, tokens, within=Power(outputs, left, fails))
        if not number:
            assert code == 0, said
            continue
        assert code == 7, (code, said)
        done = json.loads((left.parent / "done.json").read_text())
        kept = {run: seconds_of(left, run) for run in done}
        lost += sum(seconds is None for seconds in kept.values())
        code, said = study(left, tokens)
        wrong = _unlike(left, wanted)
        stuck += code != 0
        believed += code == 0 and bool(wrong)
        again += sum(seconds is not None and seconds_of(left, run) != seconds for run, seconds in kept.items())
        if code or wrong or None in kept.values():
            print(f"cut {number} at write {fails}: {kept}: exit code {code}, {wrong}\n{said[-2000:]}", flush=True)
    case = f"{count} times the power fails"
    found = {"runs lost": lost, "runs trained twice": again, "believed": believed, "not mended": stuck}
    return [Row(case, what, [number], 0, "at most") for what, number in found.items()]


def seconds_of(outputs: Path, run: str) -> float | None:
    """How long the run has trained: another number if it was trained again; None where it is not done."""
    record = run_record(outputs, run)
    return None if record.damage() or not record.done else (record.result() or {})["seconds"]


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
