"""What a replay of a step has found (`fit.replay`), and the word that follows.

                          weights just before      healthy weights
    the step's batch      strength `before`        strength `batch`
    its neighbours        strength `state`         what all others are compared with

A strength is the sum of two deviations, of the loss and of the gradient. The second counts as MOST_OF_BATCH at most, or
MOST_OF_STATE: gradients may grow as training goes on, so they alone say nothing of a state. What is above ENOUGH stands
out: the batch, if it does on both weights; the state, if the neighbours do, or if the rate is above FACTOR times the
usual one. `both`: both do, or the batch on the weights just before alone.
"""

import dataclasses
import math
from typing import Literal

ENOUGH = 7.0
MOST_OF_BATCH, MOST_OF_STATE = 12.0, 6.0
FACTOR = 3.0

Word = Literal["batch", "state", "both", "neither"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """A loss, in nats of each target, or the norm of a gradient; `z`: deviations of one above the other."""

    name: str
    one: float
    other: float
    z: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Of a batch with its neighbours, or of the neighbours on some weights with themselves on others."""

    measures: list[Measure]
    strength: float  # infinity where a loss or a norm is no number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the batch, on healthy weights."""

    domain: str
    start: int  # its first token in the domain's training text
    nats: float  # of each target
    odd: float  # share of bytes
    repeated: float  # share of the runs of tokens that were there before in it
    text: str  # on one line, without what a terminal would obey


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shares:
    """Means over rows."""

    odd: float
    repeated: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replay:
    """`healthy`: steps that healthy weights have learnt from; `neighbours`: steps that the batch is compared with."""

    step: int
    healthy: int
    neighbours: int
    before: Comparison
    batch: Comparison
    state: Comparison
    rate: tuple[int, float]  # the step with the highest rate since, and how many times the usual one it is
    rows: list[Row]  # the worst first
    shares: tuple[Shares, Shares]  # of the batch, and of its neighbours
    grad_norm: float  # of the batch on the weights just before
    float32: list[Measure]  # of the batch on these weights, beside what it is in the types of the run; empty: the same

    @property
    def word(self) -> Word:
        on_healthy, on_before = (one.strength > ENOUGH for one in (self.batch, self.before))
        is_state = self.state.strength > ENOUGH or self.rate[1] > FACTOR
        is_batch = on_healthy and on_before
        if is_state:
            return "both" if is_batch else "state"
        if is_batch:
            return "batch"
        return "both" if on_before else "neither"


def strength(loss: float, norm: float, most: float) -> float:
    """Of deviations above the usual loss and gradient."""
    return loss + min(norm, most) if math.isfinite(loss + norm) else math.inf
