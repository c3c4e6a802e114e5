"""What a mixture that nobody trained would give: laws and a Gaussian process, per validation set, then summed.

    swarm = Swarm(domains, weights, losses, own, importance)        runs: mixtures and what came of them
    found = estimate(swarm)
    found.metric(mixtures)                                          expected metric of each, and how sure

Every validation set has a law of its own (`mixture_laws`); all have Gaussian processes with one kernel,
Matern-5/2 on a root of the weights, where a step from 0 to 1 % counts about as much as one from 10 to 18 %. The two
are averaged by their errors at runs left out, near the best ones above all: a law extrapolates well where it is true
and cannot know where it is not. One law on the sum instead would put the optimum on a vertex.

Few errors do not tell models apart. As the laws of a study tend to hold or to fail together, the odds of a set rest as
much on the errors of all sets as on its own, and the laws' part is shrunk by n / (n + FEW) for n losses in all.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from ablate.laws.mixture_laws import Law, effective

ROOTS = (0.25, 0.5)  # powers of the weights that distances are taken on; the likelier one is used
FEW = 24.0  # losses: runs x validation sets
LOWEST = 0.05  # of 1 + gap: a law may promise a loss far below every run, but not without end
# Standard deviation of what a law may miss a run by, in units of `mixture_laws.MISFIT`: at the best run, more for each
# median gap that the run is behind, and never more than MISS_MOST. So laws follow the good runs
MISS_AT_BEST, MISS_PER_GAP, MISS_MOST = 0.5, 1.5, 6.0


@dataclass(frozen=True)
class Swarm:
    """Runs that differ in their mixture alone. weights: runs x domains; losses: runs x validation sets; own: the
    domain that each set is of, -1 for none; importance: of each set in the metric."""

    domains: tuple[str, ...]
    weights: np.ndarray
    losses: np.ndarray
    own: tuple[int, ...]
    importance: np.ndarray

    @property
    def metric(self) -> np.ndarray:
        """Of every run; lower is better."""
        return self.losses @ self.importance


class Bent:
    """Losses on a scale where a corner that lacks a domain does not drown what is near the best: the logarithm of
    1 + the gap to the best run in median gaps, then in standard units, by validation set."""

    def __init__(self, losses: np.ndarray):
        self.least = losses.min(0)
        self.unit = np.median(losses - self.least, 0) + 1e-12
        bent = np.log1p((losses - self.least) / self.unit)
        self.centre, self.scale = bent.mean(0), bent.std(0) + 1e-12

    def bend(self, losses: np.ndarray) -> np.ndarray:
        return (np.log(np.maximum(1 + (losses - self.least) / self.unit, LOWEST)) - self.centre) / self.scale

    def back(self, values: np.ndarray, sd: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Losses, and how far below them one standard deviation reaches."""
        grown = np.exp(values * self.scale + self.centre)
        return self.least + self.unit * (grown - 1), self.unit * grown * -np.expm1(-self.scale * sd)


@dataclass(frozen=True)
class Surrogate:
    """Laws and process of a swarm.

    of_laws: the part of the laws in the average, by validation set. law_error: root mean square error of the laws
    near the best run. left_out: errors of the average at every run. Both are bent errors at runs that were left out.
    """

    swarm: Swarm
    bent: Bent
    laws: tuple[Law, ...]
    process: GaussianProcessRegressor
    root: float
    of_laws: np.ndarray
    law_error: np.ndarray
    left_out: np.ndarray

    def losses(self, mixtures: np.ndarray, laws: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Expected losses and their standard deviations, mixtures x validation sets; without the noise of a run."""
        mean, sd = self._process(mixtures)
        if laws:
            by_law = self.bent.bend(np.stack([law(mixtures) for law in self.laws], 1))
            variance = self.of_laws * np.minimum(self.law_error, sd) ** 2 + (1 - self.of_laws) * sd**2
            sd = np.sqrt(variance + self.of_laws * (1 - self.of_laws) * (by_law - mean) ** 2)
            mean = self.of_laws * by_law + (1 - self.of_laws) * mean
        return self.bent.back(mean, sd)

    def metric(self, mixtures: np.ndarray, laws: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Expected metric and its standard deviation, by mixture; with laws=False by the Gaussian process alone."""
        mean, sd = self.losses(mixtures, laws)
        return mean @ self.swarm.importance, np.sqrt(sd**2 @ self.swarm.importance**2)

    @property
    def without(self) -> np.ndarray:
        """What each run's losses were predicted to be without it, runs x validation sets."""
        return self.bent.back(self.bent.bend(self.swarm.losses) - self.left_out)[0]

    def _process(self, mixtures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation, bent."""
        found, shape = self.process.predict(mixtures**self.root, return_std=True), (len(mixtures), len(self.laws))
        mean, sd = (np.reshape(part, shape) for part in (found[0], found[1]))
        noise = self.process.kernel_.k2.noise_level  # pyrefly: ignore
        return mean, np.sqrt(np.maximum(sd**2 - noise, 1e-12))


def estimate(swarm: Swarm) -> Surrogate:
    """Laws, process and the part of each in the average."""
    behind, bent = swarm.metric - swarm.metric.min(), Bent(swarm.losses)
    gap = behind / max(float(np.median(behind)), 1e-12)
    values, pairs = bent.bend(swarm.losses), zip(swarm.losses.T, swarm.own, strict=True)
    loose = np.minimum(MISS_AT_BEST + MISS_PER_GAP * gap, MISS_MOST)
    laws = tuple(effective(swarm.weights, losses, own, loose) for losses, own in pairs)
    processes = {root: _process(swarm, values, root) for root in ROOTS}
    root = max(processes, key=lambda root: processes[root].log_marginal_likelihood_value_)
    process = processes[root]
    by_law = values - bent.bend(swarm.losses - np.stack([law.left_out for law in laws], 1))
    by_process = _left_out(process, values)
    near = (1 / (1 + gap) ** 2)[:, None]
    law_error, process_error = ((near * errors**2).sum(0) / near.sum() + 1e-18 for errors in (by_law, by_process))
    odds = np.log(process_error / law_error)
    of_laws = expit(odds + odds.mean()) * values.size / (values.size + FEW)
    left_out = of_laws * by_law + (1 - of_laws) * by_process
    return Surrogate(swarm, bent, laws, process, root, of_laws, np.sqrt(law_error), left_out)


def _process(swarm: Swarm, values: np.ndarray, root: float) -> GaussianProcessRegressor:
    kernel = ConstantKernel(1.0, (1e-3, 1e2)) * Matern(0.5, (0.1, 10.0), nu=2.5) + WhiteKernel(0.1, (1e-4, 2.0))
    with warnings.catch_warnings():  # a hyperparameter at its bound is fine, and no one can act on it
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel).fit(swarm.weights**root, values)


def _left_out(process: GaussianProcessRegressor, values: np.ndarray) -> np.ndarray:
    """Errors at runs left out, in closed form (Rasmussen & Williams 2006, eq. 5.12)."""
    inverse = np.linalg.inv(process.L_ @ process.L_.T)
    return inverse @ values / np.diag(inverse)[:, None]
