"""A study of runs of eight steps, trained in this process, whose arms can be tampered with behind the audit's back.

    with laboratory(data) as lab:
        lab.alarms("rate", carry=tampered)        the findings that do not hold, once the runs have ended

The base is trained once, as it should be. An arm is trained while a mutation is in force, or in another way, and all
checks of a study are asked. `outcome`: of the arm's run, whether anything came out differently.
"""

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablate.data.tokens import prepare_for
from ablate.fit import run
from ablate.run import failures
from ablate.run.identity import record_name
from ablate.run.parse import from_plain
from ablate.run.record import run_record
from ablate.run.settings import Settings, Study
from ablate.run.study_record import StudyRecord, study_record
from ablate.run.trunks import Growth, trunk_record
from ablate.sweep.study import Plan, announce, plan, with_corpora
from ablate.verdict.evidence import read
from ablate.verdict.validity.finding import Finding
from ablate.verdict.validity.trust import CHECKS

STEPS = 8
TINY: dict[str, Any] = {
    "data": {"domains": ["general", "code", "qa"], "domain_bytes": 150_000, "span": 64, "vocabulary": 512},
    "size": {"width": 16, "depth": 2, "heads": 2, "kv_heads": 1, "hidden": 32},
    "length": {"lengths": [32], "starts": [0.0]},
    "mixture": {"stages": {"late": {"start": 0.75, "weights": {"qa": 1, "code": 1}}}},
    "schedule": {"warmup": 2, "decay": 3},
    "tokens": STEPS * 256,
    "step_tokens": 256,
    "evaluation": {"times": 2, "spans": 2},
    "where": {"wandb": "off", "progress": False, "peak_tflops": 0.1, "device": "cpu", "saves": 4},
}
LATE = {"start": 0.75, "weights": {"qa": 0, "code": 1}}
# One arm of every kind: what it is declared to change
ARMS: dict[str, dict[str, Any]] = {
    "rate": {"optimizer": {"lr": 2e-3}},
    "decay": {"optimizer": {"weight_decay": 0.2}},
    "mixture": {"mixture": {"weights": {"general": 2, "code": 1, "qa": 1}}},
    "late": {"mixture": {"stages": {"late": LATE}}},
    "schedule": {"schedule": {"warmup": 3}},
    "length": {"length": {"lengths": [32, 64], "starts": [0.0, 0.5]}},
    "ramp": {"ramp": {"multiples": [1, 2], "starts": [0.0, 0.5]}},
    "model": {"model": {"pattern": "MA"}},
    "latent": {"model": {"pattern": "L"}},
    "ternary": {"model": {"linear": "ternary"}},
    "deeper": {"size": {"depth": 3}},
    "wider": {"size": {"width": 24, "hidden": 48}},
    "eps": {"model": {"norm_eps": 1e-6}},
    "untied": {"model": {"tied": False}},
    "muon": {"optimizer": {"name": "muon"}},
    "adamw": {"optimizer": {"name": "adamw"}},
    "fixed": {"length": {"lengths": [32], "starts": [0.0]}},
    "halved": {"length": {"lengths": [128], "starts": [0.0]}},
    "betas": {"optimizer": {"betas": [0.9, 0.99]}},
    "layers": {"optimizer": {"lerac": {"lowest": 0.1, "until": 6}}},
    "average": {"averaging": {"kind": "ema", "start": 2, "decay": 0.8}},
    "precision": {"precision": "bf16-mixed"},
    "clip": {"optimizer": {"clip": 0.5}},
}
BACK = ("adamw", "fixed", "halved")  # what bases of other kinds change back: no change of the usual one
Carry = Callable[[Settings], None]


def train(settings: Settings, growth: Growth = run.ALONE) -> None:
    corpus = prepare_for(settings)
    record = run_record(settings.where.outputs, record_name(settings, corpus.fingerprint))
    with failures.noting(record):
        run.train_run(settings, corpus, record, growth)


def as_it_is(settings: Settings) -> None:
    train(settings)


def resumed(at: int) -> Carry:
    """Stopped after some step, and started again."""

    def carry(settings: Settings) -> None:
        with contextlib.suppress(SystemExit):
            train(settings, Growth(until=at))
        train(settings)

    return carry


def grown(settings: Settings) -> None:
    """From a trunk that a run like it has left."""
    trunk, id = trunk_record(settings.where.outputs, "0123"), record_name(settings, prepare_for(settings).fingerprint)
    train(settings, Growth(leave={4: trunk}))
    shutil.rmtree(run_record(settings.where.outputs, id).folder)
    train(settings, Growth(start=trunk))
    trunk.remove()


def elsewhere(**where: Any) -> Carry:
    """With other settings of `where`, which are no part of what a run is."""
    return lambda settings: as_it_is(dataclasses.replace(settings, where=dataclasses.replace(settings.where, **where)))


# Ways of carrying a run out that change nothing but, at most, the order of additions
WAYS: dict[str, Carry] = {
    "as it is": as_it_is,
    "resumed at step 3": resumed(3),
    "resumed at step 6": resumed(6),
    "grown from a trunk": grown,
    "in parts of two rows": elsewhere(micro_tokens=64),
    "recomputed": elsewhere(recompute=True),
    "batches from another process": elsewhere(data_workers=1),
    "saved at every step": elsewhere(saves=8),
}


class Lab:
    """Studies in one folder. `base`: changes of the base itself."""

    def __init__(self, outputs: Path, base: dict[str, Any] | None = None):
        self.outputs, self.stopped, self.outcome = outputs, "", ""
        self.base = merged(TINY | {"where": TINY["where"] | {"outputs": str(outputs)}}, base or {})

    def settings(self, arm: str) -> Settings:
        return from_plain(merged(self.base, ARMS[arm] if arm != "base" else {}))

    def plan(self, arms: tuple[str, ...], seeds: tuple[int, ...] = (0,)) -> tuple[Plan, StudyRecord]:
        """A study of these arms, declared as the launcher does."""
        factor = sorted({factor for arm in arms for factor in _factors(ARMS[arm])})
        study = Study(name="_".join(arms), factor=factor, seeds=list(seeds))
        whole = plan(study, self.settings("base"), {arm: self.settings(arm) for arm in arms})
        whole = with_corpora(whole, [prepare_for(arm.settings) for arm in whole.arms])
        record = study_record(self.outputs, study.name)
        announce(whole, record)
        return whole, record

    def alarms(self, arm: str, seed: int = 0, carry: "Carry" = as_it_is) -> list[str]:
        """What does not hold of an arm whose run is carried out so, beside a base that nobody touched."""
        whole, record = self.plan((arm,), (seed,))
        base, ours = whole.runs
        if not run_record(self.outputs, base.id).done:
            train(base.settings)
        with contextlib.suppress(Exception):  # a run that stops at a check of its own: see `stopped`
            carry(ours.settings)
        with self.forgotten(ours.id) as (self.stopped, self.outcome):
            return texts([one for check in CHECKS for one in check(read(record))])

    @contextmanager
    def forgotten(self, run: str) -> Iterator[tuple[str, str]]:
        """Why this run was stopped, if it was, and what came out; afterwards its record is gone."""
        record = run_record(self.outputs, run)
        result, rows = record.result() or {}, record.rows("evaluation")
        yield (
            (record.failure() or {}).get("reason", ""),
            repr([result.get("weights_sha256"), result.get("sums"), [row["sums"] for row in rows]]),
        )
        shutil.rmtree(record.folder, ignore_errors=True)


def texts(found: list[Finding]) -> list[str]:
    return [finding.text for finding in found if not finding.held]


@contextmanager
def laboratory(data: Path, base: dict[str, Any] | None = None) -> Iterator[Lab]:
    """A lab in a folder that is gone afterwards, which reads the text prepared in `data`, or prepares it there."""
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        (Path(folder) / "data").symlink_to(data)
        yield Lab(Path(folder), base)


def merged(base: dict, changes: dict) -> dict:
    """`base` with the values of `changes`, group by group."""
    return base | {
        key: merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in changes.items()
    }


def _factors(changes: dict[str, Any]) -> list[str]:
    """The keys that a change declares; of a mixture the whole, as shares move together."""
    found = []
    for group, value in changes.items():
        whole = group == "mixture" or not isinstance(value, dict)
        found += [group] if whole else [f"{group}.{key}" for key in value]
    return found
