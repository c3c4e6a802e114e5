"""Fractions of two-level factorials: the textbook's resolutions and word counts, and what the definitions say."""

import itertools
import math

import numpy as np
import pytest

from ablate.fraction import Fraction, fraction, saving, word_pattern

LETTERS = tuple("abcdefghijklmnop")
# (factors, arms): resolution, then words of 3, 4, 5 letters; minimum aberration as tabulated by Chen, Sun and Wu,
# International Statistical Review 61 (1993), for 16, 32 and 64 runs
TEXTBOOK = {
    (3, 4): (3, 1, 0, 0),
    (4, 8): (4, 0, 1, 0),
    (5, 8): (3, 2, 1, 0),
    (7, 8): (3, 7, 7, 0),
    (5, 16): (5, 0, 0, 1),
    (6, 16): (4, 0, 3, 0),
    (7, 16): (4, 0, 7, 0),
    (8, 16): (4, 0, 14, 0),
    (9, 16): (3, 4, 14, 8),
    (15, 16): (3, 35, 105, 168),
    (7, 32): (4, 0, 1, 2),
    (8, 32): (4, 0, 3, 4),
    (9, 32): (4, 0, 6, 8),
    (10, 32): (4, 0, 10, 16),
    (11, 32): (4, 0, 25, 0),
    (8, 64): (5, 0, 0, 2),
    (9, 64): (4, 0, 1, 4),
    (10, 64): (4, 0, 2, 8),
    (11, 64): (4, 0, 4, 14),
    (12, 64): (4, 0, 6, 24),
}


def best(factors: int, num_arms: int) -> Fraction:
    return fraction(LETTERS[:factors], num_arms, resolution=3)


@pytest.mark.parametrize(("factors", "num_arms"), TEXTBOOK)
def test_as_in_the_textbook(factors, num_arms):
    found = best(factors, num_arms)
    lengths = [len(word) for word in found.words]
    assert (found.resolution, *(lengths.count(n) for n in (3, 4, 5))) == TEXTBOOK[factors, num_arms]
    assert len(found.words) == 2**factors // num_arms - 1
    assert found.num_arms == num_arms


@pytest.mark.parametrize(("factors", "num_arms"), [(5, 8), (7, 16), (9, 32)])
def test_the_pattern_from_macwilliams_is_that_of_the_words(factors, num_arms):
    found = best(factors, num_arms)
    lengths = [len(word) for word in found.words]
    pattern = word_pattern(np.array([found.columns]), num_arms)[0]
    assert pattern.tolist() == [lengths.count(n) for n in range(3, factors + 1)]


def signs(found: Fraction) -> np.ndarray:
    return np.array([[1 if name in on else -1 for name in found.factors] for on in ((), *found.arms)])


def test_words_are_constant_over_the_arms_and_factors_balanced():
    found = best(7, 16)
    table = signs(found)
    assert len({tuple(row) for row in table.tolist()}) == 16
    assert (table.T @ table == 16 * np.eye(7)).all()
    assert (table.sum(0) == 0).all()
    for word in found.words:
        products = table[:, [found.factors.index(name) for name in word]].prod(1)
        assert set(products.tolist()) == {(-1) ** len(word)}


@pytest.mark.parametrize(("factors", "num_arms"), [(3, 4), (5, 8), (6, 16), (7, 8)])
def test_aliases_are_the_columns_that_are_equal_and_their_signs(factors, num_arms):
    found = best(factors, num_arms)
    table = signs(found)

    def column(names) -> np.ndarray:
        return table[:, [found.factors.index(name) for name in names]].prod(1)

    effects = [names for size in (1, 2) for names in itertools.combinations(found.factors, size)]
    for effect in effects:
        expected = set()
        for other in effects:
            for sign in "+-":
                if other != effect and (column(effect) == (1 if sign == "+" else -1) * column(other)).all():
                    expected.add(sign + " x ".join(other))
        assert set(found.aliases(effect)) == expected


def test_of_resolution_four_no_factor_has_a_pair_for_an_alias():
    found = fraction(LETTERS[:8])
    assert found.num_arms == 16
    assert all(found.aliases((name,)) == () for name in found.factors)
    assert len(found.pairs) == 7
    assert sum(map(len, found.pairs)) == math.comb(8, 2)


def test_a_number_of_arms_and_a_resolution():
    assert fraction(LETTERS[:5]).num_arms == 16
    assert fraction(LETTERS[:5], resolution=3).num_arms == 8
    assert fraction(LETTERS[:5], resolution=6).num_arms == 32  # all of them
    assert fraction(LETTERS[:2]).arms == (("a",), ("b",), ("a", "b"))


@pytest.mark.parametrize(
    ("factors", "num_arms", "resolution", "message"),
    [
        (7, 16, 5, "resolution 5 cannot be had: 16 arms of 7 factors have 4 at most"),
        (7, 12, 3, "12 arms for 7 factors: must be one of 8, 16, 32, 64"),
        (7, 4, 3, "must be one of 8"),
        (1, 0, 3, "1 factors: must be 2 to 16"),
    ],
)
def test_what_cannot_be_had_is_one_line(factors, num_arms, resolution, message):
    with pytest.raises(ValueError, match=message):
        fraction(LETTERS[:factors], num_arms, resolution)


def test_the_order_of_the_factors_and_nothing_else_decides():
    assert fraction(LETTERS[:6]) == fraction(LETTERS[:6])
    renamed = fraction(tuple("uvwxyz"))
    assert renamed.columns == fraction(LETTERS[:6]).columns
    assert saving(7) == 4
