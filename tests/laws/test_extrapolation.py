"""The calibration of extrapolated losses: what ships is what the public curves say, and what it covers elsewhere."""

import functools

import numpy as np
import pytest

from ablate.laws import extrapolation
from bench import extrapolation as bench
from bench.curves import TABLES
from bench.ends import SCOPE, Prefix, prefixes

public = pytest.mark.skipif(not TABLES.exists(), reason="public curves are not here")


@functools.cache
def known() -> tuple[Prefix, ...]:
    return tuple(p for p in prefixes() if p.source in SCOPE)


def test_factors_grow_with_the_confidence():
    for quantity in ("loss", "gain"):
        found = [extrapolation.factor(quantity, level) for level in (0.5, 0.8, 0.85, 0.9, 0.92, 0.95, 0.99)]
        assert found == sorted(found)
        assert extrapolation.factor(quantity, 0.9) == pytest.approx(extrapolation.FACTORS[quantity][1])


def test_one_seed_has_no_interval():
    assert np.isinf(extrapolation.half_width(np.array([0.01]), np.array([[1.0]]), "loss", 0.9)).all()


def test_seeds_and_laws_add_up_in_quadrature():
    each = np.array([[1.0], [1.02], [0.99]])
    laws_alone = extrapolation.half_width(np.array([0.01]), np.ones((3, 1)), "loss", 0.9)
    seeds_alone = extrapolation.half_width(np.array([0.0]), each, "loss", 0.9)
    both = extrapolation.half_width(np.array([0.01]), each, "loss", 0.9)
    assert both**2 == pytest.approx(laws_alone**2 + seeds_alone**2)


@public
def test_what_ships_is_what_the_public_curves_say():
    for quantity, values in bench.shipped().items():
        assert extrapolation.FACTORS[quantity] == pytest.approx(values, abs=6e-4)


@public
def test_held_out_sources_are_covered_and_the_bootstrap_is_not():
    graded = [bench.grade(p) for p in known()]
    factor = {s: bench.conformal([g for g in graded if g.source != s], 0.9) for s in SCOPE}
    held = np.mean([g.score <= factor[g.source] for g in graded])
    assert 0.85 <= held <= 0.95
    first = [100 * abs(g.error) / g.level for g in graded if g.part == "first"]
    assert np.median(first) <= 0.55
    rng = np.random.default_rng(0)
    some = [p for p in known() if p.source != "sizes"]
    naive = [low <= p.truth <= high for p in some for low, high in [bench._bootstrap(p, rng, 40)]]
    assert np.mean(naive) < 0.6


@public
@pytest.mark.parametrize("source", SCOPE)
def test_the_mean_of_the_laws_beats_the_best_of_them_from_30_percent(source):
    chosen = [p for p in known() if p.source == source and p.part == "first"]
    ours = np.median([abs(bench.grade(p).error) for p in chosen])
    best = np.median([abs(float(bench.estimate_power_law(p.tokens, p.losses)(p.end)) - p.truth) for p in chosen])
    assert ours < best


@pytest.mark.parametrize("spacing", bench.SPACINGS)
def test_planted_power_laws_are_covered(spacing):
    curves = bench._ends(np.random.default_rng(0), "power", spacing, 100)
    factor = extrapolation.factor("loss", 0.9)
    held = sum(bench._grade_planted(bench.EXPONENT, *curve).score <= factor for curve in curves)
    assert held >= 85


def test_early_training_is_refused():
    beginnings = [p for p in prefixes() if p.source == "beginnings"]
    assert np.mean([bench.bend(p.tokens, p.losses) < bench.BENT for p in beginnings]) > 0.9


def test_a_conformal_quantile_weighs_sources_alike():
    one = [bench.Graded("a", "first", 1.0, float(score), 1.0) for score in (1, 1, 1, 1, 1, 1, 1, 1, 1, 1)]
    other = [bench.Graded("b", "first", 1.0, 5.0, 1.0)]
    assert bench.conformal(one, 0.9) == 1
    assert bench.conformal(one + other, 0.9) == 5
    assert bench.conformal(one + other, 0.5) == 1
