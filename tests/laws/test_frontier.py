"""Fronts of quality and cost: what means show, and what seeds can show."""

import numpy as np
import pytest

from ablate.laws.frontier import costs, front
from ablate.verdict.evidence import read
from tests.verdict.worlds import World, write

SEEDS = range(4)


def arm(mean, spread, phase=0.0):
    """Such a mean to the last digit, with noise that the phase decides."""
    noise = np.sin(np.array(SEEDS) + phase)
    return dict(zip(SEEDS, mean + spread * (noise - noise.mean()), strict=True))


def test_an_arm_is_beaten_only_by_one_that_costs_no_more():
    finals = {"cheap": arm(2.2, 0.001), "dear": arm(2.0, 0.001, 1.0), "waste": arm(2.3, 0.001, 2.0)}
    found = front({"cheap": 1.0, "dear": 2.0, "waste": 3.0}, finals)
    assert {name: one.word for name, one in found.items()} == {"cheap": "front", "dear": "front", "waste": "beaten"}
    assert found["waste"].beaten_by == ("cheap", "dear")


def test_a_worse_mean_within_the_noise_is_left_open():
    finals = {"cheap": arm(2.20, 0.05), "dear": arm(2.21, 0.05, 2.0)}
    found = front({"cheap": 1.0, "dear": 2.0}, finals)
    assert found["dear"].word == "open"
    assert not found["dear"].on_front
    assert not found["dear"].beaten_by


def test_costs_that_match_are_compared_both_ways():
    finals = {"a": arm(2.2, 0.001), "b": arm(2.0, 0.001, 1.0)}
    assert front({"a": 1.0, "b": 1.01}, finals)["a"].beaten_by == ("b",)
    assert front({"a": 1.0, "b": 1.05}, finals)["a"].word == "front"


def test_noise_shared_by_a_seed_does_not_hide_who_is_beaten():
    shared = {seed: 0.5 * np.sin(3 * seed) for seed in SEEDS}
    finals = {
        name: {s: v + shared[s] for s, v in arm(mean, 0.001, mean).items()} for name, mean in (("a", 2.0), ("b", 2.05))
    }
    assert front({"a": 1.0, "b": 1.0}, finals)["b"].beaten_by == ("a",)


def test_arms_that_are_equal_are_rarely_beaten():
    """Holm over all ten pairs: any false claim in at most a share of 0.05 of studies."""
    rng, studies = np.random.default_rng(0), 300
    names = list("abcde")
    wrong = 0
    for _ in range(studies):
        values = rng.standard_normal((5, 3)) + rng.standard_normal(3)
        finals = {name: dict(enumerate(row)) for name, row in zip(names, values, strict=True)}
        wrong += any(one.beaten_by for one in front(dict.fromkeys(names, 1.0), finals).values())
    assert wrong <= 24  # above 24 of 300 with a chance of 0.01 at a true rate of 0.05


@pytest.mark.parametrize("finals", [{"a": {0: 2.0}, "b": {0: 1.0}}, {"a": {0: 2.0}, "b": {}}])
def test_one_seed_shows_nothing(finals):
    assert not any(one.beaten_by for one in front({"a": 1.0, "b": 1.0}, finals).values())


def test_costs_are_those_of_the_results(tmp_path):
    evidence = read(write(tmp_path, World(seeds=(0, 1), outcomes={("qa_20", 0): "diverged"})))
    assert costs(evidence, "parameters") == dict.fromkeys(("base", "qa_20", "qa_40", "qa_12"), 1_100_000.0)
    assert costs(evidence, "state_bytes") == {}
