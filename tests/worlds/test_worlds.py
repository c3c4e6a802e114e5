"""Planted worlds are what they say they are; seeds that are sealed are only looked at by kind, never searched here."""

from dataclasses import replace

import numpy as np
import pytest

from tests.worlds import ngram
from tests.worlds.catalogue import KINDS, SEALED, larger, world
from tests.worlds.optimum import minima

RNG = np.random.default_rng(0)
SEEDS = range(14)


@pytest.mark.parametrize("kind", KINDS)
def test_a_world_is_its_seed(kind):
    one, again, other = world(3, kind), world(3, kind), world(4, kind)
    mixture = np.full(one.num_domains, 1 / one.num_domains)
    assert one.macro(mixture) == again.macro(mixture)
    assert 5 <= one.num_domains <= 12
    assert one.domains_KXV.sum((1, 2)) == pytest.approx(np.ones(one.num_domains))
    assert one.targets_TXV.sum((1, 2)) == pytest.approx(np.ones(len(one.own)))
    assert all(prior.sum() == pytest.approx(1) for prior in one.priors.values())
    assert one.macro(mixture) != other.macro(np.full(other.num_domains, 1 / other.num_domains))


def test_kinds_go_round_and_the_sealed_are_of_all_kinds():
    assert [world(seed).kind for seed in range(len(KINDS))] == list(KINDS)
    assert {world(SEALED + seed).kind for seed in range(len(KINDS))} == set(KINDS)


def test_no_mixture_is_better_than_the_best():
    for seed in (0, 3, 8):
        one = world(seed)
        least = minima(one)[1][0][0]
        drawn = np.concatenate([RNG.dirichlet(np.full(one.num_domains, a), 2000) for a in (0.1, 0.5, 2.0)])
        assert one.macro(drawn).min() >= least - 0.02 * one.sd


def regrets(seed: int) -> dict[str, float]:
    one = world(seed)
    least = minima(one)[1][0][0]
    return {name: float(one.macro(prior)[0] - least) / one.sd for name, prior in one.priors.items()}


def test_there_are_worlds_where_every_trivial_prior_loses_and_some_where_one_is_good():
    best = [min(regrets(seed).values()) for seed in SEEDS]
    assert sum(regret > 1 for regret in best) >= 4
    assert sum(regret < 0.5 for regret in best) >= 2


def test_vertex_worlds_have_their_best_near_a_vertex_and_interior_ones_have_not():
    assert all(minima(world(seed, "vertex"))[0].max() > 0.8 for seed in range(4))
    assert all(minima(world(seed, "interior"))[0].max() < 0.7 for seed in range(4))


def test_valleys_are_more_than_one():
    found = [minima(world(seed, "valleys"))[1] for seed in (3, 10, 24)]
    assert all(len(valleys) >= 2 for valleys in found)
    assert all(valleys[1][0] > valleys[0][0] for valleys in found)


def test_the_best_mixture_flips_with_the_tokens():
    """What is best with few tokens costs several seed-sds with four times as many."""
    lost = []
    for seed in (5, 12, 19, 26):
        small = world(seed, "flip")
        large = larger(small)
        lost.append(float(large.macro(minima(small)[0])[0] - minima(large)[1][0][0]) / small.sd)
    assert np.median(lost) > 1


def test_below_a_threshold_a_domain_teaches_nothing():
    """Two weights below it differ far less than two above."""
    one = replace(world(3, "valleys"), beta=0.5)
    weights = np.zeros((4, one.num_domains))
    weights[:, 0] = (0.05, 0.15, 0.6, 0.7)
    weights[:, 1] = 1 - weights[:, 0]  # in other contexts
    own = one.truth(weights)[:, 0]
    assert own[2] - own[3] > 5 * abs(own[0] - own[1])


def test_reading_again_is_worth_less_each_time():
    one = world(0)
    shares = np.linspace(0.05, 1, 20)
    mixtures = shares[:, None] * np.eye(one.num_domains)[0] + (1 - shares)[:, None] * np.eye(one.num_domains)[1]
    scarce = replace(one, pools=np.full(one.num_domains, one.tokens * 0.05))
    read = ngram.read(scarce, mixtures)[:, 0]
    gained = np.diff(read)
    assert (gained > 0).all()
    assert (np.diff(gained) < 0).all()
    assert read[-1] < scarce.pools[0] * (1 + scarce.rereads)


def test_without_tags_domains_that_disagree_harm_each_other():
    """Two domains in the same contexts that go on differently."""
    base = replace(world(0, "interior"), threshold=0.0, tokens=1e4, kappa=5.0)
    rows = np.random.default_rng(2).dirichlet(np.full(8, 0.1), (base.num_domains, 18)) / 18
    one = replace(base, domains_KXV=rows, targets_TXV=rows[:1], own=(0,), pools=np.full(base.num_domains, 1e9))
    alone = np.eye(base.num_domains)[0]
    beside = 0.5 * alone + 0.5 * np.eye(base.num_domains)[1]
    harm = [float(np.diff(replace(one, tagged=tagged).macro(np.stack([alone, beside])))[0]) for tagged in (False, True)]
    assert harm[0] > 0.3
    assert harm[1] < 0.1 * harm[0]


def test_sampled_counts_scatter_around_what_is_expected():
    """Tier 1: drawn counts give a loss near that of expected counts, and a seed-sd."""
    one = world(8)
    mixture = one.match[None]
    drawn = np.array([one.sample(mixture, np.random.default_rng(seed)).mean() for seed in range(40)])
    assert drawn.std() > 0
    assert drawn.mean() == pytest.approx(one.macro(mixture)[0], rel=0.1)
    assert drawn.mean() > one.macro(mixture)[0]  # finite counts are never better on average


def test_noise_is_as_large_as_said_and_grows_away_from_uniform():
    one = replace(world(2), uneven=1.0)
    uniform, corner = np.full(one.num_domains, 1 / one.num_domains), np.eye(one.num_domains)[0]
    spread = [one.run(np.repeat(m[None], 4000, 0), np.random.default_rng(1)).mean(1).std() for m in (uniform, corner)]
    assert spread[0] == pytest.approx(one.sd, rel=0.05)
    assert spread[1] == pytest.approx(one.sd * (2 - 1 / one.num_domains), rel=0.05)
