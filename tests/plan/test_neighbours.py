"""Steps that a step is compared with are like it, and neither state has learnt from more of them than the other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.plan.neighbours import ALIKE, neighbours, rate_factor
from ablate.plan.timeline import leaving_out, timeline
from ablate.run.parse import from_plain

PLAIN = {"data": {"domains": ["a", "b"], "span": 64}, "length": {"lengths": [64]}, "step_tokens": 512, "tokens": 51_200}
GROWING = {"length": {"lengths": [32, 64], "starts": [0, 0.4]}, "ramp": {"multiples": [1, 2], "starts": [0, 0.7]}}


@given(st.integers(1, 60), st.integers(0, 40), st.integers(1, 50), st.sampled_from([{}, GROWING]))
def test_they_are_like_the_step_and_none_lies_between_the_states(step, reach, wanted, changes):
    plan = leaving_out(timeline(from_plain(PLAIN | changes)), [(3, 5), (50, 52)])
    healthy = max(0, step - reach)
    found = neighbours(plan, step, healthy, wanted)
    assert found == sorted(set(found))
    assert len(found) <= wanted
    assert all(other < healthy or other > step for other in found)
    assert all((plan.table[name][found] == plan.table[name][step]).all() for name in ALIKE)
    assert plan.table["learns"][found].all()


@pytest.mark.parametrize(
    ("step", "expected"), [(50, [*range(26, 30), *range(51, 55)]), (98, [*range(71, 78), 99]), (10, [*range(11, 19)])]
)
def test_half_of_them_stand_on_each_side_where_there_are_so_many(step, expected):
    assert neighbours(timeline(from_plain(PLAIN)), step, max(0, step - 20), 8) == expected


def test_a_rate_that_is_too_high_is_found_and_a_warmup_is_none():
    planted = timeline(from_plain(PLAIN | {"trouble": {"kind": "rate", "start": 60}}))
    others = neighbours(planted, 62, 30, 32)
    assert rate_factor(planted, 62, 30, others) == (60, pytest.approx(30))
    rising = timeline(from_plain(PLAIN | {"schedule": {"warmup": 1.0, "decay": 0.0}}))
    falling = timeline(from_plain(PLAIN | {"schedule": {"warmup": 0.0, "decay": 1.0}}))
    for plan in (rising, falling):
        times = [
            rate_factor(plan, step, healthy := max(0, step - 32), neighbours(plan, step, healthy, 32))[1]
            for step in range(1, 99)
        ]
        assert np.max(times) < 3
