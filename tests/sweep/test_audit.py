"""Before the first run: arms are scored on one text, and each takes other steps than the base."""

from typing import Any

import pytest

from ablate.run.settings import SettingsError
from ablate.run.study import Study
from ablate.sweep.launcher import prepared
from ablate.sweep.study import Plan, plan

SHORT: dict[str, Any] = {"length": {"lengths": [64], "starts": [0]}}


@pytest.fixture
def studied(tiny):
    """studied({"optimizer": {"lr": 1}}): a study of the base and an arm that changes this, prepared."""

    def make(change: dict[str, Any], seeds: tuple[int, ...] = (0, 1, 2), **both: Any) -> Plan:
        study = Study(name="s", factor=list(change), seeds=list(seeds))
        arm = {key: both.get(key, {}) | value if isinstance(value, dict) else value for key, value in change.items()}
        return prepared(plan(study, tiny(**SHORT | both), {"arm": tiny(**SHORT | both | arm)}))

    return make


@pytest.mark.parametrize(
    "change", [{"evaluation": {"spans": 2}}, {"data": {"vocabulary": 400}}, {"data": {"validation": 0.2}}]
)
def test_an_arm_that_is_scored_on_other_text_is_refused(studied, change):
    with pytest.raises(SettingsError, match=r"study.arms.arm: is scored on other held-out text of domain general than"):
        studied(change)


def test_an_arm_that_is_scored_on_other_domains_is_refused(studied):
    with pytest.raises(SettingsError, match=r"arm: is scored on general, code, the base on general, code, qa"):
        studied({"data": {"domains": ["general", "code"]}, "mixture": {}})


def test_domains_in_another_order_are_the_same_text(studied):
    assert studied({"data": {"domains": ["qa", "code", "general"]}}).arms[1].difference


@pytest.mark.parametrize(
    ("change", "both", "seeds"),
    [
        ({"mixture": {"share": 0.002}}, {"mixture": {"share": 0.0}}, "seeds 1, 2"),  # a third of a row of 160
        ({"schedule": {"warmup": 0.05}}, {"schedule": {"warmup": 0.0}, "tokens": 19 * 512}, "seeds 0, 1, 2"),
        ({"evaluation": {"times": 2}}, {}, "seeds 0, 1, 2"),
    ],
)
def test_an_arm_that_takes_the_steps_of_the_base_is_refused(studied, change, both, seeds):
    with pytest.raises(SettingsError, match=f"study.arms.arm: is the base itself in {seeds}: .*; it differs in "):
        studied(change, **both)


@pytest.mark.parametrize(
    ("change", "both"),
    [
        ({"mixture": {"share": 0.1}}, {"mixture": {"share": 0.0}}),
        ({"schedule": {"warmup": 0.2}}, {"schedule": {"warmup": 0.0}, "tokens": 19 * 512}),
        ({"tokens": 9 * 1024}, {}),
        ({"averaging": {"kind": "ema"}}, {}),
        ({"optimizer": {"eps": 1e-6}}, {}),
        ({"optimizer": {"lerac": {"lowest": 0.5}}}, {}),
    ],
)
def test_an_arm_that_takes_other_steps_is_not(studied, change, both):
    assert len(studied(change, **both).runs) == 6
