"""From a surrogate to mixtures: the best one, those that may be as good, and what to train next.

    best(found, rng)                   lowest expected metric plus CAUTION sd: not where nobody has been
    next_runs(found, 4, rng)           what each VIEW of the surrogate would train, different ones
    doubt(found, mixture, noise, rng)  {domain: (least, most)} over mixtures that noise cannot tell from it

A batch asks several views, as no one of them is always right: the average of law and process, the process alone, and
the process where it is unsure (a lower confidence bound, Srinivas et al. 2010, arXiv 0912.3995).
"""

from collections.abc import Callable

import numpy as np

from ablate.analysis.mixtures.surrogate import Surrogate

CAUTION = 2.0
VIEWS = ((True, 0.0), (False, -1.0), (True, -1.0), (False, 0.0), (False, -2.0), (True, -2.0))  # laws too, sd
CLOSE = 0.01  # mixtures whose weights all differ by less are the same
DRAWN, PARENTS, ROUNDS, CHILDREN = 600, 10, 4, 200
SPREADS = (0.1, 0.3, 0.8)  # of log weights, around the best runs

Score = Callable[[np.ndarray], np.ndarray]  # mixtures -> the lower, the better


def best(found: Surrogate, rng: np.random.Generator) -> np.ndarray:
    """The mixture to choose, domains."""
    return lowest(_view(found, True, CAUTION), found, rng)


def next_runs(found: Surrogate, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most `count` mixtures worth training, by use; fewer where the views agree."""
    chosen: list[np.ndarray] = []
    for laws, sds in VIEWS:
        mixture = lowest(_view(found, laws, sds), found, rng)
        if len(chosen) < count and all(np.abs(mixture - other).max() > CLOSE for other in chosen):
            chosen.append(mixture)
        if len(chosen) == count:
            break
    return np.array(chosen)


def doubt(found: Surrogate, mixture: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Least and most of every weight, 2 x domains, over drawn mixtures expected within `noise` of this one."""
    drawn = np.concatenate([cloud(found, rng), _around(mixture[None], 2000, 0.5, rng), mixture[None]])
    mean = found.metric(drawn)[0]
    near = drawn[mean <= found.metric(mixture[None])[0] + noise]
    return np.stack([near.min(0), near.max(0)])


def lowest(score: Score, found: Surrogate, rng: np.random.Generator) -> np.ndarray:
    """The mixture of the lowest score: many drawn, then generations around the best of them."""
    drawn = cloud(found, rng)
    scores = score(drawn)
    for generation in range(ROUNDS):
        parents = drawn[np.argsort(scores)[:PARENTS]]
        children = _around(parents, CHILDREN, 0.4 * 0.5**generation, rng)
        drawn, scores = np.concatenate([drawn, children]), np.concatenate([scores, score(children)])
    return drawn[np.argmin(scores)]


def cloud(found: Surrogate, rng: np.random.Generator) -> np.ndarray:
    """Mixtures from all over, near the vertices, and around the best runs."""
    runs, domains = found.swarm.weights, found.swarm.weights.shape[1]
    top = runs[np.argsort(found.metric(runs, laws=False)[0])[:5]]
    wide = [rng.dirichlet(np.full(domains, concentration), DRAWN // 4) for concentration in (0.3, 1.0, 3.0)]
    near = [_around(top, DRAWN, spread, rng) for spread in SPREADS]
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
