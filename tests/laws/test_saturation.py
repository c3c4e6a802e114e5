"""Where a domain saturates, on studies and on planted curves."""

import math

import numpy as np
import pytest

from ablate.laws import curves, saturation
from ablate.laws.curve_laws import Law
from ablate.verdict.evidence import Evidence
from bench import places, planted
from tests.laws.test_curves import study


def place(evidence: Evidence, eps: float) -> saturation.Saturation:
    return saturation.saturation(curves.estimate(evidence, "base", "general"), eps)


def test_saturated_or_not_within_the_run(tmp_path):
    evidence = study(tmp_path, evaluations=60, evaluation_noise=0.0003, domains={"general": (0.95, 420.0, 0.42)})
    truth = Law(0.95, 420.0, 0.42, 0.0)
    early, late = (float(truth(n) - truth(2 * n)) for n in (1e6, 2e7))
    assert place(evidence, early).status == "saturated"
    found = place(evidence, late)
    assert found.status == "not saturated within the run"
    assert found.gain is not None
    assert found.gain > late


def test_a_flat_curve_is_refused(tmp_path):
    evidence = study(tmp_path, domains={"general": (1.0, 0.0, 0.4)})
    found = place(evidence, 0.005)
    assert (found.status, found.tokens) == ("not identified", None)
    assert found.reason == "the curve is flat: its fall is not above its noise"


def test_too_few_points_are_refused(tmp_path):
    found = place(study(tmp_path, evaluations=5), 0.005)
    assert found.status == "not identified"
    assert found.reason == "3 points, at least 5 needed"


def test_a_logarithm_still_gains_and_has_no_place(tmp_path):
    # A n^-alpha with alpha -> 0 falls by the same amount with every doubling: nothing saturates
    evidence = study(tmp_path, domains={"general": (0.0, 9.0, 0.001)}, evaluation_noise=0.00001)
    found = place(evidence, 0.005)
    assert (found.status, found.tokens, found.interval) == ("not saturated within the run", None, None)
    assert found.reason == "the curve does not flatten yet"
    assert place(evidence, 0.0062).status == "not identified"  # doubling gains 0.0062: nothing tells from it


def test_a_falling_rate_is_refused(tmp_path):
    found = place(study(tmp_path, shape="wsd", evaluations=8), 0.005)
    assert (found.status, found.tokens, found.gain) == ("not identified", None, None)
    assert found.reason == curves.FALLING


@pytest.mark.parametrize("eps", [0.05, 0.2])
def test_doubling_from_the_named_place_gains_eps(tmp_path, eps):
    evidence = study(tmp_path, evaluations=60, evaluation_noise=0.0001)
    curve = curves.estimate(evidence, "base", "general")
    found = saturation.saturation(curve, eps)
    middle, (low, high) = saturation._place(curve, eps)
    assert low < middle < high
    assert float(curve.gain(np.array([middle]))[0][0]) == pytest.approx(eps, rel=1e-3)
    assert found.reason or found.tokens == middle


def test_places_beyond_reach_and_before_the_first_point_have_open_intervals(tmp_path):
    curve = curves.estimate(study(tmp_path, evaluations=60, evaluation_noise=0.0001), "base", "code")
    assert saturation._place(curve, 1e-9)[1][1] == math.inf
    assert saturation._place(curve, 10.0) == (0.0, (0.0, float(curve.points.pooled()[0].min())))


def test_planted_places_lie_in_their_intervals_where_the_law_is_true():
    rng = np.random.default_rng(0)
    found = places.located(rng, "power", 60, 0.9)
    named = [(one.interval, where) for one, where in found if one.interval]
    assert len(named) >= 30
    assert sum(low <= where <= high for (low, high), where in named) >= 0.85 * len(named)


def test_no_more_than_a_few_statuses_are_false():
    rng = np.random.default_rng(0)
    false = [places.wrong(*one) for kind in planted.KINDS for one in places.located(rng, kind, 20, 0.95)]
    assert sum(false) <= 0.05 * len(false)


def test_noise_gives_a_wide_interval_not_a_number(tmp_path):
    evidence = study(tmp_path, evaluation_noise=0.02, seeds=(0, 1))
    curve = curves.estimate(evidence, "base", "general")
    assert curve.law is not None
    assert curve.problem is None
    found = saturation.saturation(curve, float(curve.law(3e6) - curve.law(6e6)))  # at the very end, by the law
    assert (found.status, found.tokens, found.interval) == ("not identified", None, None)
    assert found.reason == "place unknown: its interval is more than a factor of 10 wide"


@pytest.mark.parametrize(
    ("interval", "status", "known"),
    [
        ((2e5, 9e5), "saturated", True),
        ((2e3, 9e5), "saturated", False),
        ((5e5, 2e6), "not saturated within the run", True),
        ((2e6, 9e6), "not saturated within the run", True),
        ((2e6, 9e7), "not saturated within the run", False),
        ((2e5, 9e6), "not identified", False),
    ],
)
def test_the_end_of_the_run_decides_the_status(interval, status, known):
    found, reason = saturation._status(interval, 1_000_000)
    assert (found, reason is None) == (status, known)


def test_one_seed_identifies_nothing(tmp_path):
    found = place(study(tmp_path, seeds=(0,)), 0.03)
    assert (found.status, found.reason) == ("not identified", "it takes two seeds that each identify the law")


def test_a_point_that_carries_the_gain_is_named():
    n = np.arange(3, 9) * 1e5
    losses = 2 + 3 * (n / 1e5) ** -0.5
    losses[-1] += 0.1
    points = curves.Points({0: n, 1: n}, {0: losses, 1: losses + 1e-4})
    found = saturation.saturation(curves.estimate_points(points, "base", "qa", 800_000, 0.9), 0.05)
    assert found.carrier is not None
    assert found.carrier[0] == 8e5
    assert "warning: without the point at 800k tokens it gains 0.31" in found.reading


def test_no_point_carries_a_true_law(tmp_path):
    curve = curves.estimate(study(tmp_path, evaluations=30, evaluation_noise=0.0005), "base", "general")
    assert curve.carrier is None
