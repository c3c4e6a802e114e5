"""Which arm of a study of mixtures to start next, and when to stop it, so that most arms need not start.

    first     the base and the mixtures farthest apart, 15 % of all arms, at least 5: trained whole
    next      the arm of the largest expected improvement over the best so far, whenever one of `batch` places is free
    stopped   at the first evaluation where its chance to end below the best so far is less than CHANCE
    again     once all have started, the stopped arm of the largest chance, an evaluation at a time
    over      when what would be next might take more, at its end, than `spend` of what all arms would

All of this is within one seed block. It allocates, and gives no verdict: `verdict.race` judges what it leaves.

Expected losses are the mean of two predictions: `laws.surrogate`, of every validation set, and a Gaussian process on
the square root of the weights (Matern 5/2), of the metric alone. Expected improvement: Jones et al. (1998), J. Global
Optimization 13. An arm that is not whole stands for what its curve forecasts (`statistics.forecast`), or for what the
surrogate expects where it has no evaluation yet ("kriging believer", Ginsbourger et al. 2010), so that a batch spreads.

`play` replays the search from its beginning, an evaluation of all running arms at a time. The same curves give the same
choices, in whatever order they came, however many of them lie further ahead.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from ablate.laws.mixtures import first_arms
from ablate.laws.surrogate import Swarm, estimate
from ablate.verdict.statistics.forecast import chance_below

CHANCE = 0.05
FINALISTS = 3  # arms of the block that go on with the study's other seeds
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Block:
    """The runs of one seed, as far as they are known; the base is the first arm."""

    weights: np.ndarray  # arms x domains
    parts: np.ndarray  # of a run done at each evaluation, the last 1
    losses: np.ndarray  # arms x evaluations x validation sets; nan: not there
    lost: np.ndarray  # arms; whether the run diverged or failed, so that nothing more will come
    own: tuple[int, ...]  # the domain that each set is of, -1 for none
    importance: np.ndarray  # of each set in the metric

    @property
    def known(self) -> np.ndarray:
        """Evaluations that are there, by arm."""
        return np.isfinite(self.losses).all(2).cumprod(1).sum(1)


@dataclass
class Search:
    """A search as far as its block has come.

    wanted: arms to train now, and the part of the run to train them to; none: the search is over. stopped: the part
    of its run after which an arm was stopped, and its chance then.
    """

    wanted: dict[int, float] = field(default_factory=dict)
    finalists: list[int] = field(default_factory=list)  # once it is over
    started: list[int] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    stopped: dict[int, tuple[float, float]] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)


Memo = dict[bytes, int]  # choices by what they were made of: a replay need not make them again


def play(block: Block, spend: float, batch: int, memo: Memo | None = None) -> Search:
    """The search by what is known of the block."""
    walk = _Walk(block, spend * len(block.weights), batch, {} if memo is None else memo)
    if walk.begin() and walk.go_on():
        walk.search.finalists = walk.best(FINALISTS)
    return walk.search


def apart(weights: np.ndarray) -> list[int]:
    """All arms from the first on, each the farthest from those before it."""
    roots, order = np.sqrt(weights), [0]
    near = np.linalg.norm(roots - roots[0], axis=1)
    while len(order) < len(weights):
        near[order] = -1
        order.append(int(near.argmax()))
        near = np.minimum(near, np.linalg.norm(roots - roots[order[-1]], axis=1))
    return order


@dataclass
class _Walk:
    """A search while it is replayed. seen: evaluations that it has looked at, by arm."""

    block: Block
    allowed: float  # whole runs
    batch: int
    memo: Memo
    search: Search = field(default_factory=Search)
    live: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.known, self.metric = self.block.known, self.block.losses @ self.block.importance
        self.seen = np.zeros(len(self.block.weights), int)

    def begin(self) -> bool:
        """Take in the first arms, others in place of lost ones; whether all of them are whole."""
        search, last = self.search, len(self.block.parts)
        for arm in apart(self.block.weights):
            if len(search.whole) + len(search.wanted) == first_arms(len(self.known)):
                break
            search.started.append(arm)
            if self._reach(arm, last):
                search.whole.append(arm)
            elif not self.block.lost[arm]:
                search.wanted[arm] = 1.0
        return not search.wanted

    def go_on(self) -> bool:
        """Evaluation by evaluation, until one lacks; or no arm runs and none may start, and the search is over."""
        while self._start() or self.live:
            ahead = {arm: self.seen[arm] + 1 for arm in self.live}
            for arm, count in ahead.items():
                if self.known[arm] < count and not self.block.lost[arm]:
                    self.search.wanted[arm] = float(self.block.parts[count - 1])
            if self.search.wanted:
                return False
            self.live = [arm for arm, count in ahead.items() if self._reach(arm, count)]
            self._judge()
        return True

    def best(self, count: int) -> list[int]:
        """The best of the whole arms, without the base."""
        return sorted(set(self.search.whole) - {0}, key=lambda arm: self.metric[arm, -1])[:count]

    def _reach(self, arm: int, count: int) -> bool:
        """Look at so many evaluations of an arm; whether they are there. A lost arm is noted."""
        self.seen[arm] = min(count, self.known[arm])
        if self.seen[arm] < count and self.block.lost[arm]:
            self.search.lost.append(arm)
        return self.seen[arm] == count

    def _start(self) -> bool:
        """Start arms while there are places, arms and means for them; whether some were."""
        before = len(self.live)
        while len(self.live) < self.batch and (arm := self._next()) is not None:
            self.live.append(arm)
        return len(self.live) > before

    def _next(self) -> int | None:
        """The arm to start, or to go on with; None where there are no means for any."""
        means = self.allowed + ROUNDING - self._committed()
        if left := [arm for arm in range(len(self.known)) if arm not in self.search.started]:
            if means < 1:
                return None
            self.search.started.append(arm := self._choose(left))
            return arm
        stopped = [arm for arm, (part, _) in self.search.stopped.items() if 1 - part <= means]
        if not stopped:
            return None
        arm = max(stopped, key=self._chance)
        del self.search.stopped[arm]
        return arm

    def _chance(self, arm: int) -> float:
        """Of a running arm to end below the best so far."""
        now, whole = int(self.seen[arm]), self.metric[self.search.whole]
        return chance_below(self.block.parts, whole, self.metric[arm, :now])

    def _committed(self) -> float:
        """Whole runs that the search has taken, or will have if all running arms come to their end."""
        parts = np.append(0.0, self.block.parts)[self.seen]
        return float(parts.sum() + (1 - parts[self.live]).sum())

    def _judge(self) -> None:
        """Arms that have come to their end are whole; of the others, those that are hardly the best are stopped."""
        ended = [arm for arm in self.live if self.seen[arm] == len(self.block.parts)]
        self.search.whole += ended
        chances = {arm: self._chance(arm) for arm in self.live if arm not in ended}
        for arm, chance in chances.items():
            if chance < CHANCE:
                self.search.stopped[arm] = float(self.block.parts[self.seen[arm] - 1]), chance
        self.live = [arm for arm in chances if arm not in self.search.stopped]

    def _choose(self, left: list[int]) -> int:
        """The arm of the largest expected improvement, of these."""
        best = float(self.metric[self.search.whole, -1].min())
        trained = [arm for arm in self.search.started if arm not in self.search.lost]
        losses, blank = self._ends(trained)
        key = np.concatenate([*losses.T, np.array([*trained, -1, *left], float)]).tobytes()
        if key not in self.memo:
            mean, sd = self._expected(trained, losses, blank, left)
            self.memo[key] = left[int(_improvement(best - mean, sd).argmax())]
        return self.memo[key]

    def _ends(self, arms: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Final losses of arms as they are or are forecast, nan and marked where there is no evaluation."""
        whole = np.median(self.block.losses[self.search.whole], 0)
        now = self.seen[arms] - 1
        ends = self.block.losses[arms, now] + whole[-1] - whole[now]
        ends[now < 0] = math.nan
        return ends, now < 0

    def _expected(
        self, trained: list[int], losses: np.ndarray, blank: np.ndarray, left: list[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of the metric of arms that were not started: mean and standard deviation."""
        weights, block = self.block.weights, self.block
        swarm = self._swarm(np.array(trained)[~blank], losses[~blank])
        if blank.any():
            losses[blank] = estimate(swarm).losses(weights[trained][blank])[0]
            swarm = self._swarm(np.array(trained), losses)
        mean, sd = estimate(swarm).metric(weights[left])
        other, other_sd = _by_process(swarm.weights, losses @ block.importance, weights[left])
        return (mean + other) / 2, np.sqrt((sd**2 + other_sd**2) / 2)

    def _swarm(self, arms: np.ndarray, losses: np.ndarray) -> Swarm:
        names = tuple(map(str, range(self.block.weights.shape[1])))
        return Swarm(names, self.block.weights[arms], losses, self.block.own, self.block.importance)


def _by_process(weights: np.ndarray, metric: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of one run, by a Gaussian process."""
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(0.5, (0.05, 10.0), nu=2.5) + WhiteKernel(0.01, (1e-5, 1.0))
    with warnings.catch_warnings():  # a hyperparameter at its bound is fine
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = GaussianProcessRegressor(kernel, normalize_y=True).fit(weights**0.5, metric)
    mean, sd = found.predict(asked**0.5, return_std=True)[:2]
    return np.asarray(mean), np.asarray(sd)


def _improvement(ahead: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Expected, of arms so far ahead of the best."""
    z = ahead / np.maximum(sd, 1e-12)
    return ahead * ndtr(z) + sd * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
