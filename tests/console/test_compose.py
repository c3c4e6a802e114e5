"""Hydra's side of the commands: the user's own folder, and what it says about a wrong word."""

from argparse import Namespace

import pytest

from ablate import prepare, train
from ablate.console import compose
from ablate.console.words import SettingsParser
from ablate.run.identity import difference
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
    with pytest.raises(UserError, match=r"experiment=my: no such choice; there are .*mine, mix_ladder"):
        composed("+experiment=my", "--config-dir", str(own))


def test_a_folder_that_is_not_there(own):
    with pytest.raises(UserError, match="--config-dir nowhere: must be a folder"):
        composed("--config-dir", "nowhere")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("seed=0,1", r"seed=0,1: with -m every value is tried; one value that is a list is seed=\[0,1\]"),
        ("optimizer=null", r"optimizer=null: must be the name of a choice; there are adamw, "),
        ("optimizer=[]", r"optimizer=\[\]: must be the name of a choice; there are adamw, "),
        ("recipe=null", r"recipe=null: must be the name of a choice; there are davinci, "),
        ("+system=null", r"\+system=null: must be the name of a choice; there are davinci, "),
        ("size=4", r"size=4: must be the name of a choice; there are davinci, "),
    ],
)
def test_a_wrong_choice_names_those_there_are(word, message):
    with pytest.raises(UserError, match=message):
        composed(word)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("hydra/sweeper=nope", r"hydra/sweeper=nope: no such choice; there are basic, .*study"),
        ("hydra/launcher=nope", r"hydra/launcher=nope: no such choice; there are basic, .*study"),
        ("hydra/sweeper=optuna", r"comes with pip install 'ablate\[optuna\]'"),
        ("tokens=range(0,100000000)", r"tokens: must have at most 10,000 combinations"),
        ("tokens=4096,8192,4096", r"tokens=4096: is swept twice"),
        ("optimizer.lr=glob(*)", r"optimizer.lr=glob\(\*\): has no value to try"),
    ],
)
def test_a_wrong_word_of_a_multirun(word, message):
    with pytest.raises(UserError, match=message):
        compose.multiple(line(word), print)


def test_the_folder_of_the_records_is_a_setting():
    assert composed("--outputs", "elsewhere").where.outputs == "elsewhere"


def test_a_multirun_is_its_combinations():
    _, _, jobs = compose.loaded(line("seed=0,1", "tokens=4096"))
    assert jobs == [["seed=0", "tokens=4096"], ["seed=1", "tokens=4096"]]


def test_on_a_gpu_runs_train_in_bfloat16_and_the_id_shows_it():
    cpu, gpu = composed(), composed("where=gpu")
    assert (cpu.precision, gpu.precision) == ("fp32", "bf16-mixed")
    assert list(difference(cpu, gpu)) == ["precision"]
    assert gpu.where.device == "cuda"
    assert (gpu.where.micro_tokens, gpu.where.tf32) == (0, True)
    assert difference(cpu, composed("where=gpu", "precision=fp32")) == {}
    assert composed("where=cluster").precision == "bf16-mixed"
    assert composed("where=ddp").precision == "fp32"


def test_small_models_share_a_gpu():
    one, small = composed("where=gpu"), composed("where=gpu_small")
    assert difference(one, small) == {}
    assert (small.where.device, one.where.runs_per_device, small.where.runs_per_device) == ("cuda", 1, 4)


def test_a_recipe_says_its_own_precision_wherever_it_runs():
    assert composed("+system=davinci").precision == "bf16-mixed"
    assert composed("+system=davinci", "size=nano", "where=gpu").precision == "fp32"


def test_a_machine_of_ones_own_begins_with_one_of_ours(own):
    (own / "where").mkdir()
    (own / "where" / "mine.yaml").write_text("defaults: [gpu]\nwandb: 'off'\nruns_per_device: 4")
    settings = composed("where=mine", "--config-dir", str(own))
    assert (settings.precision, settings.where.wandb, settings.where.runs_per_device) == ("bf16-mixed", "off", 4)
    assert settings.where.device == "cuda"


def test_preparing_a_whole_study_trains_nothing(outputs, capsys):
    tiny = ["size=tiny", "data.domain_bytes=150000", "data.vocabulary=512", "data.span=64", f"where.outputs={outputs}"]
    prepare.main(["-m", *tiny, "optimizer.lr=0.001,0.002", "study.name=s", "where.progress=false"])
    shown = capsys.readouterr().out
    assert shown.count("bytes a token") == 1
    assert {"runs", "studies"}.isdisjoint(path.name for path in outputs.iterdir())


@pytest.mark.parametrize("word", ["schedule.shape=nope", "objective=nope", "model.pattern=Z", "model.pattern="])
def test_the_plan_of_a_run_refuses_what_the_run_would(word, capsys):
    with pytest.raises(SystemExit):
        train.main(["where.dry_run=true", word])
    said = capsys.readouterr().err
    assert said.startswith(f"error: {word.partition('=')[0]}=")
    assert ": must be " in said
    assert said.count("\n") == 1


def test_a_study_that_is_refused_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    """Hydra's own sweeper writes multirun.yaml before anything is composed."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        train.main(["+experiment=mix_sweep", "-m", "study.margin=-1"])
    assert capsys.readouterr().err.startswith("error: study.margin=-1: must be ")
    assert not list(tmp_path.iterdir())
