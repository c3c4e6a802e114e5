"""The router: fitted on questions of its own, never graded on them, and what it makes of states that know something."""

import json

import numpy as np
import pytest

from ablate.verdict.router import LEAST, SHARES, Router, fitted, halves, lengths, outcomes, states
from ablate.verdict.statistics.routing import judged

WIDTH = 8


def row(number: int, state: list[float], fast: bool, slow: bool, cost: int = 20, **more) -> dict:
    steps = {"text": "", "right": slow, "written": 3 + cost, "came": True}
    told = {"item": str(number), "source": f"sums/{number}", "asked": f"Question: {number}?", "read": 10}
    return told | {"written": 3, "right": fast, "steps": steps, "state": state} | more


def world(seed: int, number: int = 600, telling: float = 2.0) -> list[dict]:
    """Rows whose states tell, by their first number, how likely the answer at once is right, and by their second, how
    long the steps are."""
    rng = np.random.default_rng(seed)
    found = []
    for place, state in enumerate(rng.normal(size=(number, WIDTH))):
        fast = rng.random() < 1 / (1 + np.exp(-telling * state[0]))
        cost = max(int(rng.normal(30 + 5 * telling * state[1], 3)), 5)
        found.append(row(place, state.tolist(), bool(fast), bool(rng.random() < 0.8), cost))
    return found


def gained(rows: list[dict]) -> str:
    fit, grade = halves(rows)
    router = fitted(states(fit), outcomes(fit))
    return judged(outcomes(grade), {"router": router.score(states(grade))}).curves["router"].gain.word


def test_no_question_is_in_both_halves():
    """Neither what is asked, nor a source; also where one question has two sources, and a source two questions."""
    rows = [row(n, [0.0], True, True, source=f"s{n // 3}", asked=f"Question: {n % 450}?") for n in range(600)]
    fit, grade = halves(rows)
    assert min(len(fit), len(grade)) > 200
    assert len(fit) + len(grade) == len(rows)
    for key in ("item", "source", "asked"):
        assert not {one[key] for one in fit} & {one[key] for one in grade}, key
    assert halves(rows[::-1]) == (fit[::-1], grade[::-1])


def test_questions_of_a_source_are_drawn_together():
    rows = [row(n, [0.0], True, True, source=f"s{n // 2}") for n in range(6)]
    assert outcomes(rows).group.tolist() == [0, 0, 1, 1, 2, 2]


def test_states_that_tell_are_used_and_those_that_do_not_are_no_better():
    assert gained(world(1)) == "better"
    assert gained(world(2, telling=0.0)) == "no better"


def test_the_score_is_gain_for_a_token():
    """Of two questions that gain as much, that of the shorter steps comes first; what is lost has a score below 0."""
    router = fitted(states(rows := world(3, 2000)), outcomes(rows))
    short, long, known = (np.eye(1, WIDTH, 1) * -1, np.eye(1, WIDTH, 1), np.eye(1, WIDTH, 0) * 4)
    assert router.score(short)[0] > router.score(long)[0] > 0 > router.score(known)[0]
    assert router.tokens(long)[0] == pytest.approx(40, abs=2)
    assert router.slow(np.zeros((1, WIDTH)))[0] == pytest.approx(0.8, abs=0.04)


def test_what_was_fitted_comes_back_from_json():
    router = fitted(states(rows := world(4)), outcomes(rows))
    again = Router.of(json.loads(json.dumps(router.plain())))
    assert again.score(states(rows)).tolist() == router.score(states(rows)).tolist()


def test_as_many_questions_get_steps_as_may():
    router = fitted(states(rows := world(5)), outcomes(rows))
    share = {of: float(np.mean([router.writes(one["state"], of) for one in rows])) for of in (0.0, 0.1, 0.5, 1.0)}
    gaining = float((router.score(states(rows)) > 0).mean())
    assert (share[0.0], share[0.1], share[0.5]) == pytest.approx((0, 0.1, 0.5), abs=0.01)
    assert share[1.0] == gaining > 0.5
    assert len(router.thresholds) == len(SHARES)


def test_where_nearly_all_are_wrong_nothing_is_learnt_of_it():
    rows = [row(n, [float(n)], n < LEAST - 1, True) for n in range(200)]
    router = fitted(states(rows), outcomes(rows))
    assert router.fast(states(rows)) == pytest.approx(np.full(200, 9.5 / 201))
    assert router.slow(states(rows)) == pytest.approx(np.full(200, 200.5 / 201))


def test_lengths_stand_in_the_place_of_states():
    rows = [one | {"read": 10 + int(5 * one["state"][0])} for one in world(6)]
    assert lengths(rows).shape == (600, 1)
    router = fitted(lengths(rows), outcomes(rows))
    assert router.score(np.array([[5.0]]))[0] > router.score(np.array([[20.0]]))[0]
