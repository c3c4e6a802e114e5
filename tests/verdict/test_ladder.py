import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ablate.page import ladder as shown
from ablate.page import page
from ablate.run.rungs import Rung, check, rungs, whole_of
from ablate.run.settings import Settings, SettingsError
from ablate.run.study import Ladder, Study
from ablate.run.study_record import study_record
from ablate.run.whole import read as whole_read
from ablate.run.whole import write as whole_write
from ablate.sweep.ladder import studies_of
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.ladder import read_ladder
from ablate.verdict.statistics.ladder import Rungs, held, turned
from tests.verdict.worlds import World, write

MIXTURES = Path(__file__).parents[3] / "shared/tables/sail-sg+regmix/data"
SIZES = np.array([1e6, 1e7, 1e8])


def told(*effects: float, error: float = 0.001, target: float = 1e9):
    return held(Rungs(SIZES[: len(effects)], np.array([effects]), np.full((1, len(effects)), error)), target, 0.05)[0]


def test_a_steady_effect_keeps_its_sign_and_a_falling_one_may_not():
    steady, falling, none = told(-0.03, -0.03, -0.03), told(-0.03, -0.02, -0.005), told(0.0, 0.0, 0.0)
    assert steady.flip < 0.01 < 0.05 < falling.flip < none.flip == 0.5
    assert steady.interval[0] < steady.effect < steady.interval[1] < 0


def test_farther_is_less_certain_and_noise_is_carried():
    near, far = told(-0.03, -0.025, target=2e7), told(-0.03, -0.025, target=1e11)
    assert near.flip < far.flip
    assert told(-0.03, -0.025, error=0.02).flip > told(-0.03, -0.025).flip


def test_equal_measurements_are_averaged():
    found = told(-0.010, -0.020, error=0.05)  # far noisier than any wander
    assert found.effect == pytest.approx(-0.015, abs=0.001)


@pytest.mark.skipif(not MIXTURES.exists(), reason="the tables are not here")
def test_what_a_card_says_of_effects_of_a_size_is_what_the_table_shows():
    losses = [np.loadtxt(MIXTURES / f"test_pile_loss_{s}.csv", delimiter=",", skiprows=1)[:, 1:] for s in ("1m", "60m")]
    small, large = (np.column_stack([one, one.mean(1)]) for one in losses)
    i, j = np.triu_indices(len(small), 1)
    effects, other = (small[i] - small[j]) / small[j], (small[i] - small[j]) * (large[i] - large[j]) < 0
    for low, below, share in map(turned, [0, 0.003, -0.007, 0.015, -0.03, 0.3]):
        inside = (np.abs(effects) >= low) & (np.abs(effects) < below)
        assert other[inside].mean() == pytest.approx(share, abs=0.005)


def test_the_names_of_rungs():
    ladder = Ladder(sizes=["pico", "nano"], rates=[1.0, 0.5])
    assert [one.suffix for one in rungs(ladder)] == ["_pico", "_pico_lr0.5", "_nano", "_nano_lr0.5"]
    declared = {"ladder": dataclasses.asdict(ladder)}
    assert {whole_of(f"mix{one.suffix}", declared)[0] for one in rungs(ladder)} == {"mix"}
    assert rungs(Ladder()) == []
    assert whole_of("mix", {}) == ("", [])
    assert rungs(Ladder(rates=[0.5, 1.0]))[0] == Rung("", 0.5)


@pytest.mark.parametrize(
    ("ladder", "line"),
    [
        (Ladder(sizes=["nano"]), "two sizes or more"),
        (Ladder(sizes=["nano", "nano"]), "without repeats"),
        (Ladder(rates=[0.5, 2.0]), "must have 1"),
        (Ladder(rates=[1.0, 2.0, 2.0000001]), "without repeats"),  # their studies would have one name
        (Ladder(tokens_per_parameter=20), "must be 0 without study.ladder.sizes"),
        (Ladder(target=10), "must be 0 without study.ladder.sizes"),
    ],
)
def test_what_is_no_ladder(ladder, line):
    with pytest.raises(SettingsError, match=line):
        check(ladder)


def rung(outputs: Path, suffix: str, times: float, effects: dict[str, float]) -> Evidence:
    """A study of the ladder `mix`, of a model so many times larger."""
    world = World(effects=effects, null_arm=None, phase=suffix)
    study = write(outputs, world, f"mix{suffix}")
    ladder = dataclasses.asdict(Ladder(sizes=["pico", "nano"], rates=[1.0, 0.5]))
    study.write(study.read() | {"ladder": ladder})
    for run in {id for runs in study.read()["runs"].values() for id in runs.values()}:
        path = outputs / "runs" / run / "result.json"
        result = whole_read(path)
        whole_write(path, result | {"parameters": times * result["parameters"]})
    return read(study)


def test_the_ladder_of_a_study_on_a_page_and_in_a_terminal(tmp_path):
    seen = rung(tmp_path, "_pico", 1, {"qa_20": -0.03, "qa_40": 0.02})
    alone = read_ladder(seen)
    assert alone is not None
    assert (alone.held, alone.missing) == ({}, 3)
    rung(tmp_path, "_pico_lr0.5", 1, {"qa_20": -0.04, "qa_40": -0.02})
    rung(tmp_path, "_nano", 10, {"qa_20": -0.03, "qa_40": 0.001})
    found = read_ladder(seen)
    assert found is not None
    assert (found.of, found.missing, found.target) == ("mix", 1, 10 * found.sizes[1].parameters)
    assert found.held["qa_20"].flip < 0.1 < found.held["qa_40"].flip
    assert math.isclose(found.held["qa_20"].effect, found.sizes[1].share("qa_20")[0], rel_tol=0.2)
    study = study_record(tmp_path, "mix_nano")
    declared = study.read()
    study.write(declared | {"ladder": declared["ladder"] | {"tokens_per_parameter": 5.0}})  # another ladder's
    other = read_ladder(seen)
    assert other is not None
    assert [step.rung.size for step in other.sizes] == ["pico"]
    study.write(declared)
    backwards = dataclasses.replace(found, steps=found.steps[::-1])
    assert backwards.held["qa_20"] == found.held["qa_20"]
    short = dataclasses.replace(found, asked=found.sizes[1].parameters)
    assert short.held == {}
    assert "not one larger than the other" in short.why_not
    (tmp_path / "studies" / "mix_pico_lr0.5" / "study.json").write_text("{}")
    damaged = read_ladder(seen)
    assert damaged is not None
    assert damaged.missing == 2
    assert found.best_rate("qa_20", "pico") == 0.5
    assert found.best_rate("qa_20", "nano") is None
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(shown.shown(found))
    text = console.export_text()
    assert "better at 0.5 x" in text
    assert "1 of 4 studies have no result yet" in text
    html = page.write(seen.study).read_text()
    assert "Will it hold at another size?" in html
    assert (tmp_path / "studies" / "mix_pico" / "report" / "ladder.png").exists()


def test_a_ladder_named_on_the_command_line():
    """And what a ladder sets is refused however it is written, also where it is swept."""
    ladder = Ladder(sizes=["pico", "nano"])
    settings = Settings(study=Study(name="mix", ladder=ladder))
    found = studies_of([["study.name=mix", "optimizer.lr=1"]], lambda words: settings)
    assert found == [[["optimizer.lr=1", f"size={size}", f"study.name=mix_{size}"]] for size in ladder.sizes]
    rates = Settings(study=Study(name="mix", ladder=Ladder(rates=[1.0, 2.0])))
    found = studies_of([["optimizer.lr=3e-3"]], lambda words: rates)
    twice = rates.optimizer.lr * 2
    assert found == [[["optimizer.lr=3e-3", "study.name=mix"]], [["study.name=mix_lr2", f"optimizer.lr={twice!r}"]]]
    called = Settings(study=Study(name="mix_lr2", ladder=Ladder(rates=[1.0, 2.0])))
    with pytest.raises(SettingsError, match="must not end like one of its studies"):
        studies_of([[]], lambda words: called)
    for jobs in ([["++size=nano"]], [["size=pico"], ["size=nano"]]):
        with pytest.raises(SettingsError, match=r"size: is set by study\.ladder"):
            studies_of(jobs, lambda words: settings)
