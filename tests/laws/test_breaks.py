"""What is refused by name: tails that rise and curves that break; and that laws themselves are not."""

import numpy as np
import pytest

from ablate.laws import breaks, curves
from bench.planted import broken, worlds


@pytest.mark.parametrize("number", [14, 20, 60])
@pytest.mark.parametrize("kind", ["rises", "jumps", "bends"])
def test_a_break_that_can_be_seen_is_refused(kind, number):
    """A curve of a constant rate whose break lies in the middle half of its points."""
    rng, n = np.random.default_rng(0), np.linspace(0.15, 0.5, number)
    found = [breaks.named(n, curve(n) + 1e-3 * rng.standard_normal(number)) for curve in broken(rng, kind, n, 40)]
    assert sum(one is not None for one in found) >= 34
    if kind == "rises":
        assert all(one in (breaks.RISES, breaks.BREAKS) for one in found if one)


@pytest.mark.parametrize("kind", ["power", "two", "shifted"])
@pytest.mark.parametrize("number", [5, 8, 20, 60])
def test_few_curves_without_a_break_are_refused(kind, number):
    rng, n = np.random.default_rng(0), np.linspace(0.15, 0.5, number)
    found = [breaks.named(n, curve(n) + 1e-3 * rng.standard_normal(number)) for curve in worlds(rng, kind, 40)]
    assert sum(one is not None for one in found) <= 4


def test_a_rising_tail_is_named_from_five_points_on():
    n = np.array([1.0, 2, 4, 8, 16]) * 1e5
    assert breaks.named(n, np.array([3.0, 2.6, 2.5, 2.55, 2.61])) == breaks.RISES
    assert breaks.named(n, np.array([3.0, 2.6, 2.4, 2.3, 2.25])) is None


def test_a_curve_that_rises_has_no_place_and_no_gain():
    n = np.arange(1, 15) * 1e5
    losses = 2 + 3 * (n / 1e5) ** -0.5 + np.maximum(np.log(n / 7e5), 0)
    points = curves.Points({0: n, 1: n}, {0: losses, 1: losses + 0.01})
    assert curves.estimate_points(points, "base", "qa", 1_400_000, 0.95).problem == breaks.RISES
