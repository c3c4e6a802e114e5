"""What is shared is found, is all there is, and never more: against the rows themselves."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import steps_shared

from ablate.plan.timeline import timeline
from ablate.run.parse import from_plain
from ablate.run.settings import Settings
from ablate.sweep.trunk import beginning, branches, forest, key, numerics

BASE = {"tokens": 40 * 1024, "schedule": {"warmup": 4, "decay": 8}, "length": {"lengths": [512]}}
# Changes of a run, and the first step that they touch (None: all of them)
CHANGES = {
    "seed": ({"seed": 1}, 0),
    "width": ({"size": {"width": 256}}, 0),
    "precision": ({"precision": "bf16-mixed"}, 0),
    "clip": ({"optimizer": {"clip": 0.5}}, 0),
    "8 bits": ({"optimizer": {"name": "adamw8bit"}}, 0),
    "norm": ({"model": {"norm_eps": 1e-6}}, 0),
    "lerac": ({"optimizer": {"lerac": {"lowest": 0.5, "until": 10}}}, 0),
    "block": ({"mixture": {"block": 32}}, 0),
    "rate": ({"optimizer": {"lr": 1e-3}}, 0),
    "warmup": ({"schedule": {"warmup": 5, "decay": 8}}, 0),
    "shape": ({"schedule": {"warmup": 4, "decay": 8, "shape": "sqrt"}}, 32),
    "longer decay": ({"schedule": {"warmup": 4, "decay": 20}}, 20),
    "late mixture": ({"mixture": {"stages": {"late": {"start": 17, "weights": {"qa": 1}}}}}, 17),
    "late length": ({"length": {"lengths": [512, 1024], "starts": [0, 25]}}, 25),
    "average": ({"averaging": {"kind": "ema", "start": 30}}, 30),
    "ramp": ({"ramp": {"multiples": [1, 2], "starts": [0, 28]}, "schedule": {"warmup": 4, "decay": 2}}, 28),
    "longer": ({"tokens": 80 * 1024}, 32),
    "more evaluations": ({"evaluation": {"times": 3}}, 39),
    "other validation rows": ({"evaluation": {"spans": 2}}, 0),
    "another part of them": ({"evaluation": {"part": 2}}, 0),
}


def made(*changes: str) -> Settings:
    plain: dict = BASE
    for change in changes:
        plain = plain | CHANGES[change][0]
    return from_plain(plain)


def shared(*several: Settings) -> int:
    """Steps that all of these share."""
    trees = forest([beginning(str(n), timeline(one), "data", "here") for n, one in enumerate(several)])
    return trees[0].last if len(trees) == 1 and len(trees[0].runs) == len(several) else 0


@pytest.mark.parametrize("change", CHANGES)
def test_two_runs_share_the_steps_before_the_first_that_differs(change):
    assert shared(made(), made(change)) == CHANGES[change][1]


@given(st.sampled_from(sorted(CHANGES)), st.sampled_from(sorted(CHANGES)))
def test_keys_are_equal_exactly_on_the_common_way(one, other):
    a, b = (beginning(name, timeline(made(name)), "data", "here") for name in (one, other))
    common = shared(a.settings, b.settings) if one != other else len(a.moves)
    if a.head == b.head:
        assert all((key(a, n) == key(b, n)) == (n <= common) for n in range(min(len(a.moves), len(b.moves))))
    else:
        assert all(key(a, n) != key(b, n) for n in range(min(len(a.moves), len(b.moves))))


@given(st.lists(st.sampled_from(sorted(CHANGES)), unique=True, min_size=1, max_size=6))
def test_a_forest_covers_every_step_of_every_run_once(names):
    several = {name: timeline(made(name)) for name in names}
    trees = forest([beginning(name, line, "data", "here") for name, line in several.items()])
    for name, line in several.items():
        way = [segment for tree in trees for segment in tree.walk() if name in segment.runs]
        assert [segment.first for segment in way] == [0, *(segment.last for segment in way[:-1])]
        assert way[-1].last == len(line)
        assert way[-1].runs == (name,)
    assert steps_shared(trees) <= sum(len(line) for line in several.values())


def test_data_and_machine_part_ways_from_the_start():
    line = timeline(made())
    here = beginning("a", line, "data", "here")
    assert key(here, 5) == key(beginning("b", line, "data", "here"), 5)
    assert key(here, 5) != key(beginning("b", line, "other", "here"), 5)
    assert key(here, 5) != key(beginning("b", line, "data", "elsewhere"), 5)


@pytest.mark.parametrize("change", [{"micro_tokens": 512}, {"compile": True}, {"threads": 2}, {"strategy": "ddp"}])
def test_what_moves_bits_moves_the_numerics(change):
    where = made().where
    assert numerics(where) == numerics(dataclasses.replace(where, outputs="elsewhere", saves=3))
    assert numerics(where) != numerics(dataclasses.replace(where, **change))


def test_a_plateau_that_ends_is_a_place_to_save_without_anyone_to_share_it():
    wsd, cosine = made(), from_plain(BASE | {"schedule": {"warmup": 4, "decay": 1.0, "shape": "cosine"}})
    found = branches([beginning("wsd", timeline(wsd), "", ""), beginning("cosine", timeline(cosine), "", "other")])
    assert [branch.step for branch in found["wsd"]] == [32]
    assert found["cosine"] == []
