"""Weights that follow from a record: the same from the same, more for what gains, and a control that goes as far."""

import math
import random

import pytest

from ablate.plan import adapt
from ablate.plan.adapt import Seen

OLD = {"general": 0.6, "code": 0.1, "science": 0.2, "qa": 0.1}


def seen(slopes: dict[str, float], epochs: dict[str, float] | None = None, noise: float = 0.0) -> Seen:
    """Losses that fall by these slopes a doubling, in 20 evaluations."""
    draws = random.Random(0)
    points = [
        (1024 * (i + 1), {d: 3 - slope * math.log2(i + 1) + noise * draws.random() for d, slope in slopes.items()})
        for i in range(20)
    ]
    return Seen(points=points, epochs=epochs or dict.fromkeys(slopes, 0.5))


def test_the_rule_by_hand():
    """sqrt(.6 x .1), sqrt(.1 x .4), sqrt(.2 x .2), sqrt(.1 x .4) above a tenth of an equal share."""
    found = adapt.saturation(OLD, seen({"general": 0.1, "code": 0.4, "science": 0.2, "qa": 0.4}), seed=0)
    pulls = [0.06**0.5, 0.2, 0.2, 0.2]
    assert list(found) == list(OLD)
    assert list(found.values()) == pytest.approx([0.025 + 0.9 * p / sum(pulls) for p in pulls], abs=1e-4)


def test_a_gain_is_the_slope_of_the_second_half_less_its_error():
    """An early fall is no gain that goes on, and a rise is none at all."""
    fell = [(1024 * (i + 1), {"general": 2.0 + (i < 9), "code": 2.0 + 0.01 * i}) for i in range(20)]
    assert adapt.gains(Seen(points=fell, epochs={"general": 0, "code": 0})) == {"general": 0, "code": 0}
    clean, noisy = (adapt.gains(seen({"code": 0.3}, noise=size))["code"] for size in (0, 0.1))
    assert clean == pytest.approx(0.3)
    assert noisy < 0.3


def test_equal_records_give_equal_weights_and_the_last_bit_of_a_loss_moves_none():
    slopes = {"general": 0.1234, "code": 0.31, "science": 0.17, "qa": 0.05}
    one, again = (seen(slopes, noise=0.02) for _ in range(2))
    moved = [(t, {d: math.nextafter(loss, 9) for d, loss in losses.items()}) for t, losses in one.points]
    for rule in adapt.RULES.values():
        assert rule(OLD, one, 3) == rule(OLD, again, 3) == rule(OLD, Seen(points=moved, epochs=one.epochs), 3)
    # as written down once: another machine must come to the same digits
    assert adapt.saturation(OLD, one, 0) == WRITTEN["saturation"]
    assert adapt.random(OLD, one, 0) == WRITTEN["random"]


WRITTEN = {
    "saturation": {"general": 0.3638, "code": 0.2551, "science": 0.2657, "qa": 0.1155},
    "random": {"general": 0.5016, "code": 0.2138, "science": 0.0621, "qa": 0.2224},
}


def test_text_that_is_used_up_gets_less_and_a_domain_without_weight_none():
    slopes = dict.fromkeys(OLD, 0.2)
    fresh, used = (adapt.saturation(OLD, seen(slopes, dict.fromkeys(OLD, 1.0) | {"code": n}), 0) for n in (4.0, 16.0))
    assert used["code"] < fresh["code"]
    assert fresh == adapt.saturation(OLD, seen(slopes), 0)
    without = adapt.saturation(OLD | {"qa": 0.0, "code": 0.2}, seen(slopes), 0)
    assert without["qa"] == 0
    assert sum(without.values()) == pytest.approx(1, abs=2e-4)


def test_where_nothing_gains_the_weights_stay_and_where_one_does_the_others_keep_a_little():
    assert adapt.saturation(OLD, seen(dict.fromkeys(OLD, 0.0)), 0) == OLD
    assert adapt.random(OLD, seen(dict.fromkeys(OLD, 0.0)), 0) == OLD
    found = adapt.saturation(OLD, seen(dict.fromkeys(OLD, -0.1) | {"qa": 0.2}), 0)
    assert found == {"general": 0.025, "code": 0.025, "science": 0.025, "qa": 0.925}


@pytest.mark.parametrize("seed", range(20))
def test_the_random_control_goes_as_far_in_a_direction_of_its_seed(seed):
    draws = random.Random(seed)
    told = seen({domain: draws.random() for domain in OLD})
    rule, control = adapt.saturation(OLD, told, seed), adapt.random(OLD, told, seed)
    assert adapt.distance(OLD, control) == pytest.approx(adapt.distance(OLD, rule), abs=2e-4)
    assert sum(control.values()) == pytest.approx(1, abs=2e-4)
    assert min(control.values()) >= 0.025
    assert adapt.random(OLD, told, seed + 1) != control != rule


@pytest.mark.parametrize("gains", [["code"], ["qa"], ["general"]])
def test_the_random_control_goes_as_far_where_hardly_a_direction_leads_there(gains):
    told = seen(dict.fromkeys(OLD, -0.1) | dict.fromkeys(gains, 0.2))
    rule, control = adapt.saturation(OLD, told, 0), adapt.random(OLD, told, 0)
    assert adapt.distance(OLD, control) == pytest.approx(adapt.distance(OLD, rule), abs=2e-4)
    assert adapt.distance(rule, control) > adapt.APART
    assert min(control.values()) >= 0.025


def test_the_control_is_the_rule_where_nothing_else_lies_as_far():
    old = {"a": 0.86, "b": 0.08, "c": 0.06}
    told = seen(dict.fromkeys(old, -0.1) | {"c": 0.2})
    assert adapt.random(old, told, 0) == adapt.saturation(old, told, 0)
