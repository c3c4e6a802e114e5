"""A search over mixtures gives the same choices whenever it is asked, and never spends more than it may."""

import math
from dataclasses import replace

import numpy as np
import pytest

from ablate.laws.mixtures import first_arms, rows
from ablate.laws.search import CHANCE, FINALISTS, Block, Search, apart, play
from ablate.run.settings import SettingsError

ARMS, PARTS, BEST = 14, np.array([0.25, 0.5, 0.75, 1.0]), np.array([0.5, 0.3, 0.2])


@pytest.fixture(scope="module")
def block() -> Block:
    """Losses of two validation sets that grow with the distance from BEST, and fall along a run."""
    rng = np.random.default_rng(3)
    weights = rng.dirichlet(np.ones(3), ARMS)
    ends = np.stack([((weights - BEST) ** 2).sum(1), 2 * ((weights - BEST) ** 2).sum(1)], 1) + 2
    luck = 0.003 * np.cumsum(rng.standard_normal((ARMS, len(PARTS), 2)), 1)
    losses = ends[:, None] + (1 / PARTS)[:, None] + luck
    nothing = np.zeros(ARMS, bool)
    return Block(weights=weights, parts=PARTS, losses=losses, lost=nothing, own=(0, -1), importance=np.full(2, 0.5))


def spent(found: Search) -> float:
    return len(found.whole) + sum(part for part, _ in found.stopped.values())


def unfolding(block: Block, spend: float, batch: int) -> tuple[Search, list[dict[int, float]]]:
    """A search whose runs are trained as it wants them, one after the other, asked anew each time; what it wanted."""
    known, asked = np.full_like(block.losses, math.nan), []
    while True:
        found = play(replace(block, losses=known), spend, batch)
        if not found.wanted:
            return found, asked
        asked.append(found.wanted)
        arm = max(found.wanted)
        ahead = int(np.searchsorted(PARTS, found.wanted[arm])) + 1
        known[arm, :ahead] = block.losses[arm, :ahead]


@pytest.mark.parametrize("batch", [1, 3])
def test_choices_do_not_depend_on_when_it_is_asked(block, batch):
    found, asked = unfolding(block, 0.6, batch)
    assert found == play(block, 0.6, batch)  # more runs than it wanted change nothing
    assert set(asked[0]) == set(apart(block.weights)[: first_arms(ARMS)])
    assert set(asked[0].values()) == {1.0}
    assert max(map(len, asked[first_arms(ARMS) :])) <= batch
    assert len(found.started) > first_arms(ARMS)


@pytest.mark.parametrize("spend", [0.36, 0.5, 0.7])
@pytest.mark.parametrize("batch", [1, 4])
def test_no_more_is_spent_than_allowed(block, spend, batch):
    found = play(block, spend, batch)
    assert first_arms(ARMS) <= spent(found) <= spend * ARMS
    assert set(found.started) == {*found.whole, *found.stopped}
    assert len(found.finalists) == FINALISTS
    assert 0 not in found.finalists


def test_the_best_is_found_where_losses_follow_the_mixture(block):
    found = play(block, 0.6, 1)
    assert int((block.losses[:, -1] @ block.importance).argmin()) in found.whole
    assert all(chance < CHANCE for _, chance in found.stopped.values())


def test_an_arm_that_falls_behind_is_stopped(block):
    losses, chosen = block.losses.copy(), play(block, 0.6, 1).started[first_arms(ARMS)]
    losses[chosen] += 5
    found = play(replace(block, losses=losses), 0.6, 1)
    assert found.stopped[chosen][0] == PARTS[0]


def test_lost_runs_are_replaced_and_not_waited_for(block):
    """One of the first, whole but for its last evaluation, and one that was chosen."""
    first, chosen = apart(block.weights)[1], play(block, 0.6, 1).started[first_arms(ARMS)]
    losses, lost = block.losses.copy(), block.lost.copy()
    losses[first, -1:], losses[chosen], lost[[first, chosen]] = math.nan, math.nan, True
    found = play(replace(block, losses=losses, lost=lost), 0.6, 1)
    assert not found.wanted
    assert len(found.whole) >= first_arms(ARMS)
    assert not {first, chosen} & {*found.whole, *found.finalists}
    assert spent(found) + 0.75 <= 0.6 * ARMS


def test_arms_that_are_no_mixtures_are_refused():
    weights = {"mixture.weights@0.qa": (0.1, 0.4), "mixture.weights@0.code": (0.9, 0.6)}
    varied, found = rows({"base": {}, "more": weights}, ["general", "code", "qa"])
    assert varied == ["code", "qa"]
    assert found["base"].tolist() == pytest.approx([0.9, 0.1])
    assert found["more"].tolist() == pytest.approx([0.6, 0.4])
    for key, why in (
        ("optimizer.lr", "the arm odd differs in optimizer.lr; a search is of arms that differ in mixture alone"),
        ("mixture.weights@0.7.qa", "the arm odd differs in mixture.weights@0.7.qa; arms may cross late there"),
    ):
        with pytest.raises(SettingsError, match=f"study.budget.race=search: must be another: {why}"):
            rows({"base": {}, "more": weights, "odd": {key: (0.1, 0.2)}}, ["general", "code", "qa"])
