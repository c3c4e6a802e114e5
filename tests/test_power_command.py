"""The planner as a command: what it prints, and every mistake in one line."""

from pathlib import Path

import pytest

from ablate.power import main
from ablate.verdict.book import keep
from ablate.verdict.evidence import read
from ablate.verdict.registry import BOOK
from tests.verdict.worlds import World, write

GIVEN = ["--noise", "0.004", "--margin", "0.01", "--arms", "5"]


def said(capsys, *arguments: str) -> str:
    main(list(arguments))
    return " ".join(capsys.readouterr().out.split())


def test_without_a_study(capsys):
    text = said(capsys, *GIVEN, "--seeds", "3")
    assert "5 arms, margin 0.01, confidence 0.95, power 0.8; noise of a pair 0.004 as given" in text
    assert "3 * 18 – – 0.0150 44% 47%" in text
    assert "Take 5 seeds, not 3: an effect of 0.01 is seen with 5 seeds" in text


def test_enough_and_never_enough(capsys):
    assert "The 5 seeds declared are enough" in said(capsys, *GIVEN, "--seeds", "5")
    assert "More than 1000 seeds would be needed" in said(capsys, *GIVEN[2:], "--noise", "1")


def test_a_study_on_disk_brings_its_noise_and_its_cost(capsys, tmp_path):
    write(tmp_path, World())
    text = said(capsys, "mix_sweep", "--outputs", str(tmp_path))
    assert "3 arms, margin 0.01" in text
    assert "from mix_sweep" in text
    assert "4 * 16 317 TFLOP" in text


@pytest.mark.slow
def test_a_study_out_of_the_lab_book_and_its_noise_for_an_experiment(capsys, tmp_path):
    outputs = tmp_path / "outputs"
    keep(read(write(tmp_path / "elsewhere", World())), tmp_path / BOOK / "mix_sweep")
    assert "from mix_sweep" in said(capsys, str(tmp_path / BOOK / "mix_sweep"), "--outputs", str(outputs))
    text = said(capsys, "+experiment=mix_sweep", "controls=none", f"where.outputs={outputs}")
    assert "from arms of another size or text, mix_sweep (3 arms; mixture; 1.1M parameters, 3M tokens)" in text


def test_a_study_outside_of_the_clone(capsys, tmp_path):
    (tmp_path / "experiment").mkdir()
    text = Path("conf/experiment/mix_sweep.yaml").read_text(encoding="utf-8").replace("mix_sweep", "mine")
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    words = [
        "--config-dir",
        str(tmp_path),
        "+experiment=mine",
        "controls=none",
        "--noise",
        "0.01",
        f"where.outputs={tmp_path}",
    ]
    assert "3 arms, margin 0.01" in said(capsys, *words)


def test_an_experiment_with_its_cost(capsys, tmp_path):
    words = ["--noise", "0.004", "--seeds", "5", f"where.outputs={tmp_path}"]
    text = said(capsys, "+experiment=schedule_sweep", *words)
    assert "3 arms" in text
    assert "5 * 20" in text
    assert "shared beginnings save" in text


def test_a_picture(capsys, tmp_path):
    said(capsys, *GIVEN, "--figure", str(tmp_path / "new" / "power.png"))
    assert (tmp_path / "new" / "power.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "without a study --noise, --margin and --arms must be given"),
        (["one", "two"], "one two: must be the name of one study, or overrides like +experiment=NAME"),
        (["nosuch"], "no study 'nosuch'"),
        (["+experiment=nosuch"], "experiment=nosuch: no such choice"),
        (["+experiment=mix_sweep", "tokns=3"], "tokns: no such setting; did you mean tokens?"),
        (["+experiment=mix_sweep"], "has measured the noise of rest; give it with --noise"),
        ([*GIVEN, "--noise", "0"], "--noise 0.0: must be above 0"),
        ([*GIVEN, "--power", "0.4"], "--power 0.4: must be above 0.5 and below 0.999999"),
        ([*GIVEN, "--seeds", "0"], "--seeds 0: must be at least 1"),
        ([*GIVEN, "--margin", "0"], "--margin 0.0: must be above 0"),
        ([*GIVEN, "--noise-df", "-1"], "--noise-df -1.0: must be at least 0"),
        ([*GIVEN, "--figure", "x.pdf"], "--figure: x.pdf: must end with .png"),
    ],
)
def test_mistakes_are_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
