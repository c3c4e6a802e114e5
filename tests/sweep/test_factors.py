"""A study of factors: its arms, and what is refused before the first run."""

import pytest

from ablate.run.record import study_record
from ablate.run.settings import SettingsError, Study
from ablate.sweep.factors import arms
from ablate.sweep.launcher import plan_of
from ablate.sweep.study import declare, with_fingerprints
from tests.sweep.test_launcher import compose

FACTORS = {
    "qk_norm": ["model.qk_norm=true"],
    "relu2": ["model.feed=relu2"],
    "muon": ["optimizer.name=muon"],
    "ema": ["averaging.kind=ema"],
}
STUDY = {"name": "s", "factor": ["model", "optimizer", "averaging"], "factors": FACTORS, "num_arms": 8}


def planned(**changes):
    return plan_of([["tokens=50000"]], compose(STUDY | changes))


def test_arms_are_a_fraction_named_by_their_factors():
    plan = planned()
    assert len(plan.arms) == 8
    assert plan.arms[0].name == "base"
    for arm in plan.arms[1:]:
        on = arm.name.split("+")
        assert (arm.settings.model.qk_norm, arm.settings.model.feed == "relu2") == ("qk_norm" in on, "relu2" in on)
        assert len(arm.difference) == len(on)
        assert arm.settings.tokens == 50_000


def test_the_fewest_arms_of_the_resolution():
    assert len(planned(num_arms=0).arms) == 8
    assert len(planned(num_arms=0, resolution=5).arms) == 16


def test_no_factors_no_arms_and_the_declaration_as_it_was(tmp_path):
    assert arms(Study()) == {}
    whole = plan_of(
        [["tokens=50000"]], compose({"name": "s", "factor": ["model"], "arms": {"q": ["model.qk_norm=true"]}})
    )
    declare(with_fingerprints(whole, ["data"] * 2), study_record(tmp_path, "s"))
    assert "factors" not in study_record(tmp_path, "s").read()
    declare(with_fingerprints(planned(), ["data"] * 8), study_record(tmp_path, "f"))
    found = study_record(tmp_path, "f").read()
    assert (found["factors"], found["num_arms"]) == (FACTORS, 8)
    assert len(found["runs"]) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factor": ["model", "optimizer"]}, r"study\.factors\.ema: .*averaging\.kind"),
        ({"factors": FACTORS | {"ema": []}}, r"study\.factors\.ema: changes nothing"),
        (
            {"factors": FACTORS | {"ema": ["optimizer.name=adamw8bit"]}},
            r"study\.factors\.ema: changes optimizer\.name, which muon changes too",
        ),
        ({"num_arms": 6}, r"study\.num_arms=6: 6 arms for 4 factors: must be one of 8, 16"),
        ({"arms": {"x": ["model.qk_norm=true"]}}, r"study\.arms=.*empty with study\.factors"),
        ({"budget": {"race": "verdicts"}}, r"study\.budget\.race=verdicts: must be none"),
        ({"factors": {"a+b": [], "c": []}}, "a name without"),
        ({"factors": {"base": [], "c": []}}, "not the base"),
    ],
)
def test_refused_in_one_line(changes, message):
    with pytest.raises(SettingsError, match=message) as error:
        planned(**changes)
    assert "\n" not in str(error.value)


def test_factors_that_undo_each_other_are_refused():
    # alone each changes its own key; together the second takes the first one's back
    factors = FACTORS | {"ema": ["averaging.kind=ema", "model.feed=swiglu"]}
    with pytest.raises(SettingsError, match=r"together, .*ema.* make model\.feed as in the base; one by one .* relu2"):
        planned(factors=factors)


def test_factors_and_swept_parameters_do_not_mix():
    with pytest.raises(SettingsError, match="a study with arms of its own"):
        plan_of([["tokens=50000"], ["tokens=60000"]], compose(STUDY))
