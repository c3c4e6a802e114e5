"""What `bench tasks` draws: studies of tasks without any effect are seldom said to have one."""

import pytest

from ablate.scores.readings import READINGS
from bench.tasks import _nulls, _twice


@pytest.mark.slow
def test_null_studies_make_few_false_claims_also_where_choices_tie():
    for words in _nulls(40, True, 100).values():
        assert sum(words) <= 10  # of 5 expected at most, with a sd of 2.2


def test_items_that_are_there_twice_narrow_no_interval():
    assert [min(line.values) for line in _twice()] == [pytest.approx(1.0)] * len(READINGS)
