"""Noise of runs and of pairs, and how often the intervals hold."""

import math

import numpy as np
import pytest

from ablate.verdict.evidence import read
from ablate.verdict.spread import Gain, Sd, gain, metrics, of_pairs, pairs, pooled
from ablate.verdict.statistics.looks import Noise, pool
from tests.verdict.worlds import World, write

WORLD = World(seeds=tuple(range(60)), shared_noise=0.012, own_noise=0.003, evaluation_noise=0.0, evaluations=2)


def of(arms, df) -> Gain:
    found = of_pairs(arms, df)
    assert found is not None
    return found


def within(evidence, arms, metric) -> Gain:
    found = gain(evidence, arms, metric)
    assert found is not None
    return found


def sd_of(samples) -> Sd:
    found = pooled(samples)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    return read(write(tmp_path_factory.mktemp("planted"), WORLD))


def test_planted_noise_is_found(evidence):
    """Of one domain, as macro averages four that are noisy on their own."""
    found = within(evidence, evidence.arms, "code")
    own, seed = WORLD.own_noise, math.hypot(WORLD.own_noise, WORLD.shared_noise)
    assert found.noise.value == pytest.approx(math.sqrt(2) * own, rel=0.15)
    assert found.correlation == pytest.approx(WORLD.shared_noise**2 / seed**2, abs=0.03)
    assert found.interval[0] < (seed / own) ** 2 < found.interval[1]
    sd = sd_of(list(evidence.finals(arm, "code").values()) for arm in evidence.by_arm)
    assert sd.interval[0] < seed < sd.interval[1]


@pytest.mark.parametrize("correlation", [0.0, 0.9, -0.5])
@pytest.mark.parametrize("seeds", [3, 8])
def test_the_interval_of_one_arm_holds_as_often_as_it_says(correlation, seeds):
    rng, trials = np.random.default_rng(0), 600
    covariance = [[1.0, correlation], [correlation, 1.0]]
    drawn = rng.multivariate_normal([0, 0], covariance, (trials, seeds))
    held = sum(low < 1 / (1 - correlation) < high for low, high in (of([d], seeds - 1).interval for d in drawn))
    assert 556 <= held <= 583  # outside with a chance of 0.005 at a true rate of 0.95


def test_the_interval_of_several_arms_holds_more_often():
    rng, trials, arms, seeds = np.random.default_rng(1), 600, 4, 3
    held = 0
    for _ in range(trials):
        shared, base = rng.standard_normal(seeds), rng.standard_normal(seeds)
        drawn = [list(zip(shared + base, shared + rng.standard_normal(seeds), strict=True)) for _ in range(arms)]
        low, high = of(drawn, seeds - 1).interval
        held += low < 2 < high
    assert held >= 556


def test_the_interval_of_an_sd_holds_as_often_as_it_says():
    rng, trials = np.random.default_rng(2), 600
    intervals = [sd_of(rng.standard_normal((4, 3)) + np.arange(4)[:, None]).interval for _ in range(trials)]
    assert 556 <= sum(low < 1 < high for low, high in intervals) <= 583


def test_seeds_that_did_not_finish_make_no_pair(tmp_path):
    world = World(seeds=(0, 1, 2), outcomes={("qa_20", 1): "diverged", ("base", 2): "crashed"})
    evidence = read(write(tmp_path, world))
    assert len(pairs(evidence, "qa_20", "macro")) == 1
    assert gain(evidence, ["qa_20"], "macro") is None
    assert within(evidence, ["qa_20", "qa_40"], "macro").df == 1


def test_runs_that_are_the_same_have_no_gain():
    assert of_pairs([[(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]], 2) is None
    assert pooled([[1.0], []]) is None


def test_metrics_are_those_of_the_declaration(evidence):
    assert metrics(evidence) == ["macro", "general", "code", "science", "qa"]


def test_the_interval_of_the_noise_holds_it():
    """Arms that share a base tell less of the noise than as many that do not."""
    rng, arms, seeds = np.random.default_rng(9), 4, 5
    runs = rng.normal(0, math.sqrt(0.5), (20_000, arms + 1, seeds))
    d = runs[:, 1:] - runs[:, :1]
    variance, df = pool(d.var(axis=2).sum(1) * seeds, arms * (seeds - 1), arms, Noise())
    low, high = Sd(np.sqrt(variance), df).interval  # pyrefly: ignore
    assert ((np.asarray(low) < 1) & (np.asarray(high) > 1)).mean() == pytest.approx(0.95, abs=0.01)
