"""A study as runs that differ in one mixture: what a surrogate is estimated from, or the reason why it cannot be.

Arms that differ from the base in the weights of one stage of the mixture are taken, others are left out by name. The
losses of an arm are the mean over its seeds after what a seed does to all arms is taken out; domains whose weight
never changes keep it.

    found = read_study(evidence)
    found.swarm.weights      arms x varied domains, rows summing to 1
    found.full(mixture)      {domain: weight} with the domains that were not varied
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ablate.laws.mixtures import place, weights
from ablate.laws.proposal import Noise
from ablate.laws.surrogate import Swarm
from ablate.run.settings import UserError
from ablate.verdict.evidence import Evidence

SAME = 1e-6  # of weights
NAMED = 3  # arms left out for one reason


@dataclass(frozen=True)
class MixtureStudy:
    """arms: of each row of the swarm, the first is the base's; fixed: weights that no arm changes; noise: of the
    metric of one run, None with one seed; left_out: arms, and why."""

    swarm: Swarm
    arms: tuple[str, ...]
    stage: str  # where it starts, as identities write it: 0, 0.7
    fixed: dict[str, float]
    noise: Noise | None
    seeds: float  # runs an arm, the median
    left_out: dict[str, str]

    def full(self, mixture: np.ndarray) -> dict[str, float]:
        """Weights of all domains, in thousandths."""
        free = 1 - sum(self.fixed.values())
        weights = dict(zip(self.swarm.domains, mixture * free, strict=True)) | self.fixed
        return {domain: round(float(weight), 3) for domain, weight in weights.items()}

    def remarks(self) -> list[str]:
        """Which arms were left out, a line a reason."""
        by_reason: dict[str, list[str]] = {}
        for arm, reason in self.left_out.items():
            by_reason.setdefault(reason, []).append(arm)
        lines = []
        for reason, arms in by_reason.items():
            more = f" and {len(arms) - NAMED} more" if len(arms) > NAMED else ""
            lines.append(f"left out: {', '.join(arms[:NAMED])}{more}: {reason}")
        return lines


def read_study(evidence: Evidence) -> MixtureStudy:
    """Raises UserError where the study has no mixture factor or too few mixtures, with how many are needed."""
    name = evidence.study.name
    changed, left_out = _changes(evidence)
    stage = _stage(name, changed)
    for arm, by_stage in changed.items():
        if set(by_stage) - {stage}:
            left_out[arm] = f"its mixture differs at {', '.join(sorted(set(by_stage) - {stage}))} too"
    mixtures = {arm: by_stage.get(stage, {}) for arm, by_stage in changed.items() if arm not in left_out}
    found = weights(mixtures, evidence.domains)
    varied, fixed = _varied(evidence, found[evidence.base])
    left_out |= {arm: "no run of it has finished" for arm in found if not evidence.finished(arm)}
    kept = _distinct({arm: row for arm, row in found.items() if arm not in left_out}, varied)
    _check_enough(name, kept, varied)
    losses, noise, importance = _losses(evidence, list(kept))
    own = tuple(varied.index(domain) if domain in varied else -1 for domain in evidence.domains)
    swarm = Swarm(tuple(varied), np.stack(list(kept.values())), losses, own, importance)
    seeds = float(np.median([len(evidence.finished(arm)) for arm in kept]))
    return MixtureStudy(swarm, tuple(kept), stage, fixed, noise, seeds, left_out)


def _changes(evidence: Evidence) -> tuple[dict[str, dict[str, dict[str, tuple[float, float]]]], dict[str, str]]:
    """{arm: {stage: {domain: (old, new)}}} of arms that differ in weights alone, and why others do not count."""
    changed: dict[str, dict[str, dict[str, tuple[float, float]]]] = {evidence.base: {}}
    left_out: dict[str, str] = {}
    for arm in evidence.arms:
        changed[arm] = {}
        for key, pair in evidence.declaration["arms"].get(arm, {}).items():
            if at := place(key, pair, evidence.domains):
                changed[arm].setdefault(at[0], {})[at[1]] = (pair[0], pair[1])
            else:
                left_out[arm] = f"it differs in {key} too"
    return {arm: by_stage for arm, by_stage in changed.items() if arm not in left_out}, left_out


def _stage(name: str, changed: dict[str, dict]) -> str:
    """The stage that most arms differ in."""
    counts = Counter(stage for by_stage in changed.values() for stage in by_stage if len(by_stage) == 1)
    if not counts:
        raise UserError(f"study {name}: no arm differs from the base in the weights of its mixture alone")
    return counts.most_common(1)[0][0]


def _varied(evidence: Evidence, base: dict[str, float]) -> tuple[list[str], dict[str, float]]:
    """Domains whose weight some arm changes, and the weights of the others: what the varied ones leave."""
    varied = list(base)
    others = [d for d in evidence.domains if d not in varied]
    rest = 1 - math.fsum(base.values())
    if len(others) > 1 and rest > SAME:
        raise UserError(f"study {evidence.study.name}: the weights of {', '.join(others)} are the same in all arms")
    return varied, dict.fromkeys(others, max(0.0, rest) if others else 0.0)


def _distinct(weights: dict[str, dict[str, float]], varied: list[str]) -> dict[str, np.ndarray]:
    """Rows that sum to 1, of the first arm with each mixture."""
    kept: dict[str, np.ndarray] = {}
    for arm, by_domain in weights.items():
        row = np.array([by_domain[d] for d in varied])
        row = row / row.sum()
        if all(np.abs(row - other).max() > SAME for other in kept.values()):
            kept[arm] = row
    return kept


def _check_enough(name: str, kept: dict[str, np.ndarray], varied: list[str]) -> None:
    needed, rows = len(varied) + 2, np.stack(list(kept.values())) if kept else np.zeros((1, len(varied)))
    directions = int(np.linalg.matrix_rank(rows - rows[0], tol=1e-4))
    if len(kept) < needed or directions < len(varied) - 1:
        raise UserError(
            f"study {name}: {len(kept)} distinct mixtures of {len(varied)} domains that vary in {directions} "
            f"directions; at least {needed} in {len(varied) - 1} directions are needed"
        )


def _losses(evidence: Evidence, arms: list[str]) -> tuple[np.ndarray, Noise | None, np.ndarray]:
    """Losses of each arm by domain without what its seeds did to all arms, noise, importance of each domain."""
    runs = [(row, seed, run) for row, arm in enumerate(arms) for seed, run in evidence.finished(arm).items()]
    seeds = sorted({seed for _, seed, _ in runs})
    values = np.array([[evidence.final(run, d) for d in evidence.domains] for _, _, run in runs])
    metric = np.array([evidence.final(run, evidence.metric.name) for _, _, run in runs])
    importance = importance_of(evidence, values, metric)
    design = np.zeros((len(runs), len(arms) + len(seeds)))
    for i, (row, seed, _) in enumerate(runs):
        design[i, row] = 1
        design[i, len(arms) + seeds.index(seed)] = 1
    effects = np.linalg.lstsq(design, values, rcond=None)[0]
    left = (values - design @ effects) @ importance
    free = len(runs) - int(np.linalg.matrix_rank(design))
    noise = Noise(float(np.sqrt((left**2).sum() / free)), free) if free else None
    return effects[: len(arms)] + effects[len(arms) :].mean(0), noise, importance


def importance_of(evidence: Evidence, values: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Of each domain in the metric: equal for those that a mean is of, by bytes where their text is pooled."""
    if evidence.metric.groups is None:
        name = evidence.metric.name
        raise UserError(f"study {evidence.study.name}: laws are of bits per byte, and its metric is {name}")
    groups = evidence.metric.groups(evidence.scope)
    if any(len(group) > 1 for group in groups):
        return np.linalg.lstsq(values, metric, rcond=None)[0]
    return np.array([([d] in groups) / len(groups) for d in evidence.domains])
