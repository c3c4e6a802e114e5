"""The command that suggests mixtures, on planted studies, and the study that it writes."""

import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console
from typed import typed

from ablate import suggest
from ablate.run import whole
from ablate.run.identity import canonical
from ablate.run.parse import from_plain
from ablate.verdict.evidence import read
from tests.worlds.study import design, names, validated, write

WORLD = validated(domains=3)
MIXTURES = design(domains=3, mixtures=12)


def settings_like(tiny, **changes):
    """A run's configuration with the domains of the world."""
    return tiny(data={"domains": names(WORLD), "focus": "code"}, **changes)


def trained(outputs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return typed("train", *words, "-m", "where.dry_run=true", f"where.outputs={outputs}")


def test_the_prediction_and_the_next_runs_are_shown(tmp_path, capsys):
    write(tmp_path, WORLD, MIXTURES)
    suggest.main(["planted", "--outputs", str(tmp_path), "--runs", "2"])
    shown = capsys.readouterr().out
    assert "Which mixture is best?" in shown
    assert "Predicted gain over base: +" in shown
    assert "as 3 fresh seeds will measure it, 95 %; the noise of a run is in it" in shown
    assert "next 2" in shown
    assert "next 3" not in shown
    assert all(name in shown for name in names(WORLD))


def test_suggested_mixtures_differ_and_none_is_expected_to_be_bad(tmp_path):
    found = suggest.suggest(read(write(tmp_path, WORLD, MIXTURES)), 6)
    expected = found.found.metric(found.following)[0]
    assert len(found.following) >= 2
    assert (expected <= np.median(found.study.swarm.metric)).all()
    apart = np.abs(found.following[:, None] - found.following).max(-1)
    assert (apart[~np.eye(len(apart), dtype=bool)] > suggest.DISTINCT).all()
    assert (found.doubt[0] <= found.mixture).all()
    assert (found.mixture <= found.doubt[1]).all()


def test_the_same_records_give_the_same_answer(tmp_path, capsys):
    write(tmp_path, WORLD, MIXTURES)
    for _ in range(2):
        suggest.main(["planted", "--outputs", str(tmp_path)])
    shown = capsys.readouterr().out
    assert shown[: len(shown) // 2] == shown[len(shown) // 2 :]


@pytest.mark.slow
def test_a_study_of_the_suggestions_is_written_that_training_accepts(tmp_path, outputs, tiny, capsys):
    """None of its runs is a run of the study that chose: not even the base's."""
    base = settings_like(tiny, mixture={"share": 0.5})
    write(outputs, WORLD, MIXTURES, base=base)
    suggest.main(["planted", "--outputs", str(outputs), "--write", "following", "--config-dir", str(tmp_path)])
    assert "+experiment=following -m" in capsys.readouterr().out
    path = tmp_path / "experiment" / "following.yaml"
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert written["study"]["name"] == "following"
    assert 2 <= len(written["study"]["arms"]) <= 4
    done = trained(outputs, f"--config-dir={tmp_path}", "+experiment=following", "where.workers=2")
    assert done.returncode == 0, done.stderr
    for arm in ("base", *written["study"]["arms"]):
        assert arm in done.stdout
    assert written["study"]["seeds"] == [3, 4, 5]


def test_fresh_seeds_lie_beyond_those_of_every_run_and_control(tmp_path):
    record = write(tmp_path, WORLD, MIXTURES, seeds=(0, 2, 7))
    declared = whole.read(record.folder / "study.json")
    declared["control_runs"] = {"base, further seeds": {"8": "planted-base-s0", "9": "planted-base-s2"}}
    whole.write(record.folder / "study.json", declared)
    assert suggest.suggest(read(record), 2).seeds == [10, 11, 12]


def test_an_arm_of_the_study_that_is_suggested_again_is_named(tmp_path, capsys):
    evidence = read(write(tmp_path, WORLD, MIXTURES))
    found = suggest.suggest(evidence, 1)
    again = dataclasses.replace(found, following=found.study.swarm.weights[[3]])
    suggest.show(evidence, again, Console(width=120))
    assert "next 1 is the arm m3: only fresh seeds can confirm it" in capsys.readouterr().out


@pytest.mark.parametrize("mixture", [{}, {"share": 0.35}, {"weights": {"science": 3, "code": 1}}])
def test_the_base_written_is_the_run_that_was_trained(tmp_path, outputs, tiny, mixture):
    base = settings_like(tiny, mixture=mixture)
    write(outputs, WORLD, MIXTURES, base=base)
    suggest.main(["planted", "--outputs", str(outputs), "--write", "following", "--config-dir", str(tmp_path)])
    written = yaml.safe_load((tmp_path / "experiment" / "following.yaml").read_text(encoding="utf-8"))
    written.pop("study")
    assert canonical(from_plain(written | {"seed": base.seed})) == canonical(base)


def test_a_stage_of_its_own_gets_the_weights(tmp_path, outputs, tiny):
    staged = settings_like(tiny, mixture={"stages": {"late": {"start": 0.7, "weights": {"general": 1}}}})
    write(outputs, WORLD, MIXTURES, base=staged, stage="0.7")
    suggest.main(["planted", "--outputs", str(outputs), "--write", "following", "--config-dir", str(tmp_path)])
    arms = yaml.safe_load((tmp_path / "experiment" / "following.yaml").read_text(encoding="utf-8"))["study"]["arms"]
    assert all(len(words) == 1 and words[0].startswith("mixture.stages.late.weights={") for words in arms.values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "no study 'nothing'"),
        (["planted", "--runs", "0"], "--runs 0: must be at least 1"),
        (["planted", "--write", "a/b"], "--write a/b: must be a name"),
        (["planted", "--write", "following"], "--write needs the records of planted"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, words, message):
    write(tmp_path, WORLD, MIXTURES)
    with pytest.raises(SystemExit):
        suggest.main([*words, "--outputs", str(tmp_path), "--config-dir", str(tmp_path)])
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_file_that_is_there_is_not_overwritten(tmp_path, outputs, tiny, capsys):
    write(outputs, WORLD, MIXTURES, base=settings_like(tiny))
    path = tmp_path / "experiment" / "following.yaml"
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(SystemExit):
        suggest.main(["planted", "--outputs", str(outputs), "--write", "following", "--config-dir", str(tmp_path)])
    assert "exists; choose another name" in capsys.readouterr().err
    assert path.read_text() == "mine"


def test_a_picture_is_drawn(tmp_path, capsys):
    write(tmp_path, WORLD, MIXTURES)
    suggest.main(["planted", "--outputs", str(tmp_path), "--figure", str(tmp_path / "new" / "response.png")])
    assert (tmp_path / "new" / "response.png").read_bytes().startswith(b"\x89PNG")


def test_with_one_seed_the_noise_is_unknown_and_said_so(tmp_path, capsys):
    record = write(tmp_path, WORLD, MIXTURES, seeds=(0,))
    suggest.main(["planted", "--outputs", str(tmp_path)])
    assert "noise of one run unknown with one seed" in capsys.readouterr().out
    assert json.loads((record.folder / "study.json").read_text())["seeds"] == [0]
