"""A study's group at W&B has all of its runs, also those that another study trained."""

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console
from tiny import merged

from ablate.run.settings import Settings
from ablate.run.study_record import study_record
from ablate.sweep import conduct
from ablate.sweep.launcher import prepared
from ablate.sweep.study import plan
from tests.page.test_workspace import records

QUICK = {
    "length": {"lengths": [64], "starts": [0]},
    "tokens": 5_120,
    "where": {"wandb": "offline"},
    "study": {"seeds": [0], "factor": ["optimizer"]},
}


def carry_out(tiny, name: str, rate: float) -> Settings:
    base = tiny(**merged(QUICK, {"study": {"name": name}}))
    arm = dataclasses.replace(base, optimizer=dataclasses.replace(base.optimizer, lr=rate))
    conduct.run(prepared(plan(base.study, base, {f"lr_{rate:g}": arm})), Console(quiet=True))
    return base


def grouped(outputs: Path) -> list[tuple[str, str, str]]:
    """(group, job type, id) of every run that W&B was told of."""
    found = []
    for path in outputs.glob("wandb/offline-run-*/*.wandb"):
        run = next(record.run for record in records(path) if record.WhichOneof("record_type") == "run")
        found.append((run.run_group, run.job_type, run.run_id))
    return sorted(found)


@pytest.mark.slow
def test_a_later_study_has_the_runs_that_it_shares(tiny, outputs):
    carry_out(tiny, "first", 1e-3)
    carry_out(tiny, "second", 2e-3)
    ids = {arm: record.id for arm, _, record in study_record(outputs, "second").records()}
    second = [one for one in grouped(outputs) if one[0] == "second"]
    assert second == [("second", "base", f"{ids['base']}-in-second"), ("second", "lr_0.002", ids["lr_0.002"])]
    carry_out(tiny, "second", 2e-3)
    assert [one for one in grouped(outputs) if one[0] == "second"] == second
