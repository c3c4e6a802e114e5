"""From a surrogate to mixtures: the best one, those that may be as good, and what to train next.

    best(found, rng)                   lowest expected metric plus CAUTION sd: not where nobody has been
    next_runs(found, 4, rng)           what each view of the surrogate would train, different ones
    doubt(found, mixture, noise, rng)  {domain: (least, most)} over mixtures that noise cannot tell from it
    gain(found, mixture, noise, 3)     what three fresh seeds will measure of it over the base, and its interval

No view is always right, so they take turns, run after run: the average of law and process, the process where it is
unsure (a lower confidence bound, Srinivas et al. 2010, arXiv 0912.3995), the same near the best runs alone, and the
average where it is unsure. A batch asks as many of them as it has runs, and tells them apart less well than single
runs do, each of which knows what the one before has given.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from ablate.laws.surrogate import Surrogate

CAUTION = 2.0
VIEWS = ((True, 0.0, False), (False, -1.0, False), (False, -1.0, True), (True, -1.0, False))  # laws too, sd, near
MORE = ((False, 0.0, False), (False, -2.0, False), (True, -2.0, False))  # where those agree
CLOSE = 0.01  # mixtures whose weights all differ by less are the same
DRAWN, PARENTS, ROUNDS, CHILDREN = 600, 10, 4, 200
SPREADS = (0.1, 0.3, 0.8)  # of log weights, around the best runs
NEAR, NEAR_BY, NEAR_SPREAD = 1500, 2, 0.3  # mixtures drawn around so many of the best runs
MODEL = 1.5  # times the surrogate's standard deviation: the chosen mixture is the one that it flatters most
LEVEL = 0.95

Score = Callable[[np.ndarray], np.ndarray]  # mixtures -> the lower, the better


def best(found: Surrogate, rng: np.random.Generator) -> np.ndarray:
    """The mixture to choose, domains."""
    return lowest(_view(found, True, CAUTION), found, rng)


def next_runs(found: Surrogate, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most `count` mixtures worth training, by use; fewer where the views agree, but one at least."""
    turn = len(found.swarm.weights) % len(VIEWS)
    chosen: list[np.ndarray] = []
    for laws, sds, near in (*VIEWS[turn:], *VIEWS[:turn], *MORE):
        score = _view(found, laws, sds)
        mixture = _lowest_near(score, found, rng) if near else lowest(score, found, rng)
        if all(np.abs(mixture - other).max() > CLOSE for other in (*chosen, *found.swarm.weights)):
            chosen.append(mixture)
        if len(chosen) == count:
            break
    return np.array(chosen or [mixture])


def doubt(found: Surrogate, mixture: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Least and most of every weight, 2 x domains, over drawn mixtures expected within `noise` of this one."""
    drawn = np.concatenate([cloud(found, rng), _around(mixture[None], 2000, 0.5, rng), mixture[None]])
    mean = found.metric(drawn)[0]
    near = drawn[mean <= found.metric(mixture[None])[0] + noise]
    return np.stack([near.min(0), near.max(0)])


@dataclass(frozen=True)
class Noise:
    """Of the metric of one run once its seed is taken out: standard deviation, and degrees of freedom."""

    sd: float
    freedom: int


def gain(found: Surrogate, mixture: np.ndarray, noise: Noise | None, seeds: int) -> tuple[float, float, float]:
    """The gain over the first mixture, the base, that so many fresh seeds will measure, and its interval of LEVEL.

    MODEL was chosen on planted worlds; the interval is graded on others (`python -m bench suggestions`). Without a
    known noise, the errors at runs left out stand for it: they hold the noise of a run, and more.
    """
    mean, sd = found.metric(np.stack([mixture, found.swarm.weights[0]]))
    if noise is None:
        errors = (found.without - found.swarm.losses) @ found.swarm.importance
        noise = Noise(float(np.sqrt((errors**2).mean())), len(errors) - 1)
    spread = math.hypot(MODEL * float(np.sqrt((sd**2).sum())), noise.sd * math.sqrt(2 / seeds))
    middle, reach = float(mean[1] - mean[0]), float(stdtrit(noise.freedom, (1 + LEVEL) / 2)) * spread
    return middle, middle - reach, middle + reach


def lowest(score: Score, found: Surrogate, rng: np.random.Generator) -> np.ndarray:
    """The mixture of the lowest score: many drawn, then generations around the best of them."""
    drawn = cloud(found, rng)
    scores = score(drawn)
    for generation in range(ROUNDS):
        parents = drawn[np.argsort(scores)[:PARENTS]]
        children = _around(parents, CHILDREN, 0.4 * 0.5**generation, rng)
        drawn, scores = np.concatenate([drawn, children]), np.concatenate([scores, score(children)])
    return drawn[np.argmin(scores)]


def _lowest_near(score: Score, found: Surrogate, rng: np.random.Generator) -> np.ndarray:
    """The mixture of the lowest score around the best runs: where a little more of a domain changes all at once, a
    surrogate of everything is smoother than what it describes."""
    drawn = _around(_best_runs(found, NEAR_BY), NEAR, NEAR_SPREAD, rng)
    return drawn[np.argmin(score(drawn))]


def _best_runs(found: Surrogate, count: int) -> np.ndarray:
    runs = found.swarm.weights
    return runs[np.argsort(found.metric(runs, laws=False)[0])[:count]]


def cloud(found: Surrogate, rng: np.random.Generator) -> np.ndarray:
    """Mixtures from all over, near the vertices, and around the best runs."""
    runs, domains = found.swarm.weights, found.swarm.weights.shape[1]
    wide = [rng.dirichlet(np.full(domains, concentration), DRAWN // 4) for concentration in (0.3, 1.0, 3.0)]
    near = [_around(_best_runs(found, 5), DRAWN, spread, rng) for spread in SPREADS]
    return np.concatenate([*wide, *near, np.eye(domains) * 0.97 + 0.03 / domains, runs])


def _around(parents: np.ndarray, count: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Mixtures whose log weights differ from those of a parent, some of them without a domain."""
    children = (parents[rng.integers(len(parents), size=count)] + 0.002) * np.exp(
        spread * rng.standard_normal((count, parents.shape[1]))
    )
    children[rng.random(children.shape) < 0.08] = 0
    children = children[children.sum(1) > 0]
    return children / children.sum(1, keepdims=True)


def _view(found: Surrogate, laws: bool, sds: float) -> Score:
    def score(mixtures: np.ndarray) -> np.ndarray:
        mean, sd = found.metric(mixtures, laws)
        return mean + sds * sd

    return score
