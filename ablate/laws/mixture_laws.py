"""The law of one loss over the weights of a mixture: few parameters, so that few runs suffice.

    L(w) = c + k (e + sum_j s_j w_j^g)^-a

It says that a token of domain j is worth s_j tokens of the domain whose loss it is (s = 1 for its own), that
the first tokens of a domain teach more than later ones (g < 1), and that the loss falls with what was read by a
power law. A log-linear law (Ye et al. 2024, arXiv 2403.16952) has about as many parameters, but does not know that a
loss falls when more of its own text is read, nor that a first percent changes more than a tenth. It is monotone along
every edge of the simplex, so that one estimated from an aggregate always puts its optimum on a vertex.

The law is estimated with priors, so that it is defined with fewer runs than parameters. Runs are rows of `weights`,
which sum to 1; losses are of one validation set. `python -m bench mixtures` says how well they predict.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

Form = Callable[[np.ndarray, np.ndarray], np.ndarray]  # parameters, runs x domains -> runs

# Priors, mean and standard deviation: of log s_j for another domain, and where the losses are of no domain's text
OTHER, UNKNOWN = (-4.0, 1.5), (-2.0, 1.5)
POWER, FLOOR, BEND = (-1.0, 1.0), (-4.0, 2.0), (-0.5, 0.4)  # of log a, log e and log g
MISFIT = 0.05  # what a law is taken to miss, as a part of the spread of the losses
EVALUATIONS, TOLERANCE = 80, 1e-5
LARGEST = 30.0  # exponent; far above any loss, so that a step too long is only a bad one
MOST_LEVERAGE = 0.95  # a run that decides its own prediction still counts as an error


@dataclass(frozen=True)
class Law:
    """An estimated law, and its errors at its runs as if each had been left out \(by leverage\)."""

    form: Form
    parameters: np.ndarray
    left_out: np.ndarray  # loss minus prediction, runs

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Losses of mixtures, runs x domains -> runs."""
        return self.form(self.parameters, weights)


def effective(weights: np.ndarray, losses: np.ndarray, own: int = -1, looseness: np.ndarray | float = 1.0) -> Law:
    """The law of effective data. `own`: the domain that the losses are of, -1 for none; `looseness`: by run, how much
    more than MISFIT it may be missed by."""
    spread, domains = spread_of(losses), weights.shape[1]
    mean, sd = UNKNOWN if own < 0 else OTHER
    centre = np.array([losses.min() - spread, np.log(spread), POWER[0], FLOOR[0], BEND[0], *[mean] * domains])
    width = np.array([10 * spread, 3.0, POWER[1], FLOOR[1], BEND[1], *[sd] * domains])
    if own >= 0:
        centre[5 + own], width[5 + own] = 0.0, 1e-3
    return estimate(_effective, _effective_slopes, weights, losses, MISFIT * spread * looseness, centre, width)


def estimate(
    form: Form,
    slopes: Form,
    weights: np.ndarray,
    losses: np.ndarray,
    scale: np.ndarray | float,
    centre: np.ndarray,
    width: np.ndarray,
) -> Law:
    """Most likely parameters under normal errors (sd `scale`) and normal priors (centre, width)."""
    scale = np.broadcast_to(scale, len(losses))

    def residuals(q: np.ndarray) -> np.ndarray:
        return np.append((form(q, weights) - losses) / scale, (q - centre) / width)

    def jacobian(q: np.ndarray) -> np.ndarray:
        return np.concatenate([slopes(q, weights) / scale[:, None], np.diag(1 / width)])

    end = least_squares(residuals, centre, jacobian, method="lm", max_nfev=EVALUATIONS, ftol=TOLERANCE, xtol=TOLERANCE)
    of_runs = end.jac[: len(losses)]
    leverage = np.einsum("ij,jk,ik->i", of_runs, np.linalg.inv(end.jac.T @ end.jac), of_runs)
    return Law(form, end.x, (losses - form(end.x, weights)) / (1 - np.minimum(leverage, MOST_LEVERAGE)))


def _effective(q: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """q: c, log k, log a, log e, log g, log s."""
    read = np.exp(q[3]) + weights ** np.exp(q[4]) @ np.exp(q[5:])
    return q[0] + _fall(q, read)


def _effective_slopes(q: np.ndarray, weights: np.ndarray) -> np.ndarray:
    power, floor, bend, worth = np.exp(q[2]), np.exp(q[3]), np.exp(q[4]), np.exp(q[5:])
    bent = weights**bend
    read = floor + bent @ worth
    fall = _fall(q, read)
    by_read = -power * fall / read
    by_bend = by_read * bend * ((bent * np.log(np.maximum(weights, 1e-300))) @ worth)
    first = [np.ones(len(weights)), fall, -fall * np.log(read) * power, by_read * floor, by_bend]
    return np.concatenate([np.stack(first, 1), by_read[:, None] * bent * worth], 1)


def _fall(q: np.ndarray, read: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(q[1] - np.exp(q[2]) * np.log(read), LARGEST))


def spread_of(losses: np.ndarray) -> float:
    return float(max(losses.std(), 1e-9 * max(1.0, abs(losses.mean()))))
