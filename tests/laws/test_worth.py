import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from ablate.laws import curves
from ablate.laws.worth import REACH, of_base, problem, worth
from ablate.page.facts import facts
from ablate.verdict import card
from ablate.verdict.evidence import read
from tests.verdict.worlds import World, write

D = 3_000_000
SEEDS = range(4)


def loss(tokens):
    return 0.95 + 420 * np.power(tokens, -0.42)


def base(noise: float = 2e-4) -> curves.Curve:
    rng, n = np.random.default_rng(0), np.linspace(0.3, 0.8, 20) * D
    losses = {seed: loss(n) + 0.01 * rng.standard_normal() + noise * rng.standard_normal(20) for seed in SEEDS}
    return curves.estimate_points(curves.Points(dict.fromkeys(SEEDS, n), losses), "base", "macro", D, 0.95)


@pytest.mark.parametrize("ratio", [0.6, 1.0, 1.3, 2.5])
def test_an_arm_that_ends_where_the_base_would_is_worth_those_tokens(ratio):
    found = worth(base(), float(loss(ratio * D) - loss(D)), 1e-4)
    assert found.ratio == pytest.approx(ratio, rel=0.03)
    assert found.interval[0] <= ratio <= found.interval[1]
    assert found.times(2).ratio == 2 * found.ratio


def test_the_interval_leaves_out_1_exactly_when_that_of_the_effect_leaves_out_0():
    curve = base()
    for effect in np.linspace(-0.05, 0.05, 21):
        for half in (0.001, 0.01, 0.04):
            low, high = worth(curve, float(effect), half).interval
            assert (low <= 1 <= high) == (abs(effect) <= half)


def test_nothing_is_said_beyond_reach():
    far = worth(base(), float(loss(20 * D) - loss(D)), 1e-3)
    assert (far.ratio, far.interval[1], far.most) == (math.inf, math.inf, REACH)
    assert worth(base(), 2.0, 1e-3).ratio == 0


def test_a_curve_that_is_none_says_so():
    flat = curves.Points({s: np.arange(1.0, 9) for s in SEEDS}, {s: np.ones(8) for s in SEEDS})
    assert "flat" in (problem(curves.estimate_points(flat, "base", "macro", 8, 0.95)) or "")


def test_the_card_says_it(tmp_path: Path):
    world = World(effects={"qa_20": -0.01, "qa_40": 0.02}, shape="constant")
    evidence = read(write(tmp_path / "a", world))
    said = {one.verdict.arm: dict(facts(one, of_base(evidence))) for one in card.cards(evidence)}
    assert said["qa_20"]["worth"].endswith("] the tokens of base")
    assert float(said["qa_20"]["worth"].split(" x ")[0]) > 1 > float(said["qa_40"]["worth"].split(" x ")[0])
    falling = read(write(tmp_path / "b", dataclasses.replace(world, shape="wsd", evaluations=8)))
    assert curves.FALLING in dict(facts(card.cards(falling)[0], of_base(falling)))["worth"]
