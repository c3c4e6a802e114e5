"""What `bench races` says that any rule must spend."""

import numpy as np
import pytest

from bench.curves import Race
from bench.races import floor, hindsight

PARTS = np.array([0.1, 0.2, 0.3, 0.6, 1.0])  # the first rung is the third


def race(*finals_behind: tuple[float, float]) -> Race:
    """Arms of so much loss before their end, and at it; the base is the first."""
    return Race("made up", PARTS, np.array([[before] * 4 + [last] for before, last in finals_behind]))


def test_the_floor_is_winner_and_base_to_the_end_and_all_others_to_the_first_rung():
    assert floor(race((2, 2), (3, 3), (1, 1), (4, 4))) == pytest.approx((2 + 2 * 0.3) / 4)
    assert floor(race((1, 1), (3, 3), (2, 2), (4, 4))) == pytest.approx((1 + 3 * 0.3) / 4)


def test_hindsight_is_the_floor_where_the_winner_leads_all_along():
    clear = [race((2, 2), (3, 3), (1, 1), (4, 4)) for _ in range(20)]
    assert hindsight(clear) == pytest.approx(floor(clear[0]))


def test_hindsight_saves_nothing_where_the_winner_is_last_until_the_end():
    late = [race((2, 2), (3, 3), (5, 1), (4, 4)) for _ in range(20)]
    assert hindsight(late) == 1.0


def test_hindsight_may_lose_the_winner_of_one_race_in_twenty():
    clear, late = race((2, 2), (3, 3), (1, 1), (4, 4)), race((2, 2), (3, 3), (5, 1), (4, 4))
    assert hindsight([clear] * 199 + [late]) == pytest.approx(floor(clear), abs=0.01)
    assert hindsight([clear] * 100 + [late] * 100) == 1.0
