"""Running digests of what steps take in: one chain a stream, planned and realised alike."""

import dataclasses

import numpy as np
import pytest

from ablate.plan.digests import PLANNED, START, link, of_step, planned
from ablate.plan.timeline import timeline

CURRICULUM = {
    "mixture": {"stages": {"late": {"start": 0.5, "weights": {"qa": 1}}}},
    "optimizer": {"lerac": {"lowest": 0.1, "until": 0.5}},
    "averaging": {"kind": "ema", "start": 0.5},
}


def test_a_digest_stands_for_all_steps_before_it(tiny):
    table = timeline(tiny(**CURRICULUM))
    often, seldom = planned(table, range(1, len(table) + 1)), planned(table, [7, len(table)])
    assert seldom == {step: often[step] for step in seldom}
    assert all(len({digests[name] for digests in often.values()}) == len(often) for name in PLANNED)


@pytest.mark.parametrize(
    ("changes", "parted", "first"),
    [
        ({"schedule": {"warmup": 3}}, {"rates"}, 1),
        ({"schedule": {"decay": 0.4}}, {"rates"}, 13),
        ({"optimizer": {"lerac": {"lowest": 0.1, "until": 0.6}}}, {"rates"}, 2),
        ({"optimizer": {"weight_decay": 0.2}}, {"rates"}, 1),
        ({"mixture": {"stages": {"late": {"start": 0.5, "weights": {"code": 1}}}}}, {"interleaving"}, 11),
        ({"length": {"lengths": [32, 64], "starts": [0, 0.8]}}, {"layout", "interleaving"}, 11),
        ({"averaging": {"kind": "ema", "start": 0.6}}, {"shares"}, 11),
        ({"model": {"pattern": "M"}}, set(), None),
    ],
)
def test_only_streams_that_differ_part_and_at_the_first_step_that_does(tiny, changes, parted, first):
    tables = [timeline(tiny(**(CURRICULUM | more))) for more in ({}, changes)]
    ours, theirs = (planned(table, range(1, len(table) + 1)) for table in tables)
    differ = {name: [step for step in ours if ours[step][name] != theirs[step][name]] for name in PLANNED}
    assert {name for name, steps in differ.items() if steps} == parted
    if parted:
        assert min(min(steps) for steps in differ.values() if steps) == first


def test_a_digest_does_not_forget():
    """Two steps exchanged, or one left out, show in all that follows."""
    steps = [of_step(np.array([n]), 32, [(0, 1e-3)], 0.1, 0.0)["interleaving"] for n in range(4)]

    def chain(order: list[int]) -> str:
        head = START
        for number in order:
            head = link(head, steps[number])
        return head

    assert len({chain(order) for order in ([0, 1, 2, 3], [0, 2, 1, 3], [0, 1, 3], [0, 0, 1, 2, 3])}) == 4


def test_another_seed_has_other_rows_and_the_same_rates(tiny):
    tables = [timeline(dataclasses.replace(tiny(), seed=seed)) for seed in (0, 1)]
    ours, theirs = (planned(table, [20])[20] for table in tables)
    assert {name for name in PLANNED if ours[name] != theirs[name]} == {"interleaving"}
