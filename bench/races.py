"""What races by looks save, and what they cost: planted studies of several seeds, replayed through `decide`.

`compute` is the share of the runs that all arms would have taken, the base's counted; `kept`, how often the best arm in
truth was still there, with its Clopper-Pearson interval of 95 %. `near`: how often one was there that is within NEAR of
it. Arms that are closer than the noise of their seeds cannot be told apart by anyone. What a search saves within the
first seed block is measured by `bench.search`.
"""

from functools import partial
from itertools import product
from typing import ClassVar

import numpy as np
from scipy.stats import binomtest

from ablate.run.study import Budget, Study
from ablate.verdict.race import Decision, decide
from ablate.verdict.statistics.paired import judge
from bench.curves import Whole, whole
from bench.rounds import Row

RACES, STUDIES, QUICK = 300, 200, 10
NEAR = 0.0025  # nats: two standard deviations over seeds of runs like those of modded-nanogpt
KEPT = 0.95


class Rate(Row):
    """A share of yes among yeses and noes (1 and 0), with its Clopper-Pearson interval."""

    unit: ClassVar = "races"

    @property
    def median(self) -> float:
        return sum(self.values) / len(self.values)

    @property
    def spread(self) -> tuple[float, float, float]:
        exact = binomtest(round(sum(self.values)), len(self.values)).proportion_ci(method="exact")
        return self.median, float(exact.low), float(exact.high)

    def plain(self) -> dict:
        share, low, high = self.spread
        found = {"share": share, "low": round(low, 4), "high": round(high, 4), self.unit: len(self.values)}
        return {"case": self.case, "what": self.what} | found | ({"target": self.target} if self.target else {})


class Mean(Row):
    """What races cost on average."""

    unit: ClassVar = "races"

    @property
    def median(self) -> float:
        return sum(self.values) / len(self.values)

    def plain(self) -> dict:
        return {key: value for key, value in super().plain().items() if key != "rounds"} | {self.unit: len(self.values)}


def races(quick: bool) -> list[Row]:
    """share of studies; from, to: Clopper-Pearson 95 % of a rate, least and most of the compute"""
    rows: list[Row] = []
    for spread, seeds in product(("wide", "many", "noisy"), (3, 8)):
        rng, draw = np.random.default_rng(0), partial(whole, seeds=seeds, spread=spread)
        found = [replay(draw(rng)) for _ in range(QUICK if quick else RACES)]
        kept, near, compute = (list(values) for values in zip(*found, strict=True))
        case = f"planted-{spread}, {seeds} seeds"
        rows += [Rate(case, "kept", kept, KEPT), Rate(case, "near", near), Mean(case, "compute", compute)]
    return rows + many_arms(QUICK // 2 if quick else STUDIES)


def many_arms(studies: int) -> list[Row]:
    """Verdicts of 200 arms, 20 better and 40 worse by 2 to 12 times the noise of a pair, 3 seeds: looks with pooled
    noise, stopping early, against a paired t test of every arm by itself with all seeds and Holm's correction."""
    rng, study = np.random.default_rng(0), Study(margin=0.5, budget=Budget(race="verdicts"))
    found: dict[str, list[list[float]]] = {"race": [], "t test": []}
    for _ in range(studies):
        effects = np.concatenate([-rng.uniform(2, 12, 20), rng.uniform(2, 12, 40), np.zeros(140)])
        runs = np.sqrt(0.5) * rng.standard_normal((201, 3)) + np.append(0.0, effects)[:, None]
        names = [study.base, *map(str, range(200))]
        decisions = decide({n: dict(enumerate(row.tolist())) for n, row in zip(names, runs, strict=True)}, study)
        plain = judge({n: (row - runs[0]).tolist() for n, row in zip(names[1:], runs[1:], strict=True)}, 0.5, 0.95)
        cost = (3 + sum(one.look for one in decisions.values())) / (3 * len(names))
        for rule, judged, share in (("race", decisions, cost), ("t test", plain, 1.0)):
            words = [judged[name].word for name in names[1:]]
            claimed = any(word in ("better", "worse") for word in words[60:])
            found[rule].append([words[:20].count("better") / 20, float(claimed), share])
    rows: list[Row] = []
    for rule, values in found.items():
        power, false, compute = (list(column) for column in zip(*values, strict=True))
        case = f"200 arms, 3 seeds, {rule}"
        rows += [Mean(case, "power", power), Rate(case, "some false", false, 0.05, "at most")]
        rows.append(Mean(case, "compute", compute))
    return rows


def replay(world: Whole) -> tuple[float, float, float]:
    """A study of several seeds: best kept, near kept, compute. The best is the best in truth."""
    study = Study(seeds=list(range(world.ends.shape[1])), base="0", budget=Budget(race="best"))
    finals = {str(arm): dict(enumerate(row.tolist())) for arm, row in enumerate(world.ends)}
    return _outcome(world.truth, decide(finals, study), len(study.seeds))


def _outcome(truth: np.ndarray, decisions: dict[str, Decision], seeds: int) -> tuple[float, float, float]:
    """An arm stopped for what its verdict is, not for what it may be, is still the study's answer."""
    left = [0, *(int(arm) for arm, one in decisions.items() if one.reason in ("", "better", "spent"))]
    cost = seeds + sum(one.look or seeds for one in decisions.values())
    lowest = truth[left].min() - truth.min()
    return float(lowest == 0), float(lowest <= NEAR), cost / (seeds * len(truth))
