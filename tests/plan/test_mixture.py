"""What is exact, and what is not.

Of one block of rows, each domain has its share rounded up or down. Of 2^m aligned blocks, each
prefix of the domains has its share to within less than a row, for the draws have one point in each
of 2^m x block equal parts of [0, 1); so a domain between two others has its share to within less
than two rows (more than one does occur). Any n blocks from the first fall into as many aligned
pieces as n has binary ones.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.plan.mixture import assign, draws, stage_of, stage_weights
from ablate.run.mixture import Mixture, Stage
from ablate.run.settings import Settings

blocks = st.integers(0, 9).map(lambda bits: 2**bits)
seeds = st.integers(0, 2**63 - 1)
weights = (
    st.lists(st.floats(0.001, 1) | st.just(0.0), min_size=1, max_size=6)
    .filter(any)
    .map(lambda w: np.array(w) / math.fsum(w))
)


def counts_of(rows: np.ndarray, block: int, seed: int, weights: np.ndarray) -> np.ndarray:
    return np.bincount(assign(draws(rows, block, seed), weights), minlength=len(weights))


@given(blocks, seeds, weights, st.integers(0, 2**31))
def test_block_has_each_share_rounded_up_or_down(block, seed, weights, number):
    counts = counts_of(np.arange(block) + number * block, block, seed, weights)
    assert counts.sum() == block
    for count, share in zip(counts, block * weights, strict=True):
        assert math.floor(share + 1e-9) <= count <= math.ceil(share - 1e-9)


@given(blocks, seeds, weights, st.integers(0, 5), st.integers(0, 1000))
def test_aligned_blocks_have_their_shares_within_a_row_cumulated_and_two_each(block, seed, weights, m, run):
    total = block << m
    counts = counts_of(np.arange(total) + run * total, block, seed, weights)
    assert (abs(np.cumsum(counts) - total * np.cumsum(weights)) < 1 + 1e-6).all()
    assert (abs(counts - total * weights) < 2).all()


def test_two_rows_is_the_bound_and_one_is_not():
    worst = max(
        abs(counts_of(np.arange(512), 64, seed, np.array(w)) - 512 * np.array(w)).max()
        for seed in range(200)
        for w in ([0.1, 0.271, 0.629], [0.0335, 0.11, 0.8565])
    )
    assert 1 < worst < 2


@given(seeds, weights, st.integers(1, 60))
def test_any_beginning_has_its_shares_within_two_rows_a_binary_one(seed, weights, number):
    counts = counts_of(np.arange(64 * number), 64, seed, weights)
    assert (abs(counts - 64 * number * weights) < 2 * number.bit_count()).all()


@given(blocks, seeds, st.integers(0, 5), st.integers(0, 1000))
def test_draws_have_one_point_in_every_part(block, seed, m, run):
    total = block << m
    u = draws(np.arange(total) + run * total, block, seed)
    assert sorted(np.floor(u * total).astype(int).tolist()) == list(range(total))


@given(blocks, seeds, st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_draw_of_a_row_does_not_depend_on_the_others(block, seed, rows):
    together = draws(np.array(rows), block, seed)
    assert together.tolist() == [draws(np.array([row]), block, seed)[0] for row in rows]


def test_blocks_are_shuffled_differently_and_by_seed():
    places = {tuple(np.argsort(draws(np.arange(64) + 64 * n, 64, seed))) for seed in range(8) for n in range(8)}
    assert len(places) > 48  # 64 shuffles a seed, so two blocks in eight may share one


def test_domain_is_not_tied_to_the_place_in_a_block():
    """Each of the 64 places holds the first quarter of [0, 1) in about a quarter of the blocks."""
    first = (draws(np.arange(64 * 4096), 64, seed=0) < 0.25).reshape(-1, 64).mean(axis=0)
    assert abs(first - 0.25).max() < 0.04


@given(st.integers(1, 6), st.integers(0, 5), seeds)
def test_weight_of_zero_never_occurs(size, zero, seed):
    weights = np.ones(size + 1)
    weights[min(zero, size)] = 0
    extremes = [0.0, 1 - 2.0**-53, *(np.cumsum(weights) / weights.sum())[:-1]]
    u = np.concatenate([draws(np.arange(1024), 64, seed), [x for x in extremes if x < 1]])
    assert set(assign(u, weights / weights.sum()).tolist()) == set(range(size + 1)) - {min(zero, size)}


def test_only_domain_has_every_row():
    assert set(assign(draws(np.arange(1000), 64, 0), np.array([0.0, 1.0, 0.0])).tolist()) == {1}


@given(seeds, weights, st.randoms(use_true_random=False))
def test_two_mixtures_of_a_seed_differ_only_where_their_intervals_do(seed, weights, random):
    other = np.array([w * random.uniform(0.5, 2) for w in weights])
    other /= other.sum()
    u = draws(np.arange(4096), 64, seed)
    edges = [np.concatenate([[0.0], np.cumsum(w)]) for w in (weights, other)]
    outside = np.ones(len(u), dtype=bool)
    for domain in range(len(weights)):
        low, high = (pick(e[domain + i] for e in edges) for i, pick in ((0, max), (1, min)))
        inside = (u >= low + 1e-9) & (u < high - 1e-9)
        assert (assign(u, weights)[inside] == domain).all()
        assert (assign(u, other)[inside] == domain).all()
        outside &= ~inside
    moved = abs(edges[0] - edges[1])[1:-1].sum()  # at most: intervals that move may overlap
    assert outside.mean() <= moved + 2 * len(weights) / len(u)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weights", [(0.25, 0.25, 0.25, 0.25), (0.4, 0.3, 0.2, 0.1), (0.97, 0.01, 0.01, 0.01)])
def test_long_run_has_its_shares(seed, weights):
    """26 M tokens in rows of 1024, 25390 rows, in blocks of 64: three rows are 1.2e-4 of them."""
    rows = 26_000_000 // 1024
    counts = counts_of(np.arange(rows), 64, seed, np.array(weights))
    assert abs(counts / rows - weights).max() < 1.2e-4


def test_stages_by_step():
    late, last = Stage(start=0.5, weights={"qa": 1}), Stage(start=80, weights={"code": 3, "qa": 1})
    settings = Settings(tokens=100 * 1024, mixture=Mixture(stages={"last": last, "late": late}))
    assert stage_of(settings).tolist() == [0] * 50 + [1] * 30 + [2] * 20
    assert stage_weights(settings).tolist() == [[0.25] * 4, [0, 0, 0, 1], [0, 0.75, 0, 0.25]]
