"""Two ways to answer, a fast and a slow one, and rules that say which question goes which way.

    found = judged(outcomes, {"router": score, "length": length})
    found["router"].gain       0.034 [0.021, 0.047], better

A rule gives each question a score, and those of the highest scores go the slow way, as long as the tokens last and the
score is above 0. Its curve is the accuracy against the mean tokens that may be spent, from `never` to `always`. Of one
score all go together. Beside it stands a choice at random, of any share of the questions: the chord between the ends,
or, where the slow way is right less often, `never`.

The gain of a rule is the area between its curve and that at random, over the tokens between the ends: how much more is
right at equal tokens, as the mean over all numbers of tokens from never to always. A rule whose scores know nothing has
0 on average. The oracle, which knows what comes of each question, has the most.

Intervals are of a bootstrap over groups of questions (those of one source), the rule held fixed, so it must have been
fitted on other questions. All rules are drawn together: their differences are paired.

Shapes: N questions, B draws, K different scores and one, S shares of the way from never to always.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

DRAWS = 2000
SHARES = np.linspace(0, 1, 41)  # where curves are read
ORACLE = "oracle"

Word = Literal["better", "worse", "no better"]


class Outcomes(NamedTuple):
    """Of N questions: what came of each way, what it cost, and which belong together."""

    fast_right: np.ndarray
    fast_tokens: np.ndarray
    slow_right: np.ndarray
    slow_tokens: np.ndarray
    group: np.ndarray  # numbers from 0

    @property
    def gain(self) -> np.ndarray:
        """1 where only the slow way is right, -1 where only the fast one is."""
        return self.slow_right.astype(float) - self.fast_right

    @property
    def cost(self) -> np.ndarray:
        """Tokens that the slow way takes more."""
        return self.slow_tokens.astype(float) - self.fast_tokens

    @property
    def best(self) -> np.ndarray:
        """The score of who knows the outcome: gain for a token."""
        return per_token(self.gain, self.cost)


class Estimate(NamedTuple):
    value: float
    low: float
    high: float

    @property
    def word(self) -> Word:
        """Beside a choice at random, or beside another rule."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "no better"


@dataclass(frozen=True)
class Curve:
    """Of one rule: the gain, and (S,) accuracies with their intervals at SHARES of the way from never to always."""

    gain: Estimate
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Judged:
    """By rule and for the oracle, the curve; by rule, the gain of the first one less its own.

    At SHARES of the way: mean tokens, and the accuracy at random. always: that of the slow way for all.
    """

    curves: dict[str, Curve]
    differences: dict[str, Estimate]
    tokens: np.ndarray
    at_random: np.ndarray
    always: float


def per_token(gain: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """What to sort by, that the most comes of every number of tokens; where writing is free, as if for one token."""
    return gain / np.maximum(cost, 1)


def judged(outcomes: Outcomes, scores: Mapping[str, np.ndarray], confidence: float = 0.95, seed: int = 0) -> Judged:
    """The curves of rules by their scores (N,), and the oracle's; draws of one seed are the same everywhere."""
    whole = np.ones((1, len(outcomes.group)))
    drawn = _draws(outcomes.group, np.random.default_rng(seed))
    gains, curves = dict[str, np.ndarray](), dict[str, Curve]()
    for name, score in [*scores.items(), (ORACLE, outcomes.best)]:
        (value, at), (gains[name], drawn_at) = (_read(outcomes, score, weights) for weights in (whole, drawn))
        low, high = _interval(drawn_at, confidence)
        curves[name] = Curve(_estimate(value[0], gains[name], confidence), at[0], low, high)
    first, *others = scores
    differences = {
        name: _estimate(curves[first].gain.value - curves[name].gain.value, gains[first] - gains[name], confidence)
        for name in others
    }
    tokens = outcomes.fast_tokens.mean() + SHARES * outcomes.cost.mean()
    at_random = outcomes.fast_right.mean() + SHARES * max(outcomes.gain.mean(), 0)
    return Judged(curves, differences, tokens, at_random, float(outcomes.slow_right.mean()))


def _draws(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(B, N): how often each question is there when groups are drawn with replacement, as many as there are."""
    groups = int(group.max()) + 1
    return rng.multinomial(groups, np.full(groups, 1 / groups), DRAWS)[:, group].astype(float)


def _read(outcomes: Outcomes, score: np.ndarray, weight_BN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B,) gains, and (B, S) accuracies, of each draw."""
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=np.inf))
    drawn_BN = weight_BN / weight_BN.sum(1, keepdims=True)

    def path(more: np.ndarray, ground: np.ndarray) -> np.ndarray:
        steps_BK = np.add.reduceat((drawn_BN * more * (score > 0))[:, order], starts, axis=1)
        return np.concatenate(((drawn_BN @ ground)[:, None], steps_BK), axis=1).cumsum(1)

    tokens_BK, right_BK = path(outcomes.cost, outcomes.fast_tokens), path(outcomes.gain, outcomes.fast_right)
    way_B1 = (drawn_BN @ outcomes.cost)[:, None]
    part_BK = np.concatenate(((tokens_BK - tokens_BK[:, :1]) / way_B1, np.ones_like(way_B1)), axis=1)
    right_BK = np.concatenate((right_BK, right_BK[:, -1:]), axis=1)
    area_B = (np.diff(part_BK) * (right_BK[:, 1:] + right_BK[:, :-1]) / 2).sum(1)
    by_lot_B = right_BK[:, 0] + np.maximum(drawn_BN @ outcomes.gain, 0) / 2
    parts = np.maximum.accumulate(part_BK, axis=1)  # rarely needed: where steps took fewer tokens
    return area_B - by_lot_B, np.stack([np.interp(SHARES, *pair) for pair in zip(parts, right_BK, strict=True)])


def _estimate(value: float, drawn_B: np.ndarray, confidence: float) -> Estimate:
    return Estimate(float(value), *map(float, _interval(drawn_B, confidence)))


def _interval(drawn: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high
