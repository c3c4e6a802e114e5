"""A study of mixtures with race=search: few arms start, a launcher that was killed goes on as it would have."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from ablate.page import page
from ablate.run.record import run_record
from ablate.run.settings import SettingsError
from ablate.run.study import Budget, Controls, Study
from ablate.run.study_record import study_record
from ablate.sweep import conduct
from ablate.sweep.launcher import prepared
from ablate.sweep.study import Plan, plan
from ablate.verdict.compare import verdicts
from ablate.verdict.evidence import read

NONE = Controls(null_seeds=0, positive=[])
SEARCH = Budget(race="search", spend=0.5, at_once=2)
SHARES = [(1, 1, 2), (1, 2, 1), (2, 1, 1), (1, 4, 4), (4, 1, 4), (4, 4, 1), (1, 1, 6), (1, 6, 1), (6, 1, 1)]
SHARES += [(2, 3, 5), (5, 2, 3), (3, 5, 2), (0, 1, 1)]


@pytest.fixture
def study(tiny):
    """study(budget): a base of equal shares, and 13 other mixtures of three domains."""

    def make(budget: Budget = SEARCH, **other: float) -> Plan:
        base = tiny(study={"name": "s"}, mixture={"weights": dict.fromkeys(("general", "code", "qa"), 1.0)})
        arms = {}
        for shares in SHARES:
            weights = dict(zip(("general", "code", "qa"), map(float, shares), strict=True))
            mixture = dataclasses.replace(base.mixture, weights=weights)
            arms["m" + "".join(map(str, shares))] = dataclasses.replace(base, mixture=mixture, **other)
        declared = Study(name="s", factor=["mixture", *other], seeds=[0, 1], budget=budget, controls=NONE)
        return plan(declared, base, arms)

    return make


def carried_out(whole: Plan, outputs: Path) -> dict:
    conduct.run(prepared(whole), Console(record=True, width=100))
    return study_record(outputs, "s").decisions()


@pytest.mark.slow
def test_a_search_starts_few_arms_and_goes_on_after_a_kill_to_the_same_choice(study, outputs, tmp_path):
    whole, killed = study(), tmp_path / "killed"
    found = carried_out(whole, outputs)
    unstarted = [arm for arm, one in found.items() if one["reason"] == "unstarted"]
    evidence = read(study_record(outputs, "s"))
    assert len(unstarted) >= 4
    assert evidence.num_done < len(whole.arms)
    assert all(run.outcome == "not started" for arm in unstarted for run in evidence.by_arm[arm].values())
    judged = [verdict for verdict in verdicts(evidence) if len(verdict.differences) == 2]
    assert 1 <= len(judged) <= 3
    shown = page.write(evidence.study).read_text()
    assert shown.count("never started: the search expected too little of it") >= len(unstarted)

    shutil.copytree(outputs, killed, symlinks=True)  # as a kill would leave it: later runs are not there
    begun = [run for run in whole.runs if run_record(outputs, run.id).configured]
    for run in begun[5:]:
        shutil.rmtree(run_record(killed, run.id).folder)
    where = dataclasses.replace(whole.arms[0].settings.where, outputs=str(killed))
    arms = [dataclasses.replace(arm, settings=dataclasses.replace(arm.settings, where=where)) for arm in whole.arms]
    assert carried_out(dataclasses.replace(whole, arms=arms), killed) == found


def test_a_search_of_other_arms_or_of_too_little_is_refused(study):
    with pytest.raises(SettingsError, match=r"race=search: must be another: the arm m112 differs in step_tokens"):
        study(step_tokens=1024)
    with pytest.raises(SettingsError, match=r"^study.budget.spend=0.3: must be at least 0.357: a search of 14 arms"):
        study(dataclasses.replace(SEARCH, spend=0.3))
