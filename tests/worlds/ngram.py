"""A learner that can be solved: counts of pairs of symbols, read from a mixture of known sources.

A domain is a joint distribution over (context, symbol): a Markov chain of order one with its stationary
distribution. The learner counts, and predicts from its counts smoothed towards less specific ones:

    n_k        tokens of domain k: share x tokens, worth less once its pool is read again (arXiv 2305.16264, eq. 5)
    pooled     q0(y|x) = (keep(x) sum_k c_k(x,y) + beta / V) / (keep(x) sum_k c_k(x) + beta)
    tagged     q_k(y|x) = (c_k(x,y) + kappa q0(y|x)) / (c_k(x) + kappa)     when the text says which domain it is
    keep(x)    0 for contexts seen less than `threshold` times, 1 far above: what limited capacity drops, and why
               a little of a domain teaches nothing (arXiv 2505.18091)

Domains that share rows help each other; without tags, those that disagree in a context harm each other.
Tier 0 takes expected counts: a loss is exact, and so is the best mixture. Tier 1 draws them, a seed a run.

Shapes: M mixtures, K domains, T targets (validation sets), X contexts, V symbols.
"""

from dataclasses import dataclass, field

import numpy as np

STEEP = 12.0  # of `keep` around its threshold: from a tenth to nine tenths within a factor of 1.5


@dataclass(frozen=True, kw_only=True)
class World:
    """What is planted. Losses are in nats per symbol; `noise` are standard deviations of one run's losses."""

    kind: str
    seed: int
    domains_KXV: np.ndarray
    targets_TXV: np.ndarray
    own: tuple[int, ...]  # the domain that a target is the validation set of; -1: none
    match: np.ndarray  # the mixture nearest to the targets, K
    tokens: float
    pools: np.ndarray  # tokens that exist, K
    rereads: float = 5.0  # R*: how often reading again is worth something
    threshold: float = 0.0
    tagged: bool = True
    kappa: float = 40.0
    beta: float = 2.0
    noise: np.ndarray = field(default_factory=lambda: np.zeros(1))  # T; at the uniform mixture
    uneven: float = 0.0  # how much more noise the mixtures have that are far from uniform

    @property
    def num_domains(self) -> int:
        return len(self.domains_KXV)

    @property
    def priors(self) -> dict[str, np.ndarray]:
        """What anyone would try without a run."""
        uniform = np.full(self.num_domains, 1 / self.num_domains)
        return {"match": self.match, "natural": self.pools / self.pools.sum(), "uniform": uniform}

    @property
    def sd(self) -> float:
        """Seed-sd of the macro mean at the uniform mixture."""
        return float(np.sqrt((self.noise**2).sum()) / len(self.noise))

    def truth(self, weights: np.ndarray) -> np.ndarray:
        """Expected losses of mixtures, M x K -> M x T."""
        return losses(self, counts(self, np.atleast_2d(weights)))

    def macro(self, weights: np.ndarray) -> np.ndarray:
        """Expected mean loss of the targets, M."""
        return self.truth(weights).mean(1)

    def run(self, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Losses of one run each, M x T: what was expected, and noise that grows away from the uniform mixture."""
        weights = np.atleast_2d(weights)
        away = (weights**2).sum(1, keepdims=True) - 1 / self.num_domains
        return self.truth(weights) + self.noise * (1 + self.uneven * away) * rng.standard_normal(
            (len(weights), len(self.noise))
        )

    def sample(self, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Losses of one run each, M x T, of counts that were drawn: tier 1."""
        return losses(self, rng.poisson(counts(self, np.atleast_2d(weights))).astype(float))


def read(world: World, weights: np.ndarray) -> np.ndarray:
    """What the tokens of each domain are worth, M x K: text read again counts less and less."""
    tokens, pools = world.tokens * weights, world.pools
    again = np.maximum(tokens / pools - 1, 0)
    return np.minimum(tokens, pools) + pools * world.rereads * (1 - np.exp(-again / world.rereads))


def counts(world: World, weights: np.ndarray) -> np.ndarray:
    """Expected counts, M x K x X x V."""
    return read(world, weights)[:, :, None, None] * world.domains_KXV


def losses(world: World, counts_MKXV: np.ndarray) -> np.ndarray:
    """Cross-entropies of what was learned, M x T."""
    pooled = counts_MKXV.sum(1)
    seen = pooled.sum(-1, keepdims=True)
    keep = seen**STEEP / (seen**STEEP + world.threshold**STEEP) if world.threshold else 1.0
    common = (keep * pooled + world.beta / pooled.shape[-1]) / (keep * seen + world.beta)
    found = np.empty((len(pooled), len(world.own)))
    for target, own in enumerate(world.own):
        q = _tagged(world, counts_MKXV[:, own], common) if world.tagged and own >= 0 else common
        found[:, target] = -(world.targets_TXV[target] * np.log(q)).sum((1, 2))
    return found


def _tagged(world: World, counts_MXV: np.ndarray, common_MXV: np.ndarray) -> np.ndarray:
    return (counts_MXV + world.kappa * common_MXV) / (counts_MXV.sum(-1, keepdims=True) + world.kappa)
