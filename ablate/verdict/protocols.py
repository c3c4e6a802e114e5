"""The same items under several protocols: what each arm makes of them, and whether the order of two arms turns.

A turn may be a matter of which items there are. Its probability is that of all items of the kind, as far as these tell:
sources are drawn anew with replacement, the same ones for all arms and protocols, and the turn counted. (600 simulated
tasks: where 0.07, 0.31, 0.50, 0.68 and 0.92 was said, 0.06, 0.27, 0.49, 0.67 and 0.89 turned; another sample of as many
items turned in 0.18 to 0.78.) Values are means over seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ablate.scores import answers, readings
from ablate.scores.items import Row
from ablate.scores.readings import Unreadable
from ablate.verdict.evidence import Evidence

DRAWS = 2000
Parts = dict[str, tuple[float, float]]  # x and w of each item by its key


@dataclass(frozen=True)
class Flip:
    """Two arms under two protocols; differences are the second arm minus the first."""

    arms: tuple[str, str]
    protocols: tuple[str, str]
    differences: tuple[float, float]
    probability: float  # that the order under one is not that under the other

    @property
    def turned(self) -> bool:
        return self.differences[0] * self.differences[1] < 0


@dataclass(frozen=True)
class Compared:
    """One task, one reading: values by protocol and arm, of the items that all have."""

    task: str
    reading: str
    values: Mapping[str, Mapping[str, float]]
    flips: tuple[Flip, ...]
    items: int


def compared(evidence: Evidence, task: str, reading: str) -> Compared | None:
    """None where fewer than two protocols hold the reading, or an arm was not asked."""
    found: dict[tuple[str, str], Parts] = {}
    sources: dict[str, str] = {}
    protocols = []
    for protocol in answers.protocols_for(evidence.scope.tasks[task], reading):
        of_arms = {arm: _parts(evidence, arm, task, protocol, reading, sources) for arm in evidence.by_arm}
        if all(of_arms.values()):
            protocols.append(protocol)
            found |= {(protocol, arm): parts for arm, parts in of_arms.items()}
    if len(protocols) < 2:
        return None
    keys = sorted(set.intersection(*(set(parts) for parts in found.values())))
    _, which = np.unique([sources[key] for key in keys], return_inverse=True)
    arms = list(evidence.by_arm)
    xw = np.array([[[found[p, arm][key] for key in keys] for arm in arms] for p in protocols])  # (P, A, items, 2)
    values = xw.sum(2)[..., 0] / xw.sum(2)[..., 1]
    drawn = _drawn(xw, which)
    flips = [
        Flip(
            (arms[a], arms[b]),
            (protocols[p], protocols[q]),
            (float(values[p, b] - values[p, a]), float(values[q, b] - values[q, a])),
            float(np.mean((drawn[p, b] - drawn[p, a]) * (drawn[q, b] - drawn[q, a]) < 0)),
        )
        for p, q in combinations(range(len(protocols)), 2)
        for a, b in combinations(range(len(arms)), 2)
    ]
    by_name = {p: dict(zip(arms, map(float, row), strict=True)) for p, row in zip(protocols, values, strict=True)}
    return Compared(task, reading, by_name, tuple(flips), len(keys))


def _drawn(xw: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Values of sources drawn anew, shape (protocols, arms, DRAWS)."""
    clusters = int(which.max()) + 1
    sums = np.einsum("pait,ic->pact", xw, np.eye(clusters)[which])
    weights = np.random.default_rng(0).multinomial(clusters, np.full(clusters, 1 / clusters), DRAWS)
    totals = np.einsum("pact,dc->padt", sums, weights)
    return totals[..., 0] / totals[..., 1]


def _parts(evidence: Evidence, arm: str, task: str, protocol: str, reading: str, sources: dict[str, str]) -> Parts:
    """The mean over the runs of an arm; empty where one was not asked, or the answers do not hold the reading."""
    settings, rows = evidence.scope.tasks[task], []
    for run in evidence.finished(arm).values():
        found = answers.of(run.record.scores, task, settings, protocol, run.result["step"])
        if found is None:
            return {}
        rows.append(found.check(run.result["weights_sha256"]).clean(evidence.scope.left_out(task)))
    return _mean(rows, reading, sources) if rows else {}


def _mean(rows: list[list[Row]], reading: str, sources: dict[str, str]) -> Parts:
    try:
        parts = np.mean([readings.parts(one, reading) for one in rows], axis=0)
    except Unreadable:
        return {}
    sources |= {row["item"]: row["source"] for row in rows[0]}
    return {row["item"]: (float(x), float(w)) for row, x, w in zip(rows[0], *parts, strict=True)}
