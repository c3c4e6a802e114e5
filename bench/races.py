"""What racing saves and what it costs: curves of whole runs, replayed through `verdict.race.decide`.

Every arm but the base may leave at any evaluation from the third on; the base is trained to its end, and that
is counted. `compute` is the share of the steps that all arms would have taken, `kept` how often the arm with
the lowest final loss was still there, with its Clopper-Pearson interval of 95 %, `near` how often one that ends
within NEAR of it was: arms that are closer than the noise of their seeds cannot be told apart by anyone.

The rule (`verdict.statistics.forecast`) was tuned on the families of TUNED. Those of UNSEEN were measured after it was
fixed; of all families it was known before where the final winner ranks at 40 % of a run, and for that
`speedruns-late` (records before and after `BatchSizeSchedule`, at equal steps) was set beside the schedules:
CROSSING shows what rungs are refused for (`checks.CROSSING`), and that no check recognises every such study. The
intervals take races for independent, but they are drawn from few runs: 3 recipes in `speedruns-2024`, 3 seeds in
`mixtures`, some tens of windows in `sizes`. The planted unseen families come from the generator of the tuned ones.

`floor` is the least that any rule could spend: who knows the winner trains it and the base, and drops all others at
the first rung. `hindsight` is the least of one family of rules: drop what lies further behind the first than a
threshold of the rung, all thresholds chosen on these very races so that the best stays in KEPT of them. Where it is
above COMPUTE, races of so few arms, with so few evaluations, are too short for that target.

On the unseen ones two plain rules raced too: successive halving at 1/8, 1/4 and 1/2 of a run, and the gap rule, which
drops an arm behind the first by more than 3 sqrt(2) sd(recent increments of centred losses) sqrt(evaluations left).
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import ClassVar

import numpy as np
from scipy.stats import binomtest

from ablate.run.study import Budget, Study
from ablate.verdict.race import Decision, decide
from ablate.verdict.statistics.paired import judge
from bench.curves import Race, Whole, families, whole
from bench.rounds import Row

TUNED = ("planted-wide", "planted-close", "planted-crossing", "mixtures", "speedruns-2025", "sizes-rw")
UNSEEN = ("planted-many", "planted-noisy", "optimizers", "speedruns-2024", "sizes-owt2")
CROSSING = ("speedruns-late", "schedules")

RACES, STUDIES, QUICK = 300, 200, 10
NEAR = 0.0025  # nats: two standard deviations over seeds of runs like those of modded-nanogpt
KEPT, COMPUTE = 0.95, 0.40


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
    """share of races; from, to: Clopper-Pearson 95 % of a rate, least and most of the compute"""
    found, rows = families(), []
    for group, names in (("tuned on", TUNED), ("unseen", UNSEEN), ("crossing", CROSSING)):
        for name in (name for name in names if name in found):
            rows += measure(f"{name} ({group})", found[name], replay, QUICK if quick else RACES, group == "unseen")
            rows += least(f"{name} ({group})", found[name], QUICK if quick else RACES)
        rows += [Row(f"{name} ({group})", "the tables are not here", [0.0]) for name in names if name not in found]
    for name in (name for name in UNSEEN if name in found):
        for rule in (halving, gap):
            rows += measure(
                f"{name}, {rule.__name__}", found[name], partial(plain, rule), QUICK if quick else RACES, False
            )
    for spread, seeds in product(("wide", "many", "noisy"), (3, 8)):
        draw = partial(whole, seeds=seeds, spread=spread)
        rows += measure(f"planted-{spread}, {seeds} seeds", draw, replay_whole, QUICK if quick else RACES, True)
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


def measure(case: str, draw: Callable, play: Callable, count: int, new: bool) -> list[Row]:
    """Three rows: the best kept, one near it kept, the compute."""
    rng = np.random.default_rng(0)
    kept, near, compute = (list(values) for values in zip(*(play(draw(rng)) for _ in range(count)), strict=True))
    return [
        Rate(case, "kept", kept, KEPT if new else None),
        Rate(case, "near", near),
        Mean(case, "compute", compute, COMPUTE if new else None, "at most"),
    ]


def least(case: str, draw: Callable, count: int) -> list[Row]:
    """Two rows: what any rule must spend on the same races, and what thresholds chosen on them do."""
    rng = np.random.default_rng(0)
    raced = [draw(rng) for _ in range(count)]
    return [Mean(case, "floor", [floor(race) for race in raced]), Row(case, "hindsight", [hindsight(raced)])]


def floor(race: Race) -> float:
    stay, arms = len({0, int(race.losses[:, -1].argmin())}), len(race.losses)
    return (stay + (arms - stay) * float(race.parts[2])) / arms


def hindsight(raced: list[Race]) -> float:
    """Thresholds are quantiles, one for all rungs, of how far the winners lie behind the first."""
    rungs = slice(2, len(raced[0].parts) - 1)
    gaps = [(race.losses - race.losses.min(0))[:, rungs] for race in raced]
    winners = np.stack([gap[race.losses[:, -1].argmin()] for gap, race in zip(gaps, raced, strict=True)])
    is_base = np.array([race.losses[:, -1].argmin() == 0 for race in raced])
    found = 1.0
    for quantile in np.linspace(KEPT, 1, 51):
        allowed = np.quantile(winners, quantile, axis=0) + 1e-12
        if ((winners <= allowed).all(1) | is_base).mean() >= KEPT:
            spent = [_spent(gap > allowed, race.parts[rungs]) for gap, race in zip(gaps, raced, strict=True)]
            found = min(found, float(np.mean(spent)))
    return found


def _spent(over: np.ndarray, parts: np.ndarray) -> float:
    """Of a race whose arms leave at their first rung over the threshold, all but the base."""
    leaves = np.where(over.any(1), parts[over.argmax(1)], 1.0)
    return float(np.append(leaves[1:], 1.0).mean())


def replay(race: Race) -> tuple[float, float, float]:
    """One seed block, arms leaving at its rungs: best kept, near kept, compute."""
    parts = race.parts.tolist()
    study = Study(seeds=[0], base="0", budget=Budget(race="best", rungs=parts[2:-1]))
    curves = {str(arm): {0: dict(zip(parts, row.tolist(), strict=True))} for arm, row in enumerate(race.losses)}
    decisions = decide({arm: {} for arm in curves}, study, curves)
    return _outcome(race.losses[:, -1], decisions, 1)


def replay_whole(world: Whole) -> tuple[float, float, float]:
    """A study of several seeds, by rungs and looks. The best is the best in truth."""
    study = Study(
        seeds=list(range(world.losses.shape[1])), base="0", budget=Budget(race="best", rungs=world.parts[2:-1].tolist())
    )
    parts = world.parts.tolist()
    curves = {
        str(arm): {s: dict(zip(parts, row.tolist(), strict=True)) for s, row in enumerate(rows)}
        for arm, rows in enumerate(world.losses)
    }
    evidence = {arm: {seed: curve[parts[-1]] for seed, curve in runs.items()} for arm, runs in curves.items()}
    return _outcome(world.truth, decide(evidence, study, curves), len(study.seeds))


def plain(rule: Callable, race: Race) -> tuple[float, float, float]:
    """The same race by a rule that names the arms to drop; the base, arm 0, is trained to its end here too."""
    stopped: dict[str, Decision] = {}
    for now in range(2, len(race.parts) - 1):
        live = [arm for arm in range(len(race.losses)) if str(arm) not in stopped]
        for arm in rule(race.parts[: now + 1], race.losses[live, : now + 1], len(race.parts) - 1 - now):
            if live[arm]:
                stopped[str(live[arm])] = Decision(str(live[arm]), reason="behind", rung=float(race.parts[now]))
    others = {str(arm): Decision(str(arm)) for arm in range(1, len(race.losses)) if str(arm) not in stopped}
    return _outcome(race.losses[:, -1], stopped | others, 1)


def halving(parts: np.ndarray, losses: np.ndarray, left: int) -> list[int]:
    """The worse half, at the first evaluation after 1/8, 1/4 and 1/2 of a run."""
    due = any(parts[-2] < share <= parts[-1] for share in (1 / 8, 1 / 4, 1 / 2))
    return losses[:, -1].argsort()[-(-len(losses) // 2) :].tolist() if due else []


def gap(parts: np.ndarray, losses: np.ndarray, left: int) -> list[int]:
    """All that lie too far behind the first."""
    recent = losses[:, min(int(np.searchsorted(parts, parts[-1] / 2)), len(parts) - 2) :]
    increments = np.diff(recent - recent.mean(0), axis=1)
    allowed = 3 * np.sqrt(2) * increments.std() * np.sqrt(left)
    return np.flatnonzero(losses[:, -1] - losses[:, -1].min() > allowed).tolist()


def _outcome(final: np.ndarray, decisions: dict[str, Decision], seeds: int) -> tuple[float, float, float]:
    """An arm stopped for what its verdict is, not for what it may be, is still the study's answer."""
    left = [0, *(int(arm) for arm, one in decisions.items() if one.reason in ("", "better", "spent"))]
    cost = seeds + sum(one.rung if one.reason == "behind" else one.look or seeds for one in decisions.values())
    lowest = final[left].min() - final.min()
    return float(lowest == 0), float(lowest <= NEAR), cost / (seeds * len(final))
