"""From a multirun's overrides to a plan."""

import pytest
import yaml

from ablate.run.parse import from_config
from ablate.run.settings import SettingsError
from ablate.sweep.launcher import plan_of

ARMS = {"name": "s", "factor": ["mixture"], "arms": {"more": ["mixture.share=0.4"]}}


def compose(study: dict):
    """Composition without Hydra: each override is a dotted key and a YAML value."""

    def composed(overrides: list[str]):
        config: dict = {"study": study}
        for override in overrides:
            key, value = override.split("=", 1)
            *groups, name = key.split(".")
            part = config
            for group in groups:
                part = part.setdefault(group, {})
            part[name] = yaml.safe_load(value)
        return from_config(config)

    return composed


def test_named_arms():
    plan = plan_of([["tokens=50000"]], compose(ARMS))
    assert [arm.name for arm in plan.arms] == ["base", "more"]
    assert all(arm.settings.tokens == 50_000 for arm in plan.arms)
    assert plan.study.seeds == [0, 1, 2]


@pytest.mark.parametrize("key", ["study.margin", "where.threads", "data.focus"])
def test_what_all_arms_have_is_not_swept(key):
    with pytest.raises(SettingsError, match=f"{key}: is swept, but all arms have the same {key}"):
        plan_of([[f"{key}=1"], [f"{key}=2"]], lambda overrides: from_config({}))


@pytest.mark.parametrize("seed", ["a", "0.5", "-1", "9223372036854775808"])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(SettingsError, match=f"seed={seed}: must be a whole number"):
        plan_of([[f"seed={seed}"], ["seed=1"]], compose(ARMS))


def test_swept_seeds_are_the_seeds_of_the_study():
    plan = plan_of([["seed=3"], ["seed=4"]], compose(ARMS))
    assert plan.study.seeds == [3, 4]
    assert len(plan.runs) == 4


def test_an_arm_is_called_without_the_escapes_of_hydra():
    jobs = [[rf"objective=a\:{letter}"] for letter in "bc"]
    plan = plan_of(jobs, compose({}))
    assert [arm.name for arm in plan.arms] == ["objective=a:b", "objective=a:c"]


def test_each_combination_of_swept_parameters_is_an_arm():
    jobs = [
        [f"seed={s}", f"schedule.decay={d}", f"optimizer.lr={lr}"]
        for s in (0, 1)
        for d in (0.2, 1.0)
        for lr in (0.003, 0.01)
    ]
    plan = plan_of(jobs, compose({}))
    assert len(plan.arms) == 4
    assert plan.arms[0].name == "schedule.decay=0.2, optimizer.lr=0.003"  # what the defaults are
    assert plan.study.seeds == [0, 1]
    assert set(plan.study.factor) == {"schedule.decay", "optimizer.lr"}
    assert plan.study.name.startswith("sweep-")


def test_a_swept_path_of_text_is_a_factor_beside_others():
    jobs = [[f"data.root={root}", f"optimizer.lr={lr}"] for root in ("a", "b") for lr in (0.003, 0.01)]
    jobs = [["data.source=folder", *words] for words in jobs]
    assert plan_of(jobs, compose({})).study.factor == ["data.root", "optimizer.lr"]


def test_the_base_is_the_unswept_configuration_wherever_it_stands():
    jobs = [[f"optimizer.lr={lr}"] for lr in (0.01, 0.003)]
    assert plan_of(jobs, compose({})).arms[0].name == "optimizer.lr=0.003"


def test_arms_and_swept_parameters_do_not_mix():
    with pytest.raises(SettingsError, match=r"optimizer\.lr: a study with arms"):
        plan_of([["optimizer.lr=0.1"], ["optimizer.lr=0.2"]], compose(ARMS))


def test_seeds_alone_are_a_study_of_the_base_with_a_name():
    plan = plan_of([["seed=0"], ["seed=1"]], compose({}))
    assert [arm.name for arm in plan.arms] == ["base"]
    assert plan.study.name.startswith("sweep-")
    assert {run.settings.study.name for run in plan.runs} == {plan.study.name}


def test_a_grid_has_an_arm_for_every_combination_but_the_base():
    grid = {"rate": {"low": [], "high": ["optimizer.lr=0.1"]}, "decay": {"short": [], "long": ["schedule.decay=0.5"]}}
    plan = plan_of([["tokens=50000"]], compose({"factor": ["optimizer", "schedule"], "grid": grid}))
    assert [arm.name for arm in plan.arms] == ["base", "low long", "high short", "high long"]
    assert plan.arms[3].settings.optimizer.lr == 0.1
    assert plan.arms[3].settings.schedule.decay == 0.5
