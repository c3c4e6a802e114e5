"""Fifty kills of runs that take a spike back: is anything lost, or trained twice?

One command trains a run with trouble in one step, under `monitor.act=rollback`. SIGKILL, SIGTERM or SIGINT comes at
some moment: of all the time that the run takes, or, for half of them, of the steps around the spike. The same command
is given again, and killed again, up to three times, and then left alone. It must end with the weights and the rows of
the run that nobody disturbed, a try must begin at the newest checkpoint there was, and the command once more trains
nothing.

The command runs in a fork of this process, which has loaded what it needs.
"""

import contextlib
import importlib
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from ablate import train
from ablate.fit.spikes import windows
from ablate.fit.watch import Watch
from ablate.run import checkpoints, files
from ablate.run.record import Record
from bench.rounds import Row
from bench.troubled import KINDS

AT = 200  # of 300 steps: where trouble is planted
COMMAND = ["size=tiny", "size.width=32", "size.hidden=64", "data.domains=[general,qa]", "data.domain_bytes=100000"]
COMMAND += ["data.span=64", "data.vocabulary=512", "length.lengths=[64]", "step_tokens=512", "tokens=153600"]
COMMAND += ["evaluation.times=5", "evaluation.spans=4", "where.peak_tflops=0.1", "where.threads=1", "where.wandb=off"]
COMMAND += ["where.progress=false", "where.device=cpu", "monitor=spikes", f"trouble.start={AT}"]
KILLS, AGAIN = 50, 3  # in all, and of one run at most
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
AROUND = range(AT - 8, AT + 6)  # steps that half of the kills come after
COSTS = ("other weights", "other rows", "steps lost", "steps noted twice", "begun too early", "done and trained again")
TIMES = ("seconds", "flops_per_second", "tokens_per_second", "mfu", "memory")
LOADED = ("ablate.fit.warm", "ablate.console.compose", "hydra", "ablate.sweep.preview")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The command, into some outputs, with trouble of some kind."""

    outputs: Path
    kind: str

    @property
    def record(self) -> Record:
        [folder] = self.outputs.glob("runs/[!.]*")
        return Record(folder)

    def begin(self) -> int:
        """The process that works on it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # no stop may reach what this process has begun
        if child := os.fork():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            return child
        code = 1
        with contextlib.suppress(BaseException):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            code = self._work()
        os._exit(code)

    def _work(self) -> int:
        """The command, in a process of its own; its exit code."""
        log = os.open(self.outputs.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            with mock.patch.object(Watch, "on_train_start", self._noting(Watch.on_train_start)):
                train.main([*COMMAND, f"trouble={self.kind}", f"where.outputs={self.outputs}"])
            return 0
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
            return 1

    def _noting(self, started: Callable[..., None]) -> Callable[..., None]:
        """The same hook, which notes the step that a try begins at."""

        def start(watch: Watch, trainer: Any, module: Any) -> None:
            with self._begun.open("a") as file:
                file.write(f"{trainer.global_step}\n")
            started(watch, trainer, module)

        return start

    @property
    def _begun(self) -> Path:
        return self.outputs.parent / "begun.txt"

    def tries(self) -> list[int]:
        """The steps that its tries have begun at."""
        return list(map(int, self._begun.read_text().split())) if self._begun.exists() else []

    def end(self) -> int:
        """Undisturbed; the exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.begin(), 0)[1])

    def kill(self, draw: random.Random, usual: float) -> bool:
        """Begin, and kill it at some moment; whether it was alive then. `usual`: seconds that it takes undisturbed."""
        child, number = self.begin(), draw.choice(SIGNALS)
        if draw.random() < 0.5:
            self._wait(child, draw.choice(AROUND))
            time.sleep(draw.uniform(0, 0.05))
        else:
            time.sleep(draw.uniform(0, usual))
        os.kill(child, number)  # one that has ended is a zombie until it is waited for
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code != 0

    def _wait(self, child: int, step: int) -> None:
        """Until the run has noted that step, or has ended."""
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            folders = list(self.outputs.glob("runs/[!.]*/metrics.jsonl"))
            if folders and (last := Record(folders[0].parent).last_row()) and last["step"] >= step:
                return
            time.sleep(0.002)

    def goes_on_from(self) -> int:
        """The step of the newest checkpoint of its steps."""
        if not list(self.outputs.glob("runs/[!.]*")):
            return 0
        left_out = windows(self.record.taken_back())
        newest = checkpoints.newest(self.record.checkpoints, left_out=left_out)
        return checkpoints.step_of(newest) if newest else 0

    def outcome(self) -> dict[str, Any]:
        """All that it came to, but for times."""
        result = {name: value for name, value in (self.record.result() or {}).items() if name not in TIMES}
        kinds = ("train", "evaluation", "trace", "spike", "steps")
        rows = {kind: [_timeless(row) for row in self.record.rows(kind)] for kind in kinds}
        return {"damage": self.record.damage(), "result": result, **rows}


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMES}


def killed(quick: bool) -> list[Row]:
    """Kills, and what they have cost."""
    for name in LOADED:  # once, before this process is forked
        importlib.import_module(name)
    draw, costs, left = random.Random(0), dict.fromkeys(COSTS, 0), 4 if quick else KILLS
    kinds = KINDS[:1] if quick else KINDS
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        wanted = {kind: _undisturbed(Path(folder), kind) for kind in kinds}
        usual = (time.perf_counter() - begin) / len(kinds)
        while left > 0:
            kind = draw.choice(kinds)
            run = _fresh(Path(folder), kind)
            hit, early = _killed(run, min(left, draw.randint(1, AGAIN)), draw, usual)
            left -= hit
            for name, count in (_cost(run, wanted[kind]) | {"begun too early": early}).items():
                costs[name] += count
            shutil.rmtree(run.outputs.parent)
    return [Row(f"{4 if quick else KILLS} kills", name, [float(count)], 0, "at most") for name, count in costs.items()]


def _undisturbed(folder: Path, kind: str) -> dict[str, Any]:
    run = _fresh(folder, kind, name=kind)
    code = run.end()
    found = run.outcome()
    assert (code, len(found["spike"]), found["damage"]) == (0, 1, None), (code, found["spike"], found["damage"])
    return found


def _fresh(folder: Path, kind: str, name: str = "now") -> Run:
    """Outputs with nothing in them but the text, once it is there."""
    run = Run(outputs=folder / name / "outputs", kind=kind)
    run.outputs.mkdir(parents=True)
    (folder / "data").mkdir(exist_ok=True)
    (run.outputs / "data").symlink_to(folder / "data")
    return run


def _killed(run: Run, kills: int, draw: random.Random, usual: float) -> tuple[int, int]:
    """Kill it so many times, then let it end. Kills that hit a living process, and tries that began too early."""
    hit = early = expected = 0
    for number in range(kills + 1):
        before = len(run.tries())
        if number < kills:
            hit += run.kill(draw, usual)
        else:
            assert run.end() == 0, (run.outputs.parent / "log.txt").read_text()[-3000:]
        begun = run.tries()[before : before + 1]  # later ones are of the same process, after an alarm
        early += bool(begun) and begun[0] < expected
        expected = run.goes_on_from()
    return hit, early


def _cost(run: Run, wanted: dict[str, Any]) -> dict[str, int]:
    """What is not as in the undisturbed run, and what the command once more does."""
    found, result = run.outcome(), run.record.folder / "result.json"
    rows = [row for row in files.read_rows(run.record.folder / "metrics.jsonl") if row["kind"] == "steps"]
    firsts, before = [row["first"] for row in rows], (result.read_bytes(), len(run.tries()))
    assert run.end() == 0
    cost = {
        "other weights": found["result"]["weights_sha256"] != wanted["result"]["weights_sha256"],
        "other rows": found != wanted,
        "steps lost": len({row["first"] for row in wanted["steps"]} - set(firsts)),
        "steps noted twice": len(firsts) - len(set(firsts)),
        "done and trained again": (result.read_bytes(), len(run.tries())) != before,
    }
    if any(cost.values()):
        differs = [(key, name) for key in wanted for name in _unlike(found[key], wanted[key])]
        print(f"{run.kind}: {cost}, {differs[:8]}", flush=True)
    return {name: int(count) for name, count in cost.items()}


def _unlike(found: Any, wanted: Any) -> list[Any]:
    """Where two parts of an outcome differ."""
    if isinstance(wanted, dict):
        return [name for name in wanted | found if found.get(name) != wanted.get(name)]
    return [] if found == wanted else [(one, other) for one, other in zip(found, wanted, strict=False) if one != other]
