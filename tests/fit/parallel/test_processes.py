"""Processes of one run: how they end together."""

import sys

import pytest

from ablate.fit.parallel.processes import together
from ablate.run.failures import PAUSED, RanksFailed


def leave(codes: list[int], rank: int, port: int) -> None:
    sys.exit(codes[rank])


def test_processes_that_pause_are_a_run_that_pauses():
    with pytest.raises(SystemExit) as stop:
        together(leave, 2, [PAUSED, PAUSED])
    assert stop.value.code == PAUSED


def test_one_that_fails_is_a_failure_whatever_the_others_do():
    with pytest.raises(RanksFailed) as failed:
        together(leave, 2, [PAUSED, 3])
    assert failed.value.codes[1] == 3  # the other may have been stopped before it paused


def test_all_that_end_well_are_no_failure():
    together(leave, 2, [0, 0])
