"""What a mixture that nobody trained would give: laws and a Gaussian process, per validation set, then summed.

    swarm = Swarm(domains, weights, losses, own, importance)        runs: mixtures and what came of them
    found = fit(swarm)
    found.metric(mixtures)                                          expected metric of each, and how sure

Every validation set has a law of its own (`analysis.laws`); all have Gaussian processes with one kernel, Matern-5/2 on
a root of the weights, where a step from 0 to 1 % counts about as much as one from 10 to 18 %. The two are averaged
by their errors at runs left out, near the best ones above all: a law extrapolates well where it is true and cannot
know where it is not. One law on the sum instead would put the optimum on a vertex (science: pitfall 8).

The laws' share is shrunk by n / (n + FEW): errors of so few runs do not tell models apart.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from ablate.analysis.laws import Law, effective

ROOTS = (0.25, 0.5)  # powers of the weights that distances are taken on; the likelier one is used
FEW = 12.0  # runs
LOOSE, LOOSER, LOOSEST = 0.5, 1.5, 6.0  # what a law may miss: at the best run, more per median gap behind, at most


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

    def with_runs(self, weights: np.ndarray, losses: np.ndarray) -> "Swarm":
        """More of the same."""
        more = np.concatenate([self.weights, weights]), np.concatenate([self.losses, losses])
        return Swarm(self.domains, *more, self.own, self.importance)


@dataclass(frozen=True)
class Surrogate:
    """What was fitted. `share`: of the laws in the average, by validation set."""

    swarm: Swarm
    laws: tuple[Law, ...]
    process: GaussianProcessRegressor
    root: float
    share: np.ndarray
    law_error: np.ndarray  # root mean square of the laws' errors at runs left out

    def losses(self, mixtures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected losses and their standard deviations, mixtures x validation sets; without the noise of a run."""
        by_law = np.stack([law(mixtures) for law in self.laws], 1)
        by_process, sd = self._process(mixtures)
        variance = self.share * np.minimum(self.law_error, sd) ** 2 + (1 - self.share) * sd**2
        variance += self.share * (1 - self.share) * (by_law - by_process) ** 2
        return self.share * by_law + (1 - self.share) * by_process, np.sqrt(variance)

    def metric(self, mixtures: np.ndarray, laws: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Expected metric and its standard deviation, by mixture; with laws=False by the Gaussian process alone."""
        mean, sd = self.losses(mixtures) if laws else self._process(mixtures)
        return mean @ self.swarm.importance, np.sqrt(sd**2 @ self.swarm.importance**2)

    @property
    def left_out(self) -> np.ndarray:
        """What each run's losses were predicted to be without it, runs x validation sets."""
        by_law = np.stack([law.left_out for law in self.laws], 1)
        by_process = _left_out(self.process, self.swarm.losses)
        return self.swarm.losses - self.share * by_law - (1 - self.share) * by_process

    def _process(self, mixtures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        centre, scale = _standard(self.swarm.losses)
        shape = (len(mixtures), len(scale))
        found = self.process.predict(mixtures**self.root, return_std=True)
        mean, sd = (np.reshape(part, shape) for part in (found[0], found[1]))
        variance = np.maximum(sd**2 - _noise(self.process), 1e-12)
        return mean * scale + centre, np.sqrt(variance) * scale


def fit(swarm: Swarm) -> Surrogate:
    """Laws, process and their shares in the average."""
    gap = _gap(swarm.metric)
    loose = np.minimum(LOOSE + LOOSER * gap, LOOSEST)
    laws = tuple(
        effective(swarm.weights, losses, own, loose) for losses, own in zip(swarm.losses.T, swarm.own, strict=True)
    )
    root, process = max(((root, _process(swarm, root)) for root in ROOTS), key=lambda fitted: _likelihood(fitted[1]))
    near = (1 / (1 + gap) ** 2)[:, None]
    by_law = _mean_square(np.stack([law.left_out for law in laws], 1), near)
    by_process = _mean_square(_left_out(process, swarm.losses), near)
    runs = len(swarm.weights)
    share = by_process / (by_process + by_law) * runs / (runs + FEW)
    return Surrogate(swarm, laws, process, root, share, np.sqrt(by_law))


def _gap(metric: np.ndarray) -> np.ndarray:
    """How far behind the best run each one is, in median gaps."""
    behind = metric - metric.min()
    return behind / max(float(np.median(behind)), 1e-12)


def _mean_square(errors: np.ndarray, near: np.ndarray) -> np.ndarray:
    return (near * errors**2).sum(0) / near.sum() + 1e-18


def _standard(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return losses.mean(0), losses.std(0) + 1e-12


def _process(swarm: Swarm, root: float) -> GaussianProcessRegressor:
    centre, scale = _standard(swarm.losses)
    kernel = ConstantKernel(1.0, (1e-3, 1e2)) * Matern(0.5, (0.1, 10.0), nu=2.5) + WhiteKernel(0.1, (1e-4, 2.0))
    with warnings.catch_warnings():  # a hyperparameter at its bound is fine, and no one can act on it
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel).fit(swarm.weights**root, (swarm.losses - centre) / scale)


def _noise(process: GaussianProcessRegressor) -> float:
    return process.kernel_.k2.noise_level  # pyrefly: ignore


def _likelihood(process: GaussianProcessRegressor) -> float:
    return process.log_marginal_likelihood_value_


def _left_out(process: GaussianProcessRegressor, losses: np.ndarray) -> np.ndarray:
    """Errors at runs left out, in closed form (Rasmussen & Williams 2006, eq. 5.12)."""
    centre, scale = _standard(losses)
    inverse = np.linalg.inv(process.L_ @ process.L_.T)
    return inverse @ ((losses - centre) / scale) / np.diag(inverse)[:, None] * scale
