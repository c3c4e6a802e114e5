from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.plan import keyed

sizes = st.integers(1, 5000)
keys = st.integers(0, 2**64 - 1)


@given(sizes, keys)
def test_permute_is_a_bijection(size, key):
    image = keyed.permute(np.arange(size), size, key)
    assert sorted(image.tolist()) == list(range(size))


@given(st.integers(2, 2**40), keys, st.data())
def test_permute_of_an_index_does_not_depend_on_the_others(size, key, data):
    index = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20)))
    together = keyed.permute(index, size, key)
    alone = np.concatenate([keyed.permute(index[i : i + 1], size, key) for i in range(len(index))])
    assert together.tolist() == alone.tolist()
    assert together.min() >= 0
    assert together.max() < size


@given(st.integers(10, 5000), keys, keys)
def test_permute_differs_by_key(size, a, b):
    same = keyed.permute(np.arange(size), size, a) == keyed.permute(np.arange(size), size, b)
    assert same.all() if a == b else not same.all()


def test_permutations_of_successive_keys_are_unrelated():
    """As many indices keep their place from key to key as in random permutations: one, on average."""
    images = [keyed.permute(np.arange(1000), 1000, key) for key in range(200)]
    kept = [int((a == b).sum()) for a, b in pairwise(images)]
    assert 0.7 < np.mean(kept) < 1.3
    assert max(kept) < 8


def test_permute_puts_each_index_everywhere():
    """Chi-squared of where eight indices go under 1600 keys: 49 degrees of freedom, so 100 is five deviations off."""
    places = np.array([keyed.permute(np.arange(8), 8, keyed.key(k, "uniform")) for k in range(1600)])
    counts = np.array([[np.sum(places[:, i] == place) for place in range(8)] for i in range(8)])
    assert ((counts - 200) ** 2 / 200).sum() < 100


@given(st.integers(0, 12), keys, st.integers(0, 1000))
def test_scramble_is_a_bijection_of_every_aligned_run(bits, key, run):
    image = keyed.scramble(np.arange(2**bits) + run * 2**bits, bits, key)
    assert sorted(image.tolist()) == list(range(2**bits))


@given(st.integers(1, 12), keys, st.data())
def test_scramble_is_nested(bits, key, data):
    """Any aligned run of 2^j indices has one image in each of 2^j equal parts."""
    j = data.draw(st.integers(0, bits))
    run = data.draw(st.integers(0, 2 ** (bits - j) - 1))
    image = keyed.scramble(np.arange(2**j) + run * 2**j, bits, key)
    assert sorted((image >> (bits - j)).tolist()) == list(range(2**j))


def test_scramble_differs_by_key():
    images = {tuple(keyed.scramble(np.arange(64), 6, key).tolist()) for key in range(200)}
    assert len(images) == 200


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=50, unique=True))
def test_mix_is_injective(values):
    assert len(set(keyed.mix(np.array(values, dtype=np.uint64)).tolist())) == len(values)


def test_mix_is_the_published_function():
    """The first number of SplitMix64 from seed 0."""
    assert hex(int(keyed.mix(np.array([0x9E3779B97F4A7C15], dtype=np.uint64))[0])) == "0xe220a8397b1dcdaf"


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((0, "order"), (1, "order")),
        ((0, "order"), (0, "block")),
        ((0, "a", "b"), (0, "ab")),
        ((1, 2), (12,)),
        ((1,), ("1",)),
    ],
)
def test_key_tells_its_parts_apart(a, b):
    assert keyed.key(*a) != keyed.key(*b)
    assert 0 <= keyed.key(*a) < 2**64


def test_draws_are_pinned():
    """If these move, so does the data order of every run: raise identity.SEMANTICS."""
    assert keyed.key(0, "order", "qa", 0) == 4317804445289007847
    assert keyed.permute(np.arange(10), 10, keyed.key(0, "order", "qa", 0)).tolist() == [1, 3, 5, 9, 7, 0, 4, 6, 2, 8]
    assert keyed.permute(np.arange(4), 10**9, 7).tolist() == [302531366, 9871400, 952636840, 534460807]
    assert keyed.scramble(np.arange(8), 3, keyed.key(0, "slot")).tolist() == [3, 6, 1, 4, 2, 7, 0, 5]
    assert keyed.scramble(np.arange(4), 32, 7).tolist() == [126583164, 3202613645, 1868027308, 3830036769]
