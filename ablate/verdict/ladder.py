"""A study at several sizes and rates: the word at each, the effect at a larger size, and whether its sign may turn.

    found = read_ladder(evidence)
    found.held["share_15"].flip         probability that the sign turns on the way to `found.target` parameters

Each rung is a study of its own, with its own verdict. Effects are shares of what the base loses at that size
(`statistics.ladder`), with the standard errors of their verdicts. An arm that has no effect at some size, because no
seed finished there, is foretold nothing. Rates beside the declared one tell whether a word depends on it; the best
rate of an arm is the one with the least loss, at each size, and nothing is judged by it.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np

from ablate.run.rungs import Rung, whole_of
from ablate.run.settings import UserError
from ablate.run.study_record import study_record
from ablate.verdict.compare import Verdict, verdicts
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.statistics import ladder as statistics
from ablate.verdict.statistics.ladder import Held, Rungs

ALIKE = ("ladder", "base", "metric", "factor")  # what all rungs have declared
TIMES = 10  # of the largest size: the target where none was declared


@dataclass(frozen=True)
class Step:
    """One rung that has something to show. verdicts: by arm."""

    rung: Rung
    study: str
    parameters: float  # of the base
    verdicts: dict[str, Verdict]

    def share(self, arm: str) -> tuple[float, float]:
        """An arm's effect and its standard error, as shares of what the base loses."""
        verdict = self.verdicts[arm]
        return verdict.effect.mean / verdict.base_value, verdict.effect.error / verdict.base_value


@dataclass(frozen=True)
class Ladder:
    """`steps`: by size, at each the rates as they were declared; those that are missing are not there yet."""

    of: str
    steps: tuple[Step, ...]
    declared: tuple[Rung, ...]
    confidence: float
    asked: float  # parameters; 0: TIMES the largest

    @property
    def sizes(self) -> list[Step]:
        """The steps at the declared rate, from small to large."""
        return sorted((step for step in self.steps if step.rung.rate == 1), key=attrgetter("parameters"))

    @property
    def target(self) -> float:
        return self.asked or TIMES * self.sizes[-1].parameters

    @property
    def rates(self) -> list[float]:
        return list(dict.fromkeys(rung.rate for rung in self.declared))

    @property
    def missing(self) -> int:
        return len(self.declared) - len(self.steps)

    @cached_property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(arm for step in self.steps for arm in step.verdicts))

    def at(self, arm: str, size: str) -> Iterator[tuple[float, Verdict]]:
        """(rate, verdict) of an arm at each rate of a size."""
        for step in self.steps:
            if step.rung.size == size and arm in step.verdicts:
                yield step.rung.rate, step.verdicts[arm]

    def best_rate(self, arm: str, size: str) -> float | None:
        """At which the arm loses least; None where one rate alone was tried."""
        found = [(verdict.arm_value, rate) for rate, verdict in self.at(arm, size) if verdict.differences]
        return min(found)[1] if len(found) > 1 else None

    @property
    def why_not(self) -> str:
        """Why nothing is foretold; empty where it is."""
        if not self._everywhere:
            return "no arm has two seeds at every size"
        places = [*(step.parameters for step in self.sizes), self.target]
        rises = all(before < after for before, after in pairwise(places))
        return "" if rises else "the target and the sizes are not one larger than the other"

    @property
    def _everywhere(self) -> list[str]:
        """Arms with an error at every size."""
        return [arm for arm in self.arms if all(_known(step, arm) for step in self.sizes)]

    @cached_property
    def held(self) -> dict[str, Held]:
        """Of the arms with an error at every size, at the target; empty with one size, and where `why_not` says so."""
        steps, arms = self.sizes, self._everywhere
        if len(steps) < 2 or self.why_not:
            return {}
        shares = np.array([[step.share(arm) for step in steps] for arm in arms])
        rungs = Rungs(np.array([step.parameters for step in steps]), shares[..., 0], shares[..., 1])
        return dict(zip(arms, statistics.held(rungs, self.target, 1 - self.confidence), strict=True))


def read_ladder(evidence: Evidence) -> Ladder | None:
    """The ladder that a study is a rung of, as far as it has results in losses; None of a study that is none."""
    name, declared = whole_of(evidence.study.name, evidence.declaration)
    if not declared or not evidence.metric.groups:
        return None
    steps = [step for rung in declared if (step := _step(evidence, name, rung))]
    target = evidence.declaration["ladder"].get("target", 0)
    found = Ladder(name, tuple(steps), tuple(declared), evidence.declaration["confidence"], target)
    return found if found.sizes else None


def _step(evidence: Evidence, name: str, rung: Rung) -> Step | None:
    """None where nothing is there to read yet, or nothing that can be read (its own page says why), and where a study
    of that name was declared as another one."""
    study = study_record(evidence.study.folder.parent.parent, f"{name}{rung.suffix}")
    if not study.exists:
        return None
    with suppress(UserError):
        seen = evidence if study.folder == evidence.study.folder else read(study)
        if _declared(seen) == _declared(evidence) and (base := seen.finished(seen.base)):
            parameters = next(iter(base.values())).result["parameters"]
            return Step(rung, study.name, parameters, {one.arm: one for one in verdicts(seen) if one.differences})
    return None


def _declared(evidence: Evidence) -> tuple[Any, ...]:
    declared = evidence.declaration
    return (*(declared.get(key) for key in ALIKE), set(declared["arms"]))


def _known(step: Step, arm: str) -> bool:
    return arm in step.verdicts and math.isfinite(step.verdicts[arm].effect.error)
