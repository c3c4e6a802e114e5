"""Whatever happens to a study, the same command finishes it: nothing is lost, and next to nothing trained twice.

The study has six runs, three of each seed, which share the first half of their steps. What is killed,
stopped or filled here is real: processes, memory, a disk. At the end every run has the weights of a
study that nobody disturbed.
"""

import contextlib
import itertools
import json
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from test_train import TINY, start

from ablate.run.record import Record
from ablate.sweep import claims
from ablate.sweep.worker import Task, alone, train_and_exit

pytestmark = pytest.mark.slow

STEPS, SAVES = 64, 8
SAVED = STEPS // SAVES  # steps between checkpoints: the most that a kill may cost
FIXED = {"schedule": {"warmup": 2, "decay": 4}, "length": {"lengths": [64], "starts": [0]}}
LATE = "+mixture.stages.late={{start: 0.5, weights: {{{}: 1}}}}"
WORDS = [
    *TINY,
    "-m",
    f"tokens={STEPS * 512}",
    "schedule={warmup: 2, decay: 4}",
    "length={lengths: [64], starts: [0]}",
    "study.name=faults",
    "controls=none",
    "study.factor=[mixture]",
    "seed=0,1",
    *(f"+study.arms.{domain}=['{LATE.format(domain)}']" for domain in ("qa", "code")),
    "where.wandb=off",
    "where.workers=2",
    f"where.saves={SAVES}",
]
SHARED_STEPS = 2 * (STEPS // 2 + 3 * STEPS // 2)  # of two seeds: a trunk, and three that grow from it
KILLS = 20
PATIENT = f"where.retries={KILLS}"


class Disturbed:
    """The study as a command in a folder of its own."""

    def __init__(self, outputs: Path):
        self.outputs = outputs

    def start(self, *words: str):
        return start(*WORDS, f"where.outputs={self.outputs}", *words)

    def finish(self, *words: str) -> str:
        """The same command, to its end; what it prints."""
        process = self.start(*words)
        out, err = process.communicate()
        assert process.returncode == 0, out + err
        return out

    def records(self) -> list[Record]:
        return [Record(path.parent) for path in sorted((self.outputs / "runs").glob("*/log.txt"))]

    def wait_for_steps(self, number: int) -> None:
        """Until so many more were taken: progress, and not the speed of the machine, sets the pace.

        Not for ever: the study may end first.
        """
        target, end = self.rows() + number, time.monotonic() + 60
        while self.rows() < target and time.monotonic() < end:
            time.sleep(0.01)

    def rows(self) -> int:
        return sum(len(record.rows("train")) for record in self.records())

    def claimed(self) -> dict[int, Record]:
        """The runs that are being trained, by their process."""
        found = {}
        for record in self.records():
            with contextlib.suppress(FileNotFoundError):
                found[json.loads((record.folder / "claim.json").read_text())["pid"]] = record
        return {pid: record for pid, record in found.items() if claims.state(record) == "running"}

    def training(self) -> tuple[int, Record]:
        """A process that has taken a step, and its run."""
        return until(lambda: next(((p, r) for p, r in self.claimed().items() if r.last_row()), None))

    def weights(self) -> dict[str, str]:
        return {record.id: (record.result() or {})["weights_sha256"] for record in self.records()}

    def steps_taken(self) -> int:
        """Of all runs together, each step of each run once."""
        return sum(len(set(own_steps(record))) for record in self.records())

    def setbacks(self) -> dict[str, list[int]]:
        """By run, the steps that each of its interruptions cost: rows stand in the order in which they were taken.

        (A run that begins again at its trunk begins its rows anew, so that what this cost is not among them.)
        """
        steps = {record.id: own_steps(record) for record in self.records()}
        return {
            run: [last + 1 - first for last, first in itertools.pairwise(taken) if first <= last]
            for run, taken in steps.items()
        }


def grown(study: Disturbed) -> dict[str, object]:
    """Where each run started."""
    return {record.id: (record.result() or {}).get("grown_from") for record in study.records()}


def own_steps(record: Record) -> list[int]:
    """Every step that the run took itself, as often as it took it."""
    grown = ((record.result() or {})["grown_from"] or {"step": 0})["step"]
    rows = [json.loads(line) for line in (record.folder / "metrics.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if row["kind"] == "train" and row["step"] > grown]


Found = TypeVar("Found")


def until(look: Callable[[], Found | None], seconds: float = 500) -> Found:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"it did not happen in {seconds:.0f} s")


@pytest.fixture
def study(outputs) -> Disturbed:
    return Disturbed(outputs)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, shared_data) -> Disturbed:
    """The study when nothing happens."""
    outputs = tmp_path_factory.mktemp("undisturbed")
    (outputs / "data").symlink_to(shared_data)
    whole = Disturbed(outputs)
    whole.finish()
    assert not any(whole.setbacks().values())
    assert whole.steps_taken() == SHARED_STEPS
    return whole


def test_a_killed_launcher(study, undisturbed):
    process = study.start()
    study.training()
    process.kill()
    process.wait()
    study.finish()
    assert study.weights() == undisturbed.weights()
    # its workers save before they stop; one that must not wait for that loses what an interruption may cost
    assert all(len(cost) <= 1 and sum(cost) <= SAVED for cost in study.setbacks().values()), study.setbacks()


def test_a_killed_worker(study, undisturbed):
    process = study.start("where.retries=3")
    killed, first = study.training()
    os.kill(killed, signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert "killed: SIGKILL; most often the machine was out of memory (tried again)" in out
    assert study.weights() == undisturbed.weights()
    assert study.steps_taken() == SHARED_STEPS
    cost = study.setbacks()
    assert sum(cost.pop(first.id)) <= SAVED
    assert not any(cost.values()), cost


def test_a_run_that_gets_no_more_memory_says_so(tiny, forkserver):
    settings = tiny(size={"width": 1024, "heads": 16, "kv_heads": 16, "hidden": 4096, "depth": 8})
    task = alone(settings)
    record = task.record
    process = forkserver.Process(target=starve, args=(task,))
    process.start()
    process.join()
    assert process.exitcode == 1
    failure = record.failure() or {}
    assert failure["outcome"] == "out of memory", failure
    assert "where.micro_tokens" in failure["reason"]


def starve(task: Task) -> None:
    """Train with no more memory than there is already, and a little."""
    import ablate.fit.run  # noqa: F401 - loaded before there is too little for it

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2**26
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    train_and_exit(task)


def test_the_run_that_would_leave_the_trunk_raises(study, undisturbed):
    first = json.loads((undisturbed.outputs / "studies/faults/study.json").read_text())["runs"]["base"]["0"]
    blocked = study.outputs / "runs" / first / "config.yaml"
    blocked.mkdir(parents=True)  # the record cannot be written
    process = study.start()
    out, err = process.communicate()
    assert process.returncode == 1
    assert "config.yaml: Is a directory" in out
    assert "1 of 6 runs are not done; the same command tries them again" in err
    assert {record.id for record in study.records() if record.done} == undisturbed.weights().keys() - {first}
    blocked.rmdir()
    study.finish()
    assert study.weights() == undisturbed.weights()
    assert not any(study.setbacks().values()), study.setbacks()


def test_a_full_disk(study, undisturbed, tmp_path):
    with disk(tmp_path / "disk", "1m") as folder:
        (study.outputs / "runs").symlink_to(folder)
        process = study.start()
        out, err = process.communicate()
        assert process.returncode == 1
        assert "No space left on device" in out
        assert "Traceback" not in err
        subprocess.run(["mount", "-o", "remount,size=100m", folder], check=True)
        study.finish()
        assert study.weights() == undisturbed.weights()


def test_two_launchers_at_once(study, undisturbed):
    processes = [study.start(), study.start()]
    for process in processes:
        out, err = process.communicate()
        assert process.returncode == 0, out + err
    assert study.weights() == undisturbed.weights()
    assert not any(study.setbacks().values()), study.setbacks()
    assert study.steps_taken() == SHARED_STEPS


def test_twenty_kills_at_random_moments(study, undisturbed):
    """Of launchers and workers, also of workers whose launcher was just killed."""
    chance, process = random.Random(0), study.start(PATIENT)
    killed: list[str] = []
    while len(killed) < KILLS and process.poll() is None:
        study.wait_for_steps(chance.randrange(24))  # 230 of 384 in all: past the two trunks
        workers = study.claimed()
        if workers and chance.random() < 0.15:
            process.kill()
            process.wait()
            killed.append("launcher")
            process = study.start(PATIENT)
        elif workers:
            victim = chance.choice(sorted(workers))
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                killed.append(workers[victim].id)
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert len(killed) == KILLS
    assert len(set(killed)) > 4, "several runs, and the launcher"
    assert study.weights() == undisturbed.weights()
    for run, cost in study.setbacks().items():
        # a launcher's death costs none: its workers save. A worker's costs what it did since its last checkpoint
        assert len(cost) <= killed.count(run), f"{run}: steps lost {cost}, kills {killed}"
        assert max(cost, default=0) <= SAVED, f"{run}: steps lost {cost}"
    assert study.steps_taken() == SHARED_STEPS, grown(study)


@contextlib.contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
