"""Questions inside one run: few false claims whatever the noise, and planted texts are found."""

import numpy as np
import pytest

from ablate.verdict.statistics.untouched import TAIL, Noise, judge
from bench.interventions import FACTS, WORLDS, _claims, null


@pytest.mark.parametrize("world", ["normal", "skewed"])
@pytest.mark.parametrize("controls", [FACTS, 20 * FACTS])
def test_texts_that_do_nothing_are_seldom_said_to_do_something(world, controls):
    found = [null(number, WORLDS[world], 1, controls) for number in range(100)]
    assert sum(_claims(one.answers) for one in found) <= 12  # of 5 expected at most, with a sd of 2.2
    assert sum(_claims(one.by_times) for one in found) <= 12


def test_seeds_of_one_answer_are_no_independent_draws_of_it():
    """Every text is read in each of four seeds; a quarter of an answer's variance is the same in all."""

    def lasting(rng, shape):  # as was measured in `insert_sweep`
        return 0.5 * rng.standard_normal(shape[1]) + 0.75**0.5 * rng.standard_normal(shape)

    found = [null(number, lasting, 4, 20 * FACTS, repetitions=(4,)) for number in range(100)]
    assert sum(_claims(one.answers) for one in found) <= 12
    assert sum(_claims(one.by_times) for one in found) <= 12


def test_without_controls_only_seeds_are_used_that_left_some_answers_alone_together():
    rng = np.random.default_rng(0)
    values = {seed: {f"{n}": float(rng.normal()) for n in range(8)} for seed in range(2)}
    times = {seed: {f"{n}": int(n // 4 == seed) for n in range(7)} | {"7": 1} for seed in range(2)}
    found = judge(values, times, {}, margin=0.0, confidence=0.95)
    alone = [values[0][f"{n}"] for n in (4, 5, 6)]  # in the first seed; none in both
    assert found.answers["7", 1].mean == pytest.approx(values[0]["7"] - np.mean(alone))


def test_planted_texts_are_found_one_by_one_and_what_all_share_is_taken_off():
    found = null(0, WORLDS["normal"], 4, 20 * FACTS, effect=8.0)
    assert {told.word for told in found.answers.values()} == {"better"}
    assert len(found.answers) == 3 * FACTS  # every question has every number of repetitions in one of the seeds
    assert [round(told.mean) for told in found.by_times.values()] == [-8, -8, -8]


def test_an_interval_leaves_out_zero_exactly_where_a_word_says_so():
    for number in range(20):
        for family in vars(null(number, WORLDS["Student's t of 3"], 2, effect=5.0)).values():
            for told in family.values() if isinstance(family, dict) else ():
                outside = told.interval[0] > 0 or told.interval[1] < 0
                assert outside == (told.p_adjusted <= 0.05 + 1e-12) == (told.word in ("better", "worse"))


def test_a_small_effect_of_much_known_noise_is_equivalent_within_the_margin():
    rng = np.random.default_rng(0)
    values = {0: {f"{n:03d}": float(x) for n, x in enumerate(rng.normal(0, 0.01, 400))}}
    found = judge(values, {0: {"000": 4, "001": 4, "002": 4}}, {}, margin=0.1, confidence=0.95)
    assert {told.word for told in found.answers.values()} == {"equivalent"}


def test_what_moves_a_form_is_taken_off_the_question_of_that_form_alone():
    rng = np.random.default_rng(0)
    forms = {f"{n:03d}": "ab"[n % 2] for n in range(80)}
    values = {0: {name: float(rng.normal(0, 0.1)) - 5 * (form == "a") for name, form in forms.items()}}
    values[0]["001"] -= 5
    found = judge(values, {0: {"000": 4, "001": 4}}, forms, margin=0.0, confidence=0.95)
    assert {key[0]: told.word for key, told in found.answers.items()} == {"000": "inconclusive", "001": "better"}
    assert found.answers["001", 4].mean == pytest.approx(-5, abs=0.4)


def test_tails_beyond_what_was_seen_fall_as_a_power():
    known = Noise(np.array([3.0, 3.0, 1.0, 1.0]), 6.7, 3.0)
    assert (known.tail(3.0), known.tail(2.0), known.tail(0.5)) == (3 / 5, 3 / 5, 1.0)
    assert known.tail(6.0) == pytest.approx(2**-TAIL / 5)
    assert known.reach(known.tail(6.0)) == pytest.approx(6.0)
