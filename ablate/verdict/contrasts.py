"""What a grid answers beyond its base: each factor at each level of the others, and whether factors act together.

    study.grid: {rate: {low: [], high: [...]}, decay: {none: [], some: [...]}}

    decay: some against none, at low        y(low some) - y(low none)
    decay: some against none, at high       y(high some) - y(high none)
    rate: high against low, at none         y(high none) - y(low none)
    rate: high against low, at some         y(high some) - y(low some)
    rate: high x decay: some                y(high some) - y(high none) - y(low some) + y(low none)

A level stands against the one that is the base's, or else against the first of its factor. All contrasts are one family
(Holm), beside that of the arms against the base; those of levels that were dropped after a look stay in it. Each
is judged from its own seeds alone, by a paired t: the noise of earlier arms is that of other differences. A `worse`
interaction means that two changes together are worse than the sum of what they do apart.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ablate.verdict import history
from ablate.verdict.compare import shown_mde, step
from ablate.verdict.evidence import Evidence
from ablate.verdict.statistics.looks import Noise
from ablate.verdict.statistics.paired import Judgement, judge

Place = dict[str, str]  # a level of each factor
Terms = dict[str, int]  # arms, each times a number


@dataclass(frozen=True)
class Contrast:
    name: str
    terms: Terms
    differences: dict[int, float]  # by seed
    effect: Judgement

    @property
    def detectable(self) -> float:
        return shown_mde(self.effect.word, self.effect)


@dataclass(frozen=True)
class _Grid:
    levels: dict[str, list[str]]  # by factor, the one that others stand against first
    arms: dict[tuple[str, ...], str]  # by levels, in the order of factors

    def sum(self, *terms: tuple[Place, int]) -> Terms:
        """Arms at some places, added up."""
        found: Terms = {}
        for place, sign in terms:
            arm = self.arms[tuple(place[factor] for factor in self.levels)]
            found[arm] = found.get(arm, 0) + sign
        return found

    def places(self, *left_out: str) -> Iterator[Place]:
        """Every combination of levels of the factors but those left out."""
        rest = {factor: levels for factor, levels in self.levels.items() if factor not in left_out}
        for levels in itertools.product(*rest.values()):
            yield dict(zip(rest, levels, strict=True))


def contrasts(evidence: Evidence) -> list[Contrast]:
    """Of a study with a grid of two factors or more; none of any other, nor of a race, whose arms have other seeds."""
    declared = evidence.declaration
    asked = {} if evidence.race else _asked(declared)
    dropped = {name for one in evidence.history.looked_at for name in _asked(one) if name not in asked}
    differences = {name: _by_seed(evidence, terms) for name, terms in asked.items()}
    least = Noise(least=step(evidence, evidence.metric.name) ** 2)
    share = min(evidence.history.shares(history.look(evidence)).values(), default=1.0)
    effects = judge(
        {name: list(d.values()) for name, d in differences.items()} | dict.fromkeys(dropped, ()),
        declared["margin"],
        evidence.confidence,
        dict.fromkeys(asked, least),
        sign=evidence.metric.sign,
        shares=dict.fromkeys(asked, share),
    )
    return [Contrast(name, asked[name], d, effects[name]) for name, d in differences.items()]


def _asked(declaration: dict[str, Any]) -> dict[str, Terms]:
    """Every contrast that a declaration asks for, by name."""
    if len(declaration.get("grid") or {}) < 2:
        return {}
    grid = _grid(declaration)
    return dict([*_simple(grid), *_interactions(grid)])


def _grid(declaration: dict[str, Any]) -> _Grid:
    declared, runs, base = (declaration[key] for key in ("grid", "runs", "base"))
    levels = {factor: sorted(found, key=lambda level: bool(found[level])) for factor, found in declared.items()}
    arms = {}
    for place in itertools.product(*declared.values()):
        name = " ".join(place)
        unchanged = not any(declared[factor][level] for factor, level in zip(declared, place, strict=True))
        arms[place] = base if unchanged or runs.get(name) == runs[base] else name
    return _Grid(levels, arms)


def _simple(grid: _Grid) -> Iterator[tuple[str, Terms]]:
    """Each level of a factor against its first, at each combination of the others."""
    for factor, (first, *levels) in grid.levels.items():
        for level in levels:
            for place in grid.places(factor):
                terms = grid.sum((place | {factor: level}, 1), (place | {factor: first}, -1))
                yield f"{factor}: {level} against {first}, at {' '.join(place.values())}", terms


def _interactions(grid: _Grid) -> Iterator[tuple[str, Terms]]:
    """What two changes together are beyond the sum of what they are apart."""
    for one, other in itertools.combinations(grid.levels, 2):
        (a0, *further), (b0, *more) = grid.levels[one], grid.levels[other]
        for a, b in itertools.product(further, more):
            for place in grid.places(one, other):
                corners = ((a, b, 1), (a, b0, -1), (a0, b, -1), (a0, b0, 1))
                terms = grid.sum(*((place | {one: x, other: y}, sign) for x, y, sign in corners))
                yield f"{one}: {a} x {other}: {b}{', at ' * bool(place)}{' '.join(place.values())}", terms


def _by_seed(evidence: Evidence, terms: Terms) -> dict[int, float]:
    """Over the seeds that finished in all arms of the contrast; none where a run diverged: survivors are no sample."""
    if any(run.outcome == "diverged" for arm in terms for run in evidence.by_arm[arm].values()):
        return {}
    finals = {arm: evidence.finals(arm, evidence.metric.name) for arm in terms}
    seeds = set.intersection(*(set(found) for found in finals.values()))
    tested = (seed for seed in sorted(seeds) if not _cancels(evidence, terms, seed))
    return {seed: sum(sign * finals[arm][seed] for arm, sign in terms.items()) for seed in tested}


def _cancels(evidence: Evidence, terms: Terms, seed: int) -> bool:
    """Whether arms of opposite signs have the same weights: there the contrast compares less than it says."""
    weights = {arm: evidence.by_arm[arm][seed].result.get("weights_sha256") for arm in terms}
    added, taken = ({weights[arm] for arm, sign in terms.items() if sign * of > 0} for of in (1, -1))
    return bool((added & taken) - {None})
