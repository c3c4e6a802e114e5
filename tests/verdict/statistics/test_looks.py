"""Bounds by simulation against theory and against a published table; probabilities of being the best by sampling."""

import math

import numpy as np
import pytest
from scipy.special import stdtr

from ablate.verdict.statistics.forecast import chance_below
from ablate.verdict.statistics.looks import Design, Noise, best, chance_of_better, droppable, pool, pooled, spread

LOOKS = (2, 3, 5, 8)


def test_one_look_at_one_arm_with_known_noise_is_the_t_test():
    design = Design((8,), arms=1, alpha=0.05, prior_df=1e6)
    tails = 2 * stdtr(1e6, -design.bound(8, 1e6))
    # the larger of the arm's own and the known deviation makes the test stricter at an equal bound, so the
    # bound that spends .05 lies below 1.96
    assert 0.05 < tails < 0.1


@pytest.mark.parametrize("prior_df", [0, 40])
def test_bounds_fall_with_the_looks_and_rise_with_the_family(prior_df):
    few, many = (Design(LOOKS, arms, 0.05, prior_df) for arms in (2, 20))
    assert few.bounds(10) == sorted(few.bounds(10), reverse=True)
    assert all(a < b for a, b in zip(few.bounds(10), many.bounds(10), strict=True))
    assert Design(LOOKS, 2, 0.01, prior_df).bound(8, 10) > few.bound(8, 10)


def crossings(bounds: dict[int, float], studies: int, df: int) -> float:
    """Share of null studies of one arm with a known-noise estimate of df degrees that cross some bound."""
    rng = np.random.default_rng(0)
    d = rng.standard_normal((studies, max(bounds)))
    sd = np.sqrt(rng.chisquare(df, studies) / df)
    return float(np.any([abs(d[:, :n].mean(1)) * math.sqrt(n) / sd > bound for n, bound in bounds.items()], 0).mean())


def test_the_classical_bounds_for_40_degrees_are_of_our_shape():
    """|t| > 3.06, 2.76, 2.43, 2.16 spends 5 % with a pooled deviation alone; ours spend it for the larger of two."""
    published = dict(zip(LOOKS, (3.06, 2.76, 2.43, 2.16), strict=True))
    assert crossings(published, 100_000, 40) == pytest.approx(0.05, abs=0.003)
    ours = Design(LOOKS, arms=1, alpha=0.05, prior_df=40).bounds(40)
    ratios = [a / b for a, b in zip(ours, published.values(), strict=True)]
    assert max(ratios) - min(ratios) < 0.03
    assert all(ratio < 1 for ratio in ratios)


@pytest.mark.parametrize("prior_df", [0, 40])
def test_the_bounds_of_all_looks_together_spend_alpha(prior_df):
    """40,000 studies of one arm without any effect, judged as `spread` and `pool` say, by another generator."""
    rng, studies, design = np.random.default_rng(1), 40_000, Design(LOOKS, 1, 0.05, prior_df)
    d = rng.standard_normal((studies, LOOKS[-1]))
    known = rng.chisquare(prior_df, studies) / prior_df if prior_df else np.zeros(studies)
    crossed = np.zeros(studies, bool)
    for n in LOOKS:
        own = d[:, :n].var(1, ddof=1)
        pooled_variance = (prior_df * known + (n - 1) * own) / (prior_df + n - 1)
        errors = np.sqrt(np.maximum(own, pooled_variance) / n)
        crossed |= abs(d[:, :n].mean(1)) > design.bound(n, prior_df + n - 1) * errors
    assert crossed.mean() == pytest.approx(0.05, abs=0.004)


def test_pooled_noise_counts_the_shared_base():
    rng = np.random.default_rng(1)
    arms, blocks, studies = 6, 4, 20_000
    d = rng.standard_normal((studies, arms, blocks)) - rng.standard_normal((studies, 1, blocks))
    variances = d.var(2, ddof=1).mean(1)
    _, df = pool(0.0, arms * (blocks - 1), arms, Noise())
    assert variances.mean() == pytest.approx(2, rel=0.02)
    assert 2 / (variances / 2).var() == pytest.approx(df, rel=0.05)  # the variance of chi2(df) / df is 2 / df


def test_noise_known_before_counts_with_its_degrees():
    assert pooled([[0.0, 0.0]], Noise(4.0, 9.0)) == Noise(3.6, 10.0)
    assert pooled([[1.0]], Noise(4.0, 9.0)) == Noise(4.0, 9.0)
    assert math.isinf(pooled([[1.0], []], Noise()).variance)
    assert spread([0.0, 2.0], Noise(1.0, 5)) == pytest.approx(math.sqrt(2))
    assert spread([0.0, 0.1], Noise(1.0, 5)) == 1


@pytest.mark.parametrize("df", [4, 60, math.inf])
def test_probability_of_the_best_is_that_of_sampling(df):
    means, sds = np.array([0.0, 0.3, 0.5, 3.0]), np.array([0.4, 0.4, 1.0, 0.4])
    rng = np.random.default_rng(2)
    scale = np.sqrt(df / rng.chisquare(df, (100_000, 1))) if math.isfinite(df) else 1.0
    lowest = (means + sds * scale * rng.standard_normal((100_000, 4))).argmin(1)
    assert best(means, sds, df, nodes=200) == pytest.approx(np.bincount(lowest, minlength=4) / 100_000, abs=0.006)


def test_equal_means_are_equally_likely_the_best_whatever_the_noise():
    for sd in (1e-9, 0.0, 1.0, math.inf):
        assert best([1.0] * 5, np.full(5, sd), 10) == pytest.approx(np.full(5, 0.2))


def test_the_least_likely_are_dropped_within_the_allowance():
    assert droppable([0.01, 0.9, 0.03, 0.06], 0.05) == ([0, 2], pytest.approx(0.04))
    assert droppable([0.2, 0.8], 0.05) == ([], 0.0)
    assert droppable([0.0, 0.0], 1.0)[0] == [0]  # one always stays


def test_chance_of_better_is_what_happens():
    """Effects from a wide prior: among arms whose chance is p, a share p becomes better."""
    rng, design = np.random.default_rng(3), Design(LOOKS, 1, 0.05, prior_df=1e4)
    truth = rng.uniform(-6, 6, 40_000)
    now = truth + rng.standard_normal(len(truth)) / math.sqrt(3)
    end = (3 * now + 5 * (truth + rng.standard_normal(len(truth)) / math.sqrt(5))) / 8
    chances = chance_of_better(now, np.ones(len(now)), np.full(len(now), 1e4), 3, design)
    better = end < -design.bound(8, 1e4) / math.sqrt(8)
    for low in (0.05, 0.3, 0.7):
        within = (chances > low) & (chances < low + 0.2)
        assert better[within].mean() == pytest.approx(chances[within].mean(), abs=0.04)


def test_a_chance_to_end_below_the_others_is_what_happens():
    """A walk on the forecast's clock, 8 whole runs and one done by a fifth: of chances p a share p comes true."""
    rng, parts = np.random.default_rng(6), np.arange(1, 11) / 10
    steps = np.sqrt(np.diff(2 * np.sqrt(parts), prepend=0.0))
    chances, below = [], []
    for _ in range(3000):
        values = rng.uniform(0, 1.5, (9, 1)) + np.cumsum(rng.standard_normal((9, 10)) * steps, axis=1) + 3 / parts
        chances.append(chance_below(parts, values[:8], values[8, :2]))
        below.append(values[8, -1] < values[:8, -1].min())
    stated, true = np.array(chances), np.array(below)
    for low, high in ((0.0, 0.05), (0.05, 0.2), (0.2, 0.5)):
        within = (stated >= low) & (stated < high)
        assert within.sum() > 100
        assert true[within].mean() == pytest.approx(stated[within].mean(), abs=0.05)
