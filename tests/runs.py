"""What tests of whole runs share: where a run is recorded, the same run elsewhere, and those that are stopped."""

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import yaml

from ablate.data.tokens import opened
from ablate.fit import parts, run, saver
from ablate.fit.optimizer import OPTIMIZERS
from ablate.fit.parallel import zero
from ablate.plan.timeline import timeline
from ablate.run import checkpoints
from ablate.run.parse import from_config
from ablate.run.record import Record
from ablate.run.settings import Settings
from ablate.run.trunks import Growth, trunk_record
from ablate.scores.metrics import Scope, Scores, readings
from ablate.sweep import claims
from ablate.sweep.trunk import Branch, Segment, beginning, branches
from ablate.sweep.worker import alone, work

# One of every kind of run
AVERAGINGS = {
    "uniform": {"kind": "uniform", "start": 0.2},
    "ema": {"kind": "ema", "start": 0.2, "decay": 0.8},
}
STAGED = {
    "schedule": {"warmup": 0.2, "stages": {"again": {"start": 0.4, "peak": 0.5, "warmup": 0.2, "decay": 0.5}}},
    "ramp": {"multiples": [1, 2], "starts": [0, 0.3]},
    "mixture": {"stages": {"late": {"start": 0.6, "weights": {"qa": 1}}}},
}
KINDS: dict[str, dict[str, Any]] = {
    "attention": {},
    "latent attention": {"model": {"pattern": "L"}},
    "hybrid": {"model": {"pattern": "MMMA"}, "size": {"depth": 4}},
    "ternary": {"model": {"linear": "ternary"}},
    "quantised": {"model": {"linear": "2:4-int4"}},
    "other parts": {"model": {"feed": "relu2", "qk_norm": True}},
    "bf16": {"precision": "bf16-mixed"},
    "recomputed and accumulated": {"where": {"recompute": True, "micro_tokens": 128}},
    "lerac": {"optimizer": {"lerac": {"lowest": 0.01, "until": 0.8}}},
    "answers": {"objective": "answers", "data": {"target": {"qa": "trace_then_answer"}}},
    "stages and ramp": STAGED,
    "all at once": STAGED
    | {
        "model": {"pattern": "LM", "linear": "ternary"},
        "precision": "bf16-mixed",
        "optimizer": {"lerac": {"lowest": 0.01, "until": 0.8}},
        "averaging": {"kind": "ema", "start": 0.2, "decay": 0.8},
    },
}
KINDS |= {name: {"optimizer": {"name": name}} for name in OPTIMIZERS if name != "adamw"}
KINDS |= {f"average, {name}": {"averaging": averaging} for name, averaging in AVERAGINGS.items()}
# Of those, one for each way in which a run holds more than weights, and one of most parts together
STATES = ["all at once", "answers", "recomputed and accumulated", "adamw8bit", "muon", "average, uniform"]
needs_deepspeed = pytest.mark.skipif(not zero.installed(), reason="DeepSpeed is not installed")
SEVERAL = ["ddp", "fsdp", pytest.param("zero3", marks=needs_deepspeed)]  # strategies, one of each kind


def losses(scores: Scores, focus: str = "") -> dict[str, float]:
    """Bits per byte of a result or an evaluation: by domain, macro, micro, and with a focus rest."""
    return readings(scores, Scope(list(scores["sums"]), focus))


def composing(common: dict[str, Any]) -> Callable[[list[str]], Settings]:
    """What composes settings of overrides, as Hydra does, over plain data that all have in common."""

    def compose(overrides: list[str]) -> Settings:
        tree = json.loads(json.dumps(common))
        for override in overrides:
            key, value = override.split("=", 1)
            *groups, name = key.split(".")
            part = tree
            for group in groups:
                part = part.setdefault(group, {})
            part[name] = yaml.safe_load(value)
        settings = from_config(tree)
        parts.check(settings)
        return settings

    return compose


def record_of(settings: Settings) -> Record:
    return alone(settings).record


def train_run(settings: Settings, growth: Growth = run.ALONE) -> dict[str, Any]:
    """Prepare the text of a run and train it, with no claim on it; its result."""
    task = alone(settings)
    return run.train_run(settings, opened(task.corpus), task.record, growth)


def asked_to_stop(settings: Settings, forkserver: Any, number: int) -> tuple[Record, int]:
    """A run in a process of its own, sent a signal once it takes steps: its record, and the exit code."""
    task = alone(settings)
    record = task.record
    process = forkserver.Process(target=work, args=(task,))
    process.start()
    while not record.last_row():
        time.sleep(0.05)
        assert process.is_alive(), (record.folder / "log.txt").read_text()
    os.kill(process.pid, number)
    process.join()
    return record, process.exitcode


def caught(record: Record) -> int | None:
    """The process that trains a run, the moment it has taken a step; None where nobody trains it.

    A launcher looks a few times a second only, and a tiny run may be over between two of its looks.
    """
    while claims.state(record) == "running":
        if record.last_row() and (owner := claims.owner_of(record)):
            return owner["pid"]
        time.sleep(0.005)
    return None


def elsewhere(settings: Settings, folder: Path, *runs: Record) -> Settings:
    """The same run, into another output folder that shares the data and has these runs."""
    (folder / "runs").mkdir(parents=True)
    (folder / "data").symlink_to(Path(settings.where.outputs) / "data")
    for record in runs:
        (folder / "runs" / record.id).symlink_to(record.folder)
    return dataclasses.replace(settings, where=dataclasses.replace(settings.where, outputs=str(folder)))


class Interruption(Exception):
    """What stops a run here, as an error in the midst of training would."""


class Stopping(saver.Saver):
    """Raises after step `at`, having saved if that was due: what came after the last save is lost."""

    at = 0

    def on_train_batch_end(self, trainer: L.Trainer, *rest: Any, **more: Any) -> None:
        super().on_train_batch_end(trainer, *rest, **more)
        if trainer.global_step == self.at:
            raise Interruption


def interrupt(settings: Settings, at: int) -> Path:
    """Train until step `at` and no further; the checkpoint that is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stopping, "at", at)
        patch.setattr(saver, "Saver", Stopping)
        with pytest.raises(Interruption):
            train_run(settings)
    left = checkpoints.newest(record_of(settings).checkpoints)
    assert left is not None
    return left


def steps_shared(trees: list[Segment]) -> int:
    """Steps that are taken when every segment is trained once."""
    return sum(segment.last - segment.first for tree in trees for segment in tree.walk())


def check_resumed(settings: Settings, folder: Path, *runs: Record) -> None:
    """A run that is interrupted after a step ends with the weights that it has undisturbed."""
    again = elsewhere(settings, folder, *runs)
    expected = train_run(settings)["weights_sha256"]
    interrupt(again, 5)
    assert train_run(again)["weights_sha256"] == expected


def branch_of(*several: Settings) -> Branch:
    """The last place that the ways of all these runs have in common."""
    found = branches([beginning(str(n), timeline(one), "", "") for n, one in enumerate(several)])
    return max(set.intersection(*map(set, found.values())), key=lambda branch: branch.step)


def check_grown(first: Settings, alone: Settings, folder: Path, *runs: Record) -> tuple[Settings, int]:
    """A run that grows from the trunk that another leaves, where their ways part, ends as it does alone, to the bit.

    The grown run, and the step of the trunk.
    """
    grown, branch = elsewhere(alone, folder / "grown", *runs), branch_of(first, alone)
    expected, trunk = train_run(alone), trunk_record(folder, branch.key)
    leaving = train_run(first, Growth(leave={branch.step: trunk}))
    assert leaving["grown_from"] is None
    assert trunk.read()["step"] == branch.step
    found = train_run(grown, Growth(start=trunk))
    assert found["weights_sha256"] == expected["weights_sha256"] != leaving["weights_sha256"]
    assert found["grown_from"]["run"] == record_of(first).id
    same = ("step", "tokens", "flops", "sums", "mixture")
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}
    for kind in ("evaluation", "trace"):
        assert record_of(grown).rows(kind) == record_of(alone).rows(kind)
    return grown, branch.step


def check_processes(settings: Settings, strategy: str, folder: Path, *runs: Record) -> None:
    """Two processes take the steps of one, but for the order of sums."""
    where = dataclasses.replace(settings.where, strategy=strategy, devices=2)
    several = elsewhere(dataclasses.replace(settings, where=where), folder, *runs)
    train_run(settings)
    train_run(several)
    one, two = (record_of(run).rows("train") for run in (settings, several))
    told = [name for name in ("nats", "divergence") if name in one[0]]
    for a, b in zip(one, two, strict=True):
        assert [a[name] for name in told] == pytest.approx([b[name] for name in told], abs=1e-5)
