"""What Hydra would take in silence is refused in one line, and what does something is not."""

from pathlib import Path

import pytest

from ablate.console.compose import CONF
from ablate.run.fields import declared
from ablate.run.overrides import BESIDE, check_line, check_own
from ablate.run.settings import Settings, SettingsError

# words of a command line, whether it has -m, and what the line of the refusal holds
REFUSED = {
    "part of Hydra": (["hydra.run.dir=x"], True, "hydra.run.dir=x: must be left out"),
    "mode of Hydra": (["hydra.mode=MULTIRUN"], False, "hydra.mode=MULTIRUN: must be left out"),
    "part of Hydra that is not there": (["+hydra.callbacks.x=1"], True, "must be left out"),
    "code": (["hydra.launcher._target_=os.system"], True, "must be left out"),
    "launcher of one run": (["hydra/launcher=basic"], False, "is of a multirun"),
    "batches of our sweeper": (["hydra.sweeper.max_batch_size=1"], True, "hydra/sweeper=... chooses it"),
    "group that goes": (["~optimizer"], False, "~optimizer: cannot be taken away; optimizer=... puts another"),
    "key that goes": (["~optimizer.lr"], True, "~optimizer.lr: cannot be taken away"),
    "no arms": (["study.arms={}"], True, "study.arms={}: takes nothing away"),
    "no weights": (["mixture.weights={ }"], False, "~mixture.weights does"),
    "no group": (["optimizer={}"], False, "its keys are changed one by one"),
    "margin of one run": (["study.margin=5"], False, "study.margin=5: is of a study"),
    "arms of one run": (["+study.arms={x: [tokens=1]}"], False, "-m trains the study"),
    "arm of one run": (["where.arm=x"], False, "where.arm=x: must be left out"),
    "arm of all": (["where.arm=x"], True, "where.arm=x: must be left out"),
    "repeat of all": (["where.replicate=1"], True, "where.replicate=1: must be left out; a study says it"),
    "seeds in two ways": (["seed=0,1", "study.seeds=[2]"], True, "study.seeds: must be left out beside seed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_word_that_would_be_taken_in_silence(name):
    words, multirun, said = REFUSED[name]
    with pytest.raises(SettingsError) as refused:
        check_line(words, multirun)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "multirun"),
    [
        (["optimizer.lr=1", "optimizer.lr=2"], False),
        (["hydra/launcher=basic", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "optimizer.lr=1"], True),
        (["~study.arms", "~mixture.weights.qa", "~schedule.stages"], True),
        (["study.margin=5", "controls=none", "seed=0,1"], True),
        (["where.replicate=1"], False),
        (["study.name=x", "study.metric=qa", "controls=none", "+experiment=mix_sweep"], False),
    ],
)
def test_a_word_that_says_something(words, multirun):
    check_line(words, multirun)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["study.margin=5"], "a: study.margin=5: is the same in the whole study"),
        (["tokens=1", "controls=none"], "a: controls=none: is the same in the whole study"),
        (["hydra.verbose=true"], "a: hydra.verbose=true: is the same"),
        (["hydra/launcher=basic"], "a: hydra/launcher=basic: is the same"),
        (["tokens=1", "++tokens=2"], "a=['tokens=1', '++tokens=2']: must say tokens once"),
        (["optimizer=muon", "optimizer=adamw"], "must say optimizer once"),
        (["where.arm=x"], "a: where.arm=x: must be left out"),
        (["where.replicate=1"], "a: where.replicate=1: must be left out"),
        (["optimizer=5"], "a: optimizer=5: must be the name of a choice"),
        (["schedule=null"], "a: schedule=null: must be the name of a choice"),
        (["recipe=null"], "a: recipe=null: must be the name of a choice"),
        (["=5"], "a: =5: must be a setting and its value"),
        (["~optimizer"], "a: ~optimizer: cannot be taken away"),
    ],
)
def test_an_override_of_an_arm_that_does_not_count(overrides, said):
    with pytest.raises(SettingsError) as refused:
        check_own("a", overrides)
    assert said in str(refused.value)


def test_an_arm_may_choose_a_group_and_change_a_key_of_it():
    check_own("a", ["optimizer=muon", "optimizer.lr=1e-3", "~mixture.weights.qa"])


def test_groups_beside_the_settings_are_those_of_conf():
    assert {one.name for one in Path(CONF).iterdir() if one.is_dir()} - set(declared(Settings)) - {"controls"} == set(
        BESIDE
    )
