"""What is promised before a study is what happens in simulated ones."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, t

from ablate.page.drawing.power_figure import draw
from ablate.verdict.statistics.paired import detectable_with, judge
from ablate.verdict.statistics.power import Power, fewest

PLAN = Power(noise=0.004, margin=0.01, arms=3)
STUDIES = 20_000


def plausible(count: float, trials: int, rate: float) -> bool:
    """Whether a count is within the binomial error (1 in 1000 on each side) of a rate."""
    return bool(binom.ppf(0.001, trials, rate) <= count <= binom.isf(0.001, trials, rate))


def moderated(plan: Power, effect: float, seeds: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Means and standard errors of simulated differences, and their degrees of freedom."""
    rng = np.random.default_rng([seeds, int(1e6 * abs(effect))])
    d = rng.normal(effect, plan.noise, (STUDIES, seeds))
    known = plan.noise_df if seeds > 2 else 0.0  # two seeds borrow nothing
    df = seeds - 1 + known
    squares = d.var(axis=1) * seeds
    if known:
        squares = squares + plan.noise**2 * rng.chisquare(known, STUDIES)
    return d.mean(1), np.sqrt(squares / df / seeds), df


@pytest.mark.parametrize("noise_df", [0.0, 7.0])
@pytest.mark.parametrize(("seeds", "effect"), [(2, 0.02), (3, 0.01), (5, 0.01), (8, 0.005)])
def test_the_chance_to_be_seen(seeds, effect, noise_df):
    plan = dataclasses.replace(PLAN, noise_df=noise_df)
    mean, error, df = moderated(plan, effect, seeds)
    seen = (np.abs(mean) > t.isf(plan.level / 2, df) * error).sum()
    assert plausible(seen, STUDIES, plan.chance(effect, seeds))


@pytest.mark.parametrize("noise_df", [0.0, 7.0])
@pytest.mark.parametrize(("seeds", "effect"), [(2, 0.0), (3, 0.0), (5, 0.0), (5, 0.004), (6, -0.009), (12, 0.01)])
def test_the_chance_to_be_shown_equivalent(seeds, effect, noise_df):
    plan = dataclasses.replace(PLAN, noise_df=noise_df)
    mean, error, df = moderated(plan, effect, seeds)
    shown = (np.abs(mean) + t.isf(plan.level, df) * error < plan.margin).sum()
    assert plausible(shown, STUDIES, plan.chance_equivalent(seeds, effect))


def test_the_smallest_effect_is_that_of_the_verdict():
    for seeds in (2, 3, 7, 30):
        assert PLAN.detectable(seeds) == pytest.approx(detectable_with(0.004, seeds, 0.05 / 3))
        assert PLAN.chance(PLAN.detectable(seeds), seeds) == pytest.approx(0.8)
    assert PLAN.detectable(1) == math.inf
    assert dataclasses.replace(PLAN, noise_df=20).detectable(3) < PLAN.detectable(3) / 2


@pytest.mark.parametrize("effect", [0.01, 0.0])
def test_the_seeds_advised_give_the_verdict_promised(effect):
    """Against `judge` itself, with arms that share a base: Holm's later steps can only add."""
    rng, studies = np.random.default_rng(4), 1000
    seeds = int(PLAN.seeds_needed)
    runs = rng.normal(0, PLAN.noise / math.sqrt(2), (studies, 4, seeds))
    d = runs[:, 1:] - runs[:, :1]
    d[:, 0] += effect
    words = [judge({str(i): row for i, row in enumerate(one)}, PLAN.margin, 0.95)["0"] for one in d]
    found = sum(one.p_adjusted <= 0.05 if effect else one.word == "equivalent" for one in words)
    chance = PLAN.chance(effect, seeds) if effect else PLAN.chance_equivalent(seeds)
    assert chance >= 0.8
    assert found >= binom.ppf(0.001, studies, chance)
    one_less = [PLAN.chance(PLAN.margin, seeds - 1), PLAN.chance_equivalent(seeds - 1)]
    assert min(one_less) < 0.8


def test_more_noise_more_arms_and_less_margin_take_more_seeds():
    changes: list[dict[str, Any]] = [
        {"confidence": 0.99},
        {"noise": 0.008},
        {"arms": 20},
        {"margin": 0.005},
        {"power": 0.95},
    ]
    for change in changes:
        assert dataclasses.replace(PLAN, **change).seeds_needed > PLAN.seeds_needed
    assert dataclasses.replace(PLAN, noise=10.0).seeds_needed == math.inf


@pytest.mark.parametrize("least", [2, 3, 17, 999, 1000])
def test_the_fewest_seeds(least):
    assert fewest(lambda seeds: seeds >= least) == least


def test_the_picture_has_a_curve_for_each_number_of_seeds():
    axes = draw(PLAN, [2, 4, 8]).axes[0]
    curves = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines if "seeds" in str(line.get_label())}
    assert list(curves) == ["2 seeds", "4 seeds", "8 seeds"]
    assert all((np.diff(curve) >= -1e-9).all() for curve in curves.values())
    assert curves["8 seeds"][-1] > curves["4 seeds"][40] > curves["2 seeds"][40]
