"""What a race knows of its noise from earlier studies."""

import dataclasses
import json

import pytest

from ablate.run.settings import Settings
from ablate.run.study import Budget, Study
from ablate.run.study_record import study_record
from ablate.sweep.study import Plan, plan
from ablate.sweep.wave import informed
from tests.verdict.worlds import TOKENS, World, write

SHARES = (12, 15, 20, 25, 30, 35, 40, 45)


@pytest.fixture
def raced(tmp_path):
    """raced(budget): a plan with one arm of another mixture, of the size and length of the studies of `worlds`."""

    def make(budget: Budget, **changes) -> Plan:
        base = dataclasses.replace(Settings(), tokens=TOKENS)
        base = dataclasses.replace(base, where=dataclasses.replace(base.where, outputs=str(tmp_path)))
        arm = dataclasses.replace(base, **(changes or {"mixture": dataclasses.replace(base.mixture, share=0.4)}))
        study = Study(name="now", factor=["mixture", "length"], budget=budget)
        return plan(study, base, {"arm": arm})

    return make


def earlier(tmp_path) -> None:
    effects = {f"qa_{share}": 0.0 for share in SHARES}
    write(tmp_path, World(evaluations=3, effects=effects, own_noise=0.002), "before")


def test_a_race_takes_its_noise_from_earlier_studies_and_keeps_it(tmp_path, raced):
    earlier(tmp_path)
    whole, record = raced(Budget(race="verdicts")), study_record(tmp_path, "now")
    budget = informed(whole, record).budget
    assert 0.0005 < budget.noise < 0.005
    assert budget.noise_df > 0
    kept = json.loads((record.folder / "noise.json").read_text())
    assert (kept["sd"], kept["df"]) == (budget.noise, budget.noise_df)
    assert "8 earlier arms (mixture.weights; before)" in kept["from"][0]
    (tmp_path / "studies" / "before" / "study.json").unlink()
    assert informed(whole, record).budget == budget


def test_what_the_study_says_itself_goes_first(tmp_path, raced):
    earlier(tmp_path)
    said = Budget(race="verdicts", noise=0.1, noise_df=5.0)
    assert informed(raced(said), study_record(tmp_path, "now")).budget == said
    assert informed(raced(Budget()), study_record(tmp_path, "now")).budget == Budget()
    assert not study_record(tmp_path, "now").folder.exists()


def test_arms_of_an_unknown_kind_race_with_nothing_known(tmp_path, raced):
    earlier(tmp_path)
    longer = raced(Budget(race="verdicts"), length=dataclasses.replace(Settings().length, lengths=[512]))
    budget = informed(longer, study_record(tmp_path, "now")).budget
    assert (budget.noise, budget.noise_df) == (0.0, 0.0)
