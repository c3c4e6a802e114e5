"""A study that races trains what its race asks for, and says for the rest why not."""

import dataclasses

import pytest
from rich.console import Console

from ablate.run.record import run_record
from ablate.run.study import Budget, Study
from ablate.run.study_record import study_record
from ablate.sweep import conduct
from ablate.sweep.launcher import prepared
from ablate.sweep.study import Plan, plan
from ablate.verdict import compare
from ablate.verdict.evidence import read

pytestmark = pytest.mark.slow

KNOWN = Budget(race="best", looks=[2], noise=0.01, noise_df=40)


@pytest.fixture
def study(tiny):
    """study(budget): a base, an arm that hardly learns, and one that is a little different."""

    def make(budget: Budget) -> Plan:
        base = tiny(study={"name": "s"}, evaluation={"times": 10, "spans": 4})
        eps = {"frozen": 10.0, "near": 2e-8}
        arms = {
            name: dataclasses.replace(base, optimizer=dataclasses.replace(base.optimizer, eps=value))
            for name, value in eps.items()
        }
        declared = Study(name="s", factor=["optimizer.eps"], seeds=[0, 1, 2, 3], budget=budget)
        return prepared(plan(declared, base, arms))

    return make


def carried_out(whole: Plan) -> tuple[dict[str, int], list[compare.Verdict], str]:
    """Runs done by arm, the verdicts, and what was printed."""
    console = Console(record=True, width=100)
    conduct.run(whole, console)
    outputs = whole.arms[0].settings.where.outputs
    done = {arm.name: 0 for arm in whole.arms}
    for run in whole.distinct():
        done[run.arm] += run_record(outputs, run.id).done
    return done, compare.verdicts(read(study_record(outputs, "s"))), console.export_text()


def test_an_arm_that_has_lost_is_not_trained_further(study):
    whole = study(KNOWN)
    done, verdicts, printed = carried_out(whole)
    assert done["frozen"] == 2
    frozen, _ = verdicts
    assert (frozen.word, frozen.provisional) == ("worse", False)
    assert "stopped after 2 seeds" in printed
    again, verdicts_again, _ = carried_out(whole)
    assert again == done
    assert verdicts_again == verdicts


def test_without_a_race_every_run_is_trained(study):
    done, verdicts, _ = carried_out(study(Budget()))
    assert set(done.values()) == {4}
    assert not any(verdict.provisional for verdict in verdicts)
