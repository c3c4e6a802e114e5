"""Whether a step is a spike, asked before it is taken: of its own loss and gradient, against those of the steps before.

    nats and counted targets, by domain ──> less the running trend of each domain ──┐
                                                                                     ├─> how far above the steps
    norm of the gradient, its logarithm ──> less its running trend ─────────────────┘    before, in their deviations

What steps are compared with is of the same stage of the mixture, row length and number of rows; it begins anew where
one of them changes. A deviation is one-sided and robust: how far the upper quantiles lie above the median, and a part
of the largest of all, since losses of text have heavy tails. Deviations of loss and norm add up, over steps as well, to
evidence: a bad batch shows in one step, what a bad rate has done in the next few. What is suspicious enters nothing.

All of it is worked out in float64 on the CPU from numbers that are the same on all processes, so all of them
find the same. State is plain arrays; checkpoints have them as tensors. Shapes: D domains, F = D + 2 features (loss,
norm, loss of each domain), W window.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ablate.run.settings import Settings

MEMORY = 16.0  # steps over which a trend forgets
QUANTILES = ((0.84, 1.0), (0.977, 2.0))  # of the steps before, and how many deviations of a normal law they lie up
TAIL = 2.0  # deviations that the largest of them counts as
LEAST_LOSS, LEAST_NORM = 0.01, 0.02  # the smallest deviation: of the loss itself, and of the logarithm of the norm
DOMAIN = 0.75  # what the loss of the rows of a domain counts beside that of all rows
# Of sigma: evidence that a step must have to add to that of the steps before, that makes a spike, and a step suspicious
USUAL, ENOUGH, SUSPICIOUS = 0.5, 1.5, 0.5
LARGEST = np.finfo(np.float64).max
FACTOR, ALONE = 6.0, 1.5  # a norm so many times the usual, and so many sigma above, is a spike whatever the loss
LOOKBACK = 16  # steps before a spike that its beginning is looked for in
LOSS, NORM, OF_DOMAINS = 0, 1, 2  # features


class Look(NamedTuple):
    """What was seen of a step; deviations are 0 where there is too little to compare with."""

    z_F: np.ndarray
    value_F: np.ndarray  # less the trend, as it would be kept; NaN for what the step has nothing of
    step_D2: np.ndarray  # nats and counted targets
    norm: float
    evidence: float  # of this step and of those just before it
    suspicious: bool
    spike: bool


class Monitor:
    """Inert with `monitor.act` none: nobody asks it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.monitor
        self.domains = settings.data.domains
        self.phase = (-1.0, -1.0, -1.0)
        self._begin()

    @property
    def acts(self) -> bool:
        return self.settings.act != "none"

    def _begin(self) -> None:
        """Forget all steps: those to come are of another kind."""
        features = len(self.domains) + OF_DOMAINS
        self.trend_D2 = np.zeros((len(self.domains), 2))
        self.trend_norm = np.nan
        self.ring_FW = np.full((features, self.settings.window), np.nan)
        self.count_F = np.zeros(features, dtype=np.int64)
        self.suspects, self.evidence = 0, 0.0

    def look(self, phase: tuple[float, float, float], step_D2: np.ndarray, norm: float) -> Look:
        """`phase`: stage, row length and rows of the step; `step_D2`: its nats and counted targets by domain."""
        if phase != self.phase:
            self.phase = phase
            self._begin()
        value_F, least_F = self._less_trend(step_D2, norm)
        z_F = self._deviations(value_F, least_F)
        z_F[np.isnan(z_F)] = 0.0
        np.clip(z_F, -LARGEST, LARGEST, out=z_F)  # what is infinite could not be written down
        loss, size = rise(z_F)
        sigma = self.settings.sigma
        evidence = max(0.0, self.evidence + loss + min(size, sigma) - USUAL * sigma)  # norms alone are never enough
        is_huge = size > ALONE * sigma and value_F[NORM] > np.log(FACTOR)
        spike = not (np.isfinite(norm) and np.isfinite(step_D2).all()) or is_huge or evidence > ENOUGH * sigma
        return Look(z_F, value_F, step_D2, norm, evidence, max(loss, size) > SUSPICIOUS * sigma, bool(spike))

    def take_in(self, look: Look) -> None:
        """The step is learnt from: later ones are compared with it, too, unless it is suspicious itself."""
        self.evidence = look.evidence
        self.suspects = self.suspects + 1 if look.suspicious else 0
        if 0 < self.suspects <= LOOKBACK:
            return
        here = np.flatnonzero(np.isfinite(look.value_F))
        self.ring_FW[here, self.count_F[here] % self.settings.window] = look.value_F[here]
        self.count_F[here] += 1
        seen = look.step_D2[:, 1] > 0
        self.trend_D2[seen] = self.trend_D2[seen] * (1 - 1 / MEMORY) + look.step_D2[seen]
        log = np.log(max(look.norm, 1e-30))
        self.trend_norm = log if np.isnan(self.trend_norm) else self.trend_norm + (log - self.trend_norm) / MEMORY

    def _less_trend(self, step_D2: np.ndarray, norm: float) -> tuple[np.ndarray, np.ndarray]:
        """The features less what was to be expected, and the smallest deviation of each.

        A loss is a mean over its targets, so what it is off by is multiplied by the root of their number.
        """
        (nats_D, counted_D), known_D = step_D2.T, (self.trend_D2[:, 1] > 0) & (step_D2[:, 1] > 0)
        value_F = np.full(len(self.ring_FW), np.nan)
        least_F = np.full(len(self.ring_FW), np.nan)
        if known_D.any():
            expected_D = counted_D * self.trend_D2[:, 0] / np.maximum(self.trend_D2[:, 1], 1e-30)
            root_D = np.sqrt(np.maximum(counted_D, 1.0))
            value_F[OF_DOMAINS:][known_D] = ((nats_D - expected_D) / root_D)[known_D]
            least_F[OF_DOMAINS:][known_D] = (LEAST_LOSS * np.abs(expected_D) / root_D)[known_D]
            root = np.sqrt(counted_D[known_D].sum())
            value_F[LOSS] = (nats_D - expected_D)[known_D].sum() / root
            least_F[LOSS] = LEAST_LOSS * np.abs(expected_D[known_D]).sum() / root
        value_F[NORM], least_F[NORM] = np.log(max(norm, 1e-30)) - self.trend_norm, LEAST_NORM
        return value_F, least_F

    def _deviations(self, value_F: np.ndarray, least_F: np.ndarray) -> np.ndarray:
        """How far each feature lies above the median of the steps before; NaN where there are too few of them."""
        there_F = np.minimum(self.count_F, self.settings.window)
        last_F, rows_F = np.maximum(there_F - 1, 0), np.arange(len(value_F))
        sorted_FW = np.sort(self.ring_FW, axis=1)  # what is not there yet comes last
        median_F = sorted_FW[rows_F, last_F // 2]
        width_F = np.maximum(least_F, (sorted_FW[rows_F, last_F] - median_F) / TAIL)
        for quantile, deviations in QUANTILES:
            upper_F = sorted_FW[rows_F, (quantile * last_F).astype(np.int64)]
            width_F = np.maximum(width_F, (upper_F - median_F) / deviations)
        z_F = np.where(there_F >= self.settings.least, (value_F - median_F) / width_F, np.nan)
        # No sum is further off than its parts together (Cauchy and Schwarz). A step of one row of a rare domain would
        # be, against steps of other domains
        z_D = z_F[OF_DOMAINS:][np.isfinite(value_F[OF_DOMAINS:])]
        if np.isfinite(z_D).all():
            z_F[LOSS] = np.minimum(z_F[LOSS], np.linalg.norm(np.maximum(z_D, 0.0)))
        return z_F

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint; nothing where nobody looks."""
        if not self.acts:
            return {}
        plain = {"phase": self.phase, "suspects": [self.suspects, self.evidence], "trend_norm": [self.trend_norm]}
        arrays = {"trend": self.trend_D2, "ring": self.ring_FW, "count": self.count_F}
        found = {name: torch.tensor(value, dtype=torch.float64) for name, value in plain.items()}
        return found | {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        if not state:
            return
        self.phase = tuple(state["phase"].tolist())  # pyrefly: ignore[bad-assignment]
        self.suspects, self.evidence = int(state["suspects"][0]), float(state["suspects"][1])
        self.trend_norm = float(state["trend_norm"][0])
        self.trend_D2, self.ring_FW = state["trend"].numpy().copy(), state["ring"].numpy().copy()
        self.count_F = state["count"].numpy().copy()

    def told(self, look: Look) -> dict[str, Any]:
        """Of a spike, for the record."""
        of_domains = zip(self.domains, look.z_F[OF_DOMAINS:].tolist(), look.step_D2[:, 1] > 0, strict=True)
        return {
            "z_loss": float(look.z_F[LOSS]),
            "z_norm": float(look.z_F[NORM]),
            "z_domains": {domain: z for domain, z, there in of_domains if there},
            "grad_norm": look.norm,
        }


def rise(z_F: np.ndarray) -> tuple[float, float]:
    """How far a step lies above the others, in deviations: its loss, of all rows or of a domain, and its gradient."""
    return max(float(z_F[LOSS]), DOMAIN * float(z_F[OF_DOMAINS:].max()), 0.0), max(float(z_F[NORM]), 0.0)
