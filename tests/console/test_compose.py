"""Hydra's side of the commands: the user's own folder, and what it says about a wrong word."""

from argparse import Namespace

import pytest

from ablate.console import compose
from ablate.console.words import SettingsParser
from ablate.run.settings import Settings, UserError

MINE = """# @package _global_
study: {name: mine, factor: [schedule.warmup]}
tokens: 4096
"""


def line(*words: str) -> Namespace:
    return SettingsParser("train", "").read(list(words))


@pytest.fixture
def own(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(MINE)
    (tmp_path / "size").mkdir()
    (tmp_path / "size" / "nano.yaml").write_text("{width: 32, depth: 1, heads: 2, kv_heads: 1, hidden: 64}")
    return tmp_path


def composed(*words: str) -> Settings:
    found: list[Settings] = []
    compose.single(line(*words), found.append)
    return found[0]


def test_a_study_may_live_outside_the_clone(own):
    settings = composed("+experiment=mine", "--config-dir", str(own), "seed=4")
    assert (settings.study.name, settings.tokens, settings.seed) == ("mine", 4096, 4)


def test_a_file_of_ones_own_stands_before_ours(own):
    assert composed().size.width == 128
    assert composed(f"--config-dir={own}").size.width == 32


def test_the_choices_are_those_of_both_folders(own):
    assert "mine" in compose.groups(line("--config-dir", str(own)))["experiment"]
    with pytest.raises(UserError, match=r"experiment=my: no such choice; there are .*mine, mix_sweep"):
        composed("+experiment=my", "--config-dir", str(own))


def test_a_folder_that_is_not_there(own):
    with pytest.raises(UserError, match="--config-dir nowhere: must be a folder"):
        composed("--config-dir", "nowhere")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("hydra/sweeper=nope", r"hydra/sweeper=nope: no such choice; there are basic, .*study"),
        ("hydra/launcher=nope", r"hydra/launcher=nope: no such choice; there are basic, .*study"),
        ("size=4", r"size=4: must be the name of a choice; there are davinci, "),
    ],
)
def test_a_wrong_choice_names_those_there_are(word, message):
    with pytest.raises(UserError, match=message):
        composed(word)


def test_the_folder_of_the_records_is_a_setting():
    assert composed("--outputs", "elsewhere").where.outputs == "elsewhere"


def test_a_multirun_is_its_combinations():
    _, _, jobs = compose.loaded(line("seed=0,1", "tokens=4096"))
    assert jobs == [["seed=0", "tokens=4096"], ["seed=1", "tokens=4096"]]
