"""Plans in little memory against the whole columns that they stand for."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.plan.segments import Moves, Segments
from ablate.plan.timeline import timeline
from ablate.run.parse import from_plain
from ablate.run.settings import Settings

LONG = {"tokens": 3000 * 1024, "length": {"lengths": [256, 1024], "starts": [0, 1000]}}
columns = st.lists(st.integers(0, 2), min_size=1, max_size=20).map(lambda values: np.array(values, dtype=np.float64))


def moves(*several: np.ndarray) -> Moves:
    return Moves(len(several[0]), {str(number): Segments.of(column) for number, column in enumerate(several)})


@given(columns, st.integers(0, 20), st.integers(0, 20))
def test_rows_are_those_of_the_column(column, first, last):
    first, last = sorted((min(first, len(column)), min(last, len(column))))
    assert moves(column).rows(first, last).view(np.float64)[:, 0].tolist() == column[first:last].tolist()


@given(columns, columns)
def test_two_runs_share_the_steps_before_the_first_that_differs(ours, theirs):
    limit = min(len(ours), len(theirs)) - 1
    expected = next((step for step in range(limit) if ours[step] != theirs[step]), limit)
    assert moves(ours).common(moves(theirs)) == expected
    assert moves(0 * ours, ours).common(moves(0 * theirs, theirs)) == expected


def test_a_name_is_that_of_all_numbers_of_all_steps_before_it(monkeypatch):
    """Names of trunks on disk, which earlier versions wrote out of whole columns."""
    rates, lengths = np.linspace(1.0, 0.0, 50), np.repeat([256, 512], 25)
    whole = np.concatenate([rates[:, None].view(np.uint8), lengths[:, None].view(np.uint8)], axis=1)
    monkeypatch.setattr("ablate.plan.segments.HASHED_STEPS", 7)
    found = moves(rates, lengths).keys("head", [0, 3, 14, 50])
    assert found == {n: hashlib.sha256(b"head" + whole[:n].tobytes()).hexdigest()[:16] for n in (0, 3, 14, 50)}


@pytest.mark.parametrize("ramp", [{}, {"multiples": [1, 2], "starts": [0, 50]}])
def test_flops_are_those_of_the_steps(ramp):
    line = timeline(from_plain(LONG | {"ramp": ramp}))
    per_token = {256: 100, 1024: 130}
    sums, whole = line.moves.flops(per_token), line.flops(per_token)
    assert len(sums) == len(whole)
    assert [sums[step] for step in range(-1, len(sums))] == pytest.approx([whole[-1], *whole])


def test_a_run_without_steps_costs_nothing():
    assert timeline(replace(Settings(), tokens=0)).moves.flops({})[-1] == 0


def test_a_long_run_of_few_changes_is_small():
    """3,000 steps of a plateau and a decay of 600: a column of whole numbers would take 168 KB."""
    kept = timeline(from_plain(LONG | {"schedule": {"decay": 600}})).moves.columns.values()
    assert sum(column.starts.nbytes + column.values.nbytes for column in kept) < 20_000


def test_equal_columns_of_several_runs_are_kept_once():
    known, settings = {}, from_plain(LONG)
    one, other = (timeline(replace(settings, seed=seed)).moves.sharing(known) for seed in (0, 1))
    assert all(one.columns[name] is other.columns[name] for name in one.columns)
    assert one.common(other) == len(one) - 1
