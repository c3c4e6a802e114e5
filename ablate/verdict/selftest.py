"""How often this lab finds what is not there, counted on its own runs: `ablate report --self-test`.

Seeds of one arm differ by noise alone. So contrasts between the seeds of one arm (the first less the second, the first
two less the third, ..., scaled to the noise of one difference, with a sign that is drawn) have mean zero in truth,
whatever the arm does:

    arm a   d_0 d_1 d_2  ->  (d_0 - d_1) / sqrt 2,  (d_0 + d_1 - 2 d_2) / sqrt 6  ┐
    arm b   ...                                                                   ├ three make a pseudo-arm
    arm c   ...                                                                   ┘

Pseudo-arms are judged by the very rule of verdicts, the family being those of their study, with what other studies tell
of the noise. Every difference that this finds is false. The noise in them is that of trained models: unequal, not
normal, as large as it is. Contrasts can be grouped in many ways; rates are means over GROUPINGS of them, and as these
share their runs, the bound is that of a single one.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import betaincinv

from ablate.run.settings import UserError
from ablate.run.study_record import StudyRecord
from ablate.verdict import registry
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.registry import Known, Past
from ablate.verdict.spread import Gain
from ablate.verdict.statistics.paired import judge
from ablate.verdict.validity import controls

SEEDS = 3  # pairs of a pseudo-arm
GROUPINGS = 40
ALPHA = 0.05
METRIC = "macro"


@dataclass(frozen=True)
class Rate:
    """The part of trials in which something was found, with its Clopper-Pearson interval of 95 %."""

    found: float  # a mean over groupings, so not always whole
    trials: int

    @property
    def value(self) -> float:
        return self.found / self.trials if self.trials else math.nan

    @property
    def low(self) -> float:
        count = math.floor(self.found + 1e-9)
        return 0.0 if count == 0 else float(betaincinv(count, self.trials - count + 1, 0.025))

    @property
    def bound(self) -> float:
        count = math.ceil(self.found - 1e-9)
        return 1.0 if count >= self.trials else float(betaincinv(count + 1, self.trials - count, 0.975))


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """What the records of a lab say about its own errors."""

    pairs: int  # A/A pairs of trained models
    moderated: Rate  # false differences among pseudo-arms, each judged alone at ALPHA, by the rule of verdicts
    plain: Rate  # likewise by the paired t test
    families: Rate  # studies with any false difference, with the family's correction
    noises: dict[str, list[Known]]  # by metric
    pairings: dict[str, dict[frozenset[str], Gain]]  # by metric, then by kind of arm
    positives: int  # positive controls that have been trained
    positives_found: int


def self_test(outputs: Path) -> SelfTest:
    """Measure the error rates of the lab on all studies of a folder of records."""
    studies = [evidence for study in registry.recorded(outputs) if (evidence := _judged(study))]
    past = registry.read(outputs)  # by the metrics of these studies too
    metrics = list(dict.fromkeys(metric for one in past for metric in one.pairs))
    positives = [found for evidence in studies if (found := controls.found(evidence)) is not None]
    return SelfTest(
        **_rates(past),
        noises={metric: registry.regions(past, metric) for metric in metrics},
        pairings={metric: registry.pairings(past, metric) for metric in metrics},
        positives=len(positives),
        positives_found=sum(positives),
    )


def _rates(past: Sequence[Past]) -> dict[str, Any]:
    """Means over groupings, of all studies together."""
    rng, studies = np.random.default_rng(0), list(dict.fromkeys(one.study for one in past))
    rounds = []
    for _ in range(GROUPINGS):
        families = [nulls([one for one in past if one.study == study], METRIC, rng) for study in studies]
        rounds.append(np.array([[0, 0, 0, 0, 0], *(_counts(family, past) for family in families if family)]).sum(0))
    trials, moderated, plain, judged, wrong = np.mean(rounds, axis=0).tolist()
    return {
        "pairs": round(trials) * SEEDS,
        "moderated": Rate(moderated, round(trials)),
        "plain": Rate(plain, round(trials)),
        "families": Rate(wrong, round(judged)),
    }


def _counts(family: Sequence[Past], past: Sequence[Past]) -> tuple[int, ...]:
    """Pseudo-arms; false differences by the moderated and by the plain t; families, and those with any, corrected."""
    differences = {one.arm: one.differences(METRIC) for one in family}
    priors = {arm: known.noise for arm, known in registry.noises(family, past, METRIC).items()}
    moderated, plain = (judge(differences, math.inf, 1 - ALPHA, known) for known in (priors, {}))
    alone = (sum(one.p <= ALPHA for one in judged.values()) for judged in (moderated, plain))
    return (len(family), *alone, 1, int(any(one.p_adjusted <= ALPHA for one in moderated.values())))


def nulls(arms: Iterable[Past], metric: str, rng: np.random.Generator) -> list[Past]:
    """Pseudo-arms of true difference zero, from the arms of one study, each kind by itself."""
    groups: dict[frozenset[str], list[Past]] = {}
    for one in arms:
        groups.setdefault(one.kind, []).append(one)
    found = []
    for kind, group in groups.items():
        pieces = np.concatenate([contrasts(one.differences(metric), rng) for one in group])
        rng.shuffle(pieces)
        for number in range(len(pieces) // SEEDS):
            values = pieces[number * SEEDS : (number + 1) * SEEDS].tolist()
            pairs = {metric: [(0.0, value) for value in values]}
            name = f"{registry.name_of(kind)} {number}"
            found.append(dataclasses.replace(group[0], arm=name, ids=frozenset(), pairs=pairs))
    return found


def contrasts(differences: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Orthogonal contrasts of n seeds in an order that is drawn, n - 1 of them, with signs that are drawn."""
    d = rng.permutation(np.asarray(differences, float))
    k = np.arange(1, len(d))
    return rng.choice([-1.0, 1.0], len(k)) * (np.cumsum(d)[:-1] - k * d[1:]) / np.sqrt(k * (k + 1))


def _judged(study: StudyRecord) -> Evidence | None:
    """None where nobody knows the study's metric any more: its module is gone."""
    try:
        return read(study)
    except UserError:
        return None
