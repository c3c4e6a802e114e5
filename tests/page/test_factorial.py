"""Effects of factors: what is planted is found, noise is not, and a broken balance is said."""

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import binomtest

from ablate.fraction import fraction, saving
from ablate.page.factorial import allowed, effects, remarks, sentence, table
from ablate.run.record import StudyRecord
from ablate.verdict.evidence import read
from ablate.verdict.statistics.contrasts import contrasts, critical, levels, main_effects, pseudo_error
from ablate.verdict.statistics.paired import judge
from tests.verdict import worlds

FACTORS = tuple("abcdefg")
DESIGN = fraction(FACTORS, 16)
ARMS = ["base", *("+".join(on) for on in DESIGN.arms)]
SIGNS = np.array([levels(arm, "base", FACTORS) for arm in ARMS])
PLANTED = {"a": -0.02, "c": 0.015}


def effect_of(arm: str, interaction: float = 0.0) -> float:
    on = arm.split("+")
    return sum(PLANTED.get(name, 0.0) for name in on) + interaction * ({"a", "b"} <= set(on))


def write(folder, interaction=0.0, num_arms=16, **changes: Any) -> StudyRecord:
    """A study of seven factors on disk, two of which matter."""
    arms = ["+".join(on) for on in fraction(FACTORS, num_arms, 3).arms]
    planted = {arm: effect_of(arm, interaction) for arm in arms}
    plain = worlds.World(effects=planted, null_arm=None, seeds=(0, 1, 2), evaluations=4, tokens=300_000)
    study = worlds.write(folder, dataclasses.replace(plain, **changes), name="screen")
    declared = {"factors": {name: [] for name in FACTORS}, "num_arms": num_arms, "resolution": 3}
    study.write(study.read() | declared)
    return study


def test_planted_effects_are_found_and_named(tmp_path):
    results = effects(read(write(tmp_path)))
    words = {main.name: main.word for main in results.mains}
    assert words["a"] == "better"
    assert words["c"] == "worse"
    assert {words[name] for name in "bdefg"} <= {"equivalent", "inconclusive"}
    by_name = {main.name: main for main in results.mains}
    assert by_name["a"].interval[0] < PLANTED["a"] < by_name["a"].interval[1]
    assert results.seeds == (0, 1, 2)
    assert not results.provisional
    assert all(main.aliases == () for main in results.mains)
    assert len(results.interactions) == 7
    assert all(len(effect.aliases) == 2 for effect in results.interactions)
    assert sentence(results).startswith("With `a` it is better by 0.0")
    assert "1 better, 1 worse" in sentence(results)


def test_an_effect_is_the_mean_of_the_arms_with_it_minus_those_without(tmp_path):
    evidence = read(write(tmp_path))
    found = effects(evidence)
    finals = {arm: evidence.finals(arm, "macro") for arm in ARMS}
    for main in found.mains:
        for seed, value in main.by_seed.items():
            on = [finals[arm][seed] for arm in ARMS if main.name in arm.split("+")]
            off = [finals[arm][seed] for arm in ARMS if main.name not in arm.split("+")]
            assert value == pytest.approx(np.mean(on) - np.mean(off), abs=1e-12)


def test_an_interaction_is_half_of_what_the_other_changes(tmp_path):
    results = effects(read(write(tmp_path, interaction=0.03)))
    found = {effect.name: effect for effect in results.interactions}
    assert found["a x b"].mean == pytest.approx(0.015, abs=0.003)
    assert not found["a x b"].interval[0] <= 0 <= found["a x b"].interval[1]
    others = [effect for name, effect in found.items() if name != "a x b"]
    assert max(abs(effect.mean) for effect in others) < 0.004
    # of resolution four: the main effect of a, averaged over b, is moved by half of it and no other factor's is
    mains = {main.name: main.mean for main in results.mains}
    assert mains["a"] == pytest.approx(-0.02 + 0.015, abs=0.003)
    assert abs(mains["d"]) < 0.003


def test_the_noise_of_a_run_is_that_of_the_world(tmp_path):
    results = effects(read(write(tmp_path, seeds=tuple(range(6)), own_noise=0.002, evaluation_noise=0.0)))
    expected = 0.002 / np.sqrt(len(worlds.DOMAINS))  # of the mean of domains
    assert results.run_sd == pytest.approx(expected, rel=0.2)


def test_a_block_that_is_not_done_waits(tmp_path):
    results = effects(read(write(tmp_path, outcomes={(ARMS[3], 2): "not started", (ARMS[4], 2): "failed"})))
    assert results.seeds == (0, 1)
    assert results.provisional
    assert "seeds 2 left out" in results.notes[0]
    assert sentence(results).startswith("So far: ")


def test_a_diverged_run_takes_back_what_it_flatters(tmp_path):
    lost = next(arm for arm in ARMS if "a" in arm.split("+") and "c" not in arm.split("+"))
    results = effects(read(write(tmp_path, outcomes={(lost, 1): "diverged"})))
    assert results.seeds == (0, 1, 2)
    mains = {main.name: main for main in results.mains}
    assert mains["a"].mean == pytest.approx(-0.02, abs=0.003)  # least squares without interactions is right still
    assert (mains["a"].word, mains["c"].word) == ("inconclusive", "inconclusive")
    assert mains["a"].notes
    assert "1 runs diverged" in results.notes[0]
    assert results.interactions == ()
    # with the harmful factor on in it, `worse` stands
    lost = next(arm for arm in ARMS if {"a", "c"} <= set(arm.split("+")))
    harmful = {main.name: main for main in effects(read(write(tmp_path / "2", outcomes={(lost, 1): "diverged"}))).mains}
    assert (harmful["a"].word, harmful["c"].word) == ("inconclusive", "worse")


def test_words_that_a_lost_run_leaves():
    assert allowed("better", []) == "better"
    assert allowed("better", [True]) == "inconclusive"
    assert allowed("better", [False]) == "better"
    assert allowed("worse", [True]) == "worse"
    assert allowed("worse", [True, False]) == "inconclusive"
    assert allowed("equivalent", [False]) == "inconclusive"


def test_one_seed_says_what_stands_out_and_no_word(tmp_path):
    results = effects(read(write(tmp_path, seeds=(0,))))
    assert {main.word for main in results.mains} == {"inconclusive"}
    assert {main.name for main in results.mains if "stands out" in main.notes[0]} == {"a", "c"}
    assert all("one seed" in main.notes[0] for main in results.mains)
    assert np.isnan(results.run_sd)


def test_contrasts_are_orthogonal_and_begin_with_the_factors():
    matrix = np.array([contrasts(DESIGN, SIGNS, row) for row in np.eye(16)]) * 8
    assert (matrix.T @ matrix == 16 * np.eye(15)).all()
    assert (matrix[:, :7] == SIGNS).all()
    y = np.random.default_rng(0).normal(size=16)
    assert contrasts(DESIGN, SIGNS, y)[:7] == pytest.approx(main_effects(SIGNS, y))


def test_least_squares_of_a_broken_block_is_exact_for_main_effects():
    planted = np.array([0.3, -0.2, 0, 0, 0.1, 0, 0])
    y = 5 + SIGNS @ planted / 2
    assert main_effects(
        SIGNS[[0, 1, 3, 4, 5, 6, 8, 9, 11, 12, 13, 15]], y[[0, 1, 3, 4, 5, 6, 8, 9, 11, 12, 13, 15]]
    ) == (pytest.approx(planted.tolist()))


def at_most(errors: int, trials: int, rate: float) -> bool:
    """Whether so many errors are no proof that the rate is exceeded (Clopper-Pearson, 95 %)."""
    return binomtest(errors, trials).proportion_ci(0.95).low <= rate


def test_false_words_are_as_rare_as_stated():
    rng, studies, errors = np.random.default_rng(1), 1500, 0
    for blocks in rng.normal(0, 0.01, (studies, 3, 16)) + rng.normal(0, 0.05, (studies, 3, 1)):
        by_factor = 2 * blocks @ SIGNS / 16
        found = judge({name: list(by_factor[:, i]) for i, name in enumerate(FACTORS)}, 1e-6, 0.95)
        errors += any(one.word in ("better", "worse") for one in found.values())
    assert at_most(errors, studies, 0.05), errors / studies
    assert errors / studies > 0.02


def test_what_stands_out_of_noise_is_as_rare_as_stated():
    rng, studies = np.random.default_rng(2), 20_000
    values = rng.standard_normal((studies, 15))
    largest = np.abs(values[:, :7]).max(1) / pseudo_error(values)
    rate = (largest > critical(15, 7, 0.05)).mean()
    assert rate == pytest.approx(0.05, abs=0.006)
    # Ye and Hamada (2000): the largest of all 15 contrasts, 4.24 at 5 %
    assert critical(15, 15, 0.05) == pytest.approx(4.24, abs=0.06)
    assert pseudo_error(np.zeros((1, 15))).tolist() == [0.0]


def test_a_fraction_saves_what_it_says():
    """Variance of an effect, run for run: one factor at a time against the fraction."""
    rng, studies, sd, seeds = np.random.default_rng(3), 4000, 0.01, 3
    alone = rng.normal(0, sd, (studies, seeds, 8))
    one_at_a_time = (alone[:, :, 1:] - alone[:, :, :1]).mean(1).var()
    together = (2 * rng.normal(0, sd, (studies, seeds, 16)) @ SIGNS / 16).mean(1).var()
    runs_for_equal_precision = (8 / 16) * one_at_a_time / together
    assert runs_for_equal_precision == pytest.approx(saving(7), rel=0.05)


def test_the_table_for_a_terminal(tmp_path):
    results = effects(read(write(tmp_path, interaction=0.01)))
    text = io.StringIO()
    Console(file=text, width=80).print(table(results))
    lines = text.getvalue().splitlines()
    assert any(line.startswith("a ") and "better" in line for line in lines)
    assert any(line.startswith("a x b") and "exploratory" in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert "7 factors in 16 arms, resolution 4" in remarks(results)[0]


def test_resolution_three_names_what_each_factor_may_be(tmp_path):
    results = effects(read(write(tmp_path, num_arms=8)))
    assert all(len(main.aliases) == 3 and main.aliases[0].startswith("-") for main in results.mains)
    assert any("resolution III" in note for note in results.notes)
