"""A router: which questions a model answers at once and for which it writes the steps, from its state at their end.

    fit, grade = halves(rows)                       rows of the protocol `both`
    router = fitted(states(fit), outcomes(fit))
    judged(outcomes(grade), {"router": router.score(states(grade)), ...})     `verdict.statistics.routing`

What counts is how much likelier steps make the right answer, for each token that they take. Both outcomes of a question
are known, so the gain to be expected is the difference of two probabilities, each of its own logistic regression: right
behind steps, less right at once. The tokens are foretold by a ridge regression. Regularisation is chosen by
cross-validation among the questions to fit on.

Shapes: N questions, D width of the model.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from scipy.special import expit

from ablate.scores.items import Row
from ablate.verdict.statistics.routing import Outcomes, per_token

STRENGTHS = np.logspace(-5, 1, 7)  # C of the logistic regressions
PENALTIES = np.logspace(-1, 6, 15)  # of the ridge regression
FOLDS = 5
LEAST = 2 * FOLDS  # questions of either outcome, below which nothing is learnt of it
SHARES = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Linear:
    """bias + states @ weights; with link="logistic" a probability."""

    weights: list[float]
    bias: float
    link: str = "identity"

    def __call__(self, state_ND: np.ndarray) -> np.ndarray:
        found = self.bias + state_ND @ np.array(self.weights)
        return expit(found) if self.link == "logistic" else found


@dataclass(frozen=True)
class Router:
    """`thresholds`: of the questions that it was fitted on, i % have at least the i-th score."""

    slow: Linear
    fast: Linear
    tokens: Linear
    thresholds: list[float]

    def score(self, state_ND: np.ndarray) -> np.ndarray:
        """Of each question, gain in the probability of the right answer for a token more."""
        return per_token(self.slow(state_ND) - self.fast(state_ND), self.tokens(state_ND))

    def writes(self, state_D: Sequence[float], share: float) -> bool:
        """Whether a question gets steps, where at most such a share does, of those that it expects to gain by them."""
        threshold = np.interp(share, SHARES, self.thresholds)
        return share > 0 and bool(self.score(np.array([state_D]))[0] >= max(threshold, 0))

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        parts = {name: Linear(**plain[name]) for name in ("slow", "fast", "tokens")}
        return cls(**parts, thresholds=plain["thresholds"])


def fitted(state_ND: np.ndarray, outcomes: Outcomes) -> Router:
    """The router of these questions. Takes a second to import scikit-learn, and some more."""
    slow, fast = (_logistic(state_ND, right, outcomes.group) for right in (outcomes.slow_right, outcomes.fast_right))
    router = Router(slow, fast, _ridge(state_ND, outcomes.cost), [])
    falling = np.quantile(router.score(state_ND), 1 - SHARES)
    return Router(slow, fast, router.tokens, falling.tolist())


def _logistic(state_ND: np.ndarray, right: np.ndarray, group: np.ndarray) -> Linear:
    """The probability of a right answer; that of all alike, where too few are right, or wrong."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    num_right = int(right.sum())
    if min(num_right, len(right) - num_right) < LEAST:
        odds = (num_right + 0.5) / (len(right) - num_right + 0.5)
        return Linear([0.0] * state_ND.shape[1], float(np.log(odds)), "logistic")
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        {"logisticregression__C": STRENGTHS},
        scoring="neg_log_loss",
        cv=StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0),
    )
    scaler, model = search.fit(state_ND, right.astype(int), groups=group).best_estimator_
    return _unscaled(scaler, model.coef_[0], float(model.intercept_[0]), "logistic")


def _ridge(state_ND: np.ndarray, cost: np.ndarray) -> Linear:
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(state_ND)
    model = RidgeCV(PENALTIES).fit(scaler.transform(state_ND), cost)
    return _unscaled(scaler, model.coef_, float(model.intercept_), "identity")


def _unscaled(scaler: Any, weights_D: np.ndarray, bias: float, link: str) -> Linear:
    """The same function of states as they are."""
    weights_D = weights_D / scaler.scale_
    return Linear(weights_D.tolist(), float(bias - scaler.mean_ @ weights_D), link)


def halves(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Rows to fit on and rows to grade on, at random; what is asked the same or of one source is in one half."""
    bits = [int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 for name in _groups(rows)]
    fit, grade = ([row for row, bit in zip(rows, bits, strict=True) if bit == half] for half in (0, 1))
    return fit, grade


def _groups(rows: Sequence[Row]) -> list[str]:
    """Of each row, what names all that it belongs together with."""
    leader: dict[str, str] = {}

    def of(name: str) -> str:
        while leader.get(name, name) != name:
            name = leader[name]
        return name

    for row in rows:
        first, other = sorted((of(f"source {row['source']}"), of(f"asked {row['asked']}")))
        leader[other] = first  # whatever their order in the list
    return [of(f"source {row['source']}") for row in rows]


def independent(rows: Sequence[Row]) -> int:
    """Number of questions of which no two are asked the same or of one source."""
    return len(set(_groups(rows)))


def states(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row["state"] for row in rows])


def lengths(rows: Sequence[Row]) -> np.ndarray:
    """(N, 1): tokens of each question, in the place of a state."""
    return np.array([[float(row["read"])] for row in rows])


def outcomes(rows: Sequence[Row]) -> Outcomes:
    names = {name: number for number, name in enumerate(dict.fromkeys(_groups(rows)))}
    return Outcomes(
        fast_right=np.array([float(row["right"]) for row in rows]),
        fast_tokens=np.array([float(row["written"]) for row in rows]),
        slow_right=np.array([float(row["steps"]["right"]) for row in rows]),
        slow_tokens=np.array([float(row["steps"]["written"]) for row in rows]),
        group=np.array([names[name] for name in _groups(rows)]),
    )
