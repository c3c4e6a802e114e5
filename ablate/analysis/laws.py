"""Laws of one loss over the weights of a mixture: few parameters, so that few runs suffice.

    effective     L(w) = c + k (e + sum_j s_j w_j^g)^-a          the law that is used
    log-linear    L(w) = c + exp(b + sum_j t_j w_j)              Ye et al. 2024 (arXiv 2403.16952, eq. 7), to compare

The first says that a token of domain j is worth s_j tokens of the domain whose loss it is (s = 1 for its own), and
that the loss falls with what it has read by a power law. It has one parameter a domain, as the second has, but it
knows what every domain has in common: the first percent of a domain teaches more than the tenth.

Both are fitted with priors, so that they are defined with fewer runs than parameters. Runs are rows of `weights`,
which sum to 1, and losses are of one validation set. On the public runs of RegMix the first, with 64 runs, is about
as good as with 512 (`python -m bench mixtures`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

# Priors of log s_j, of another domain and where a validation set has no domain of its own: mean, sd
OTHER, UNKNOWN = (-4.0, 1.5), (-2.0, 1.5)
FLOOR, POWER, BEND = (-4.0, 2.0), (-1.0, 1.0), (-0.3, 0.3)  # of log e, of log a and of log g
MISFIT = 0.05  # what a law is taken to miss, as a part of the spread of the losses
EVALUATIONS = 80


@dataclass(frozen=True)
class Law:
    """A fitted law: `parameters` and, from the curvature at the optimum, their covariance."""

    form: Callable[[np.ndarray, np.ndarray], np.ndarray]
    parameters: np.ndarray
    covariance: np.ndarray

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Losses of mixtures, runs x domains -> runs."""
        return self.form(self.parameters, weights)

    def drawn(self, weights: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Losses by laws that may be true as well: normal, draws x parameters -> draws x runs."""
        root = np.linalg.cholesky(self.covariance)
        return np.stack([self.form(self.parameters + root @ row, weights) for row in normal])


def effective(weights: np.ndarray, losses: np.ndarray, own: int = -1, looseness: np.ndarray | float = 1.0) -> Law:
    """The law of effective data; `own` is the domain that the losses are of, -1 for none of them."""
    runs, domains = weights.shape
    prior = _effective_prior(domains, own, losses)
    scale = MISFIT * _spread(losses) * np.broadcast_to(looseness, runs)

    def residuals(q: np.ndarray) -> np.ndarray:
        return np.append((_effective(q, weights) - losses) / scale, (q - prior[0]) / prior[1])

    def slopes(q: np.ndarray) -> np.ndarray:
        return np.concatenate([_effective_slopes(q, weights) / scale[:, None], np.diag(1 / prior[1])])

    return _fitted(_effective, residuals, slopes, prior[0])


def log_linear(weights: np.ndarray, losses: np.ndarray) -> Law:
    """The law of Ye et al., with a weak prior on its coefficients."""
    spread, lowest = _spread(losses), losses.min()
    centre = np.concatenate([[lowest - 0.3 * spread, np.log(spread)], np.zeros(weights.shape[1])])
    width = np.concatenate([[spread, 2.0], np.full(weights.shape[1], 3.0)])
    scale = MISFIT * spread

    def residuals(q: np.ndarray) -> np.ndarray:
        return np.append((_log_linear(q, weights) - losses) / scale, (q - centre) / width)

    def slopes(q: np.ndarray) -> np.ndarray:
        fall = (_log_linear(q, weights) - q[0])[:, None] / scale
        by = np.concatenate([np.full((len(weights), 1), 1 / scale), fall, fall * weights], 1)
        return np.concatenate([by, np.diag(1 / width)])

    return _fitted(_log_linear, residuals, slopes, centre)


def _effective(q: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """q: c, log k, log a, log e, log g, log s."""
    read = np.exp(q[3]) + weights ** np.exp(q[4]) @ np.exp(q[5:])
    return q[0] + np.exp(q[1]) * read ** -np.exp(q[2])


def _effective_slopes(q: np.ndarray, weights: np.ndarray) -> np.ndarray:
    floor, worth, power, bend = np.exp(q[3]), np.exp(q[5:]), np.exp(q[2]), np.exp(q[4])
    bent = weights**bend
    read = floor + bent @ worth
    fall = np.exp(q[1]) * read**-power
    by_read = -power * fall / read
    by_bend = by_read * bend * ((bent * np.log(np.maximum(weights, 1e-300))) @ worth)
    first = [np.ones(len(weights)), fall, -fall * np.log(read) * power, by_read * floor, by_bend]
    return np.concatenate([np.stack(first, 1), by_read[:, None] * bent * worth], 1)


def _effective_prior(domains: int, own: int, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of the parameters; the scale and the offset of the loss are left free."""
    spread = _spread(losses)
    mean, sd = UNKNOWN if own < 0 else OTHER
    centre = np.concatenate([[losses.min() - spread, np.log(spread), POWER[0], FLOOR[0], BEND[0]], np.full(domains, mean)])
    width = np.concatenate([[10 * spread, 3.0, POWER[1], FLOOR[1], BEND[1]], np.full(domains, sd)])
    if own >= 0:
        centre[5 + own], width[5 + own] = 0.0, 1e-3
    return centre, width


def _log_linear(q: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return q[0] + np.exp(np.clip(q[1] + weights @ q[2:], -30, 30))


def _fitted(form: Callable, residuals: Callable, slopes: Callable, start: np.ndarray) -> Law:
    end = least_squares(residuals, start, slopes, method="lm", max_nfev=EVALUATIONS, ftol=1e-5, xtol=1e-5)
    return Law(form, end.x, np.linalg.inv(end.jac.T @ end.jac))


def _spread(losses: np.ndarray) -> float:
    return float(max(losses.std(), 1e-9 * max(1.0, abs(losses.mean()))))
