"""--help: every key with its value, what it may be and what it means, at 80 columns."""

import re

import pytest

from ablate import power, prepare, train
from ablate.run.describe import describe


def shown(capsys, command, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        command.main(list(words))
    assert not stop.value.code
    return capsys.readouterr().out


def test_every_key_has_its_words(capsys):
    text = shown(capsys, train, "--help")
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    for one in describe():
        head = f"{one.key}: " if one.is_group else f"{one.key}="
        assert head in text
        assert " ".join(one.words.split())[1:] in flat, one.key
    assert "tokens=300000 whole number, at least 0 Of the whole run, rounded down to whole steps. 0, with" in flat


def test_keys_stand_below_their_own_group(capsys):
    text = shown(capsys, train, "--help")
    heading, group = {}, ""
    for line in text.splitlines():
        if found := re.match(r"([a-z_.]+): ", line):
            group = found[1]
        elif found := re.match(r"  ([a-z_.]+)=\S", line):
            heading[found[1]] = group if "." in found[1] else ""
    assert heading["model.norm_eps"] == "model"
    assert heading["model.mamba.state"] == "model.mamba"
    assert all(key.rpartition(".")[0] == group for key, group in heading.items())


def test_one_group_with_the_values_of_the_command_line(capsys):
    text = shown(capsys, train, "schedule=cosine", "optimizer.lr=7e-4", "--help", "schedule")
    assert (
        "schedule.shape=cosine   text\n      Of the decay: linear, cosine, sqrt, exponential, or one of yours" in text
    )
    assert "schedule.decay=1.0 " in text
    assert "wsd               warmup, stable, decay (MiniCPM" in text
    assert "optimizer" not in text
    assert "optimizer.lr=0.0007 " in shown(capsys, train, "optimizer.lr=7e-4", "--help", "optimizer.lr")


def test_studies_are_listed_with_what_they_ask_and_ones_own_among_them(capsys, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\n# Is it mine? No\nstudy: {name: mine}\n")
    text = shown(capsys, train, "--config-dir", str(tmp_path), "--help", "experiment")
    assert "choices: +experiment=NAME" in text
    assert "  mine              Is it mine? No" in text
    assert "  mix_sweep         How much worked QA helps the rest.\n" in text


def test_other_commands_show_what_concerns_them(capsys):
    assert "data.root=''   text" in (text := shown(capsys, prepare, "--help"))
    assert "optimizer.lr" not in text
    assert "study.margin=0.01 " in (text := shown(capsys, power, "mix_sweep", "--help"))
    assert "--noise SD" in text
    assert "data.root" not in text


def test_what_is_no_group_is_one_line(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help", "shedule"])
    error = capsys.readouterr().err
    assert error.startswith("error: --help shedule: no such group or key; groups are averaging, compress, controls, ")
    assert error.count("\n") == 1
