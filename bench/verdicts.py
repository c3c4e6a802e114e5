"""How often verdicts are wrong, and what they see: planted studies, and ones drawn from published replicate runs.

A study has arms that share a base; noise is in units of the standard deviation of a paired difference, half of its
variance the base's. Each is judged as the report does it: what earlier studies of the same world may lend, and what
its own arms say of one another (`moderated`), then `paired.judge`. A study without any effect in which some arm is said
to differ is false.

    equal            every arm has the same noise; `alone`: there are no earlier studies
    unequal          one arm in five has three times the noise, in earlier studies too
    never seen       likewise, but earlier studies had nothing of the kind: what cannot be foreseen at three seeds
    heavy tails      Student's t with 3 degrees of freedom, scaled
    speedruns        final losses of modded-nanogpt: base, arms and seeds are drawn from the replicate runs of one
                     recipe, earlier studies from other recipes: real noise, and recipes that differ in it

The naive rules are what is done without such a tool: the lower of two runs, a t test over the last checkpoints of one
run each (seed noise twice theirs), a t test of each arm that forgets how many there are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy.special import stdtr

from ablate.run.study import Budget, Study
from ablate.verdict.race import decide
from ablate.verdict.statistics.looks import SHARED, Noise
from ablate.verdict.statistics.moderated import Block, estimate, lent
from ablate.verdict.statistics.paired import Judgement, judge
from ablate.verdict.statistics.shrink import Shrunken, shrink
from bench.curves import TABLES
from bench.races import Mean, Rate
from bench.rounds import Row

ALPHA, BOUND = 0.05, 0.065  # of false claims, and of the upper end of their interval
STUDIES, QUICK = 1000, 20
MARGIN = 1.0  # in sd of a difference
ODD, TIMES = 0.2, 3.0  # share of arms with so many times the noise
EARLIER = 3, 10  # studies before, and arms in each
LABS = 10  # of which each races its share of the studies: bounds are simulated for what a lab knows

Draw = Callable[[np.random.Generator, int, int], np.ndarray]  # arms, seeds -> differences without effect


class Share(Rate):
    unit: ClassVar = "studies"


class Average(Mean):
    unit: ClassVar = "studies"


class FalseClaims(Share):
    """A rate of false claims: met when it and the upper end of its interval are."""

    @property
    def met(self) -> bool | None:
        if self.limit is None:
            return None
        share, _, high = self.spread
        return share <= self.limit and high <= BOUND

    @property
    def target(self) -> str:
        return "" if self.limit is None else f"{self.limit:g} ({BOUND:g})"

    def plain(self) -> dict:
        return super().plain() | ({"met": self.met} if self.limit is not None else {})


@dataclass(frozen=True)
class World:
    """What is drawn: this study's noise, and that of the studies before."""

    now: Draw
    before: Draw
    earlier: tuple[int, int] = EARLIER

    def past(self, rng: np.random.Generator, seeds: int) -> list[Block]:
        studies, arms = self.earlier
        return [self.before(rng, arms, seeds).tolist() for _ in range(studies)]


def verdicts(quick: bool) -> list[Row]:
    """shares of studies or arms; from, to: Clopper-Pearson 95 % of a rate"""
    studies = QUICK if quick else STUDIES
    rows = [row for name, world, arms, target in _nulls() for row in _false(name, world, arms, studies, target)]
    rows += [row for one in _races() for row in _raced(*one, studies)]
    return rows + _naive(studies) + _power(studies) + _margins(studies) + _calibration(studies)


def normal(odd: float = 0.0, times: float = TIMES) -> Draw:
    """Normal noise; a share of the arms has `times` as much."""

    def draw(rng: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
        sd = np.where(rng.random(arms) < odd, times, 1.0)[:, None]
        own = np.sqrt(sd**2 - SHARED) * rng.standard_normal((arms, seeds))
        return own - np.sqrt(SHARED) * rng.standard_normal(seeds)

    return draw


def heavy(rng: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
    """Runs with Student's t noise of 3 degrees of freedom and variance 1/2."""
    runs = rng.standard_t(3, (arms + 1, seeds)) * np.sqrt(SHARED / 3)
    return runs[1:] - runs[0]


def speedruns() -> Draw:
    """Runs of one recipe, each at most once."""
    found = pd.read_csv(TABLES / "KellerJordan+modded-nanogpt" / "final_val_losses.csv")
    groups = found.groupby(["record", "final_step"]).final_val_loss
    recipes = [losses.to_numpy() for _, losses in groups if losses.nunique() > 5]

    def draw(rng: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
        large = [losses for losses in recipes if len(losses) >= (arms + 1) * seeds]
        runs = rng.permutation(large[rng.integers(len(large))])[: (arms + 1) * seeds].reshape(arms + 1, seeds)
        return runs[1:] - runs[0]

    return draw


def _nulls() -> list[tuple[str, World, int, float | None]]:
    equal, unequal, none = normal(), normal(ODD), (0, 0)
    found: list[tuple[str, World, int, float | None]] = [
        ("equal", World(equal, equal), 1, ALPHA),
        ("equal", World(equal, equal), 8, ALPHA),
        ("equal, alone", World(equal, equal, none), 8, ALPHA),
        ("equal, alone", World(equal, equal, none), 200, ALPHA),
        ("unequal", World(unequal, unequal), 1, ALPHA),
        ("unequal", World(unequal, unequal), 8, ALPHA),
        ("unequal", World(unequal, unequal), 40, ALPHA),
        ("unequal, alone", World(unequal, unequal, none), 200, ALPHA),
        ("never seen", World(unequal, equal), 8, None),
        ("never seen, 200 before", World(unequal, equal, (10, 20)), 20, None),
        ("heavy tails", World(heavy, heavy), 8, None),
    ]
    if TABLES.exists():
        real = speedruns()
        found += [("speedruns", World(real, real, (8, 2)), 2, ALPHA)]
    return found


def study(world: World, rng: np.random.Generator, arms: int, seeds: int, effects: np.ndarray | float = 0.0):
    """Judgements of one study by the moderated and by the plain t, in the order of its arms."""
    d = world.now(rng, arms, seeds) + np.broadcast_to(effects, arms)[:, None]
    prior = lent(estimate(world.past(rng, seeds)), d.tolist())
    differences = {str(arm): row for arm, row in enumerate(d.tolist())}
    known, plain = (
        judge(differences, MARGIN, 1 - ALPHA, dict.fromkeys(differences, prior)),
        judge(differences, MARGIN, 1 - ALPHA),
    )
    return list(known.values()), list(plain.values())


def _differs(one: Judgement) -> bool:
    return one.p_adjusted <= ALPHA


def _false(name: str, world: World, arms: int, studies: int, target: float | None, seeds: int = 3) -> list[Row]:
    rng, found = np.random.default_rng(0), []
    for _ in range(studies):
        known, plain = study(world, rng, arms, seeds)
        forgot = any(one.p <= ALPHA for one in plain)
        found.append([float(any(map(_differs, known))), float(any(map(_differs, plain))), float(forgot)])
    false, plain, forgot = (list(column) for column in zip(*found, strict=True))
    case = f"{name}, {arms} arms"
    rows: list[Row] = [FalseClaims(case, "false", false, target, "at most"), Share(case, "false, plain t", plain)]
    return rows + ([Share(case, "false, each alone", forgot)] if arms > 1 else [])


def _races() -> list[tuple[str, World, int, int]]:
    """(name, world, arms, seeds planned)"""
    equal, unequal = normal(), normal(ODD)
    return [
        ("equal, alone", World(equal, equal, (0, 0)), 5, 8),
        ("equal", World(equal, equal), 5, 8),
        ("equal, alone", World(equal, equal, (0, 0)), 40, 3),
        ("unequal, alone", World(unequal, unequal, (0, 0)), 40, 8),
        ("unequal", World(unequal, unequal), 5, 8),
        ("unequal", World(unequal, unequal), 40, 8),
        ("unequal, alone", World(unequal, unequal, (0, 0)), 40, 3),
        ("unequal", World(unequal, unequal), 40, 3),
    ]


def _raced(name: str, world: World, arms: int, planned: int, studies: int) -> list[Row]:
    """Looks after 2, 3, 5 and 8 seeds, stopping when decided or futile."""
    rng, false, seeds = np.random.default_rng(0), [], []
    for _ in range(LABS):
        prior = estimate(world.past(rng, 3))
        for _ in range(studies // LABS):
            words, blocks = race(world.now(rng, arms, planned), prior)
            false.append(float(any(word in ("better", "worse") for word in words)))
            seeds.append(blocks)
    case = f"looks, {name}, {arms} arms, {planned} seeds"
    return [FalseClaims(case, "false", false, ALPHA, "at most"), Average(case, "seeds of an arm", seeds)]


def race(d: np.ndarray, prior: Noise) -> tuple[list[str], float]:
    """Words of a raced study, and the mean number of seeds of an arm."""
    budget = Budget(race="verdicts", noise=float(np.sqrt(prior.variance)) if prior.df else 0.0, noise_df=prior.df)
    declared = Study(seeds=list(range(d.shape[1])), margin=MARGIN / 10, budget=budget)
    finals = {str(arm): dict(enumerate(row.tolist())) for arm, row in enumerate(d)}
    decisions = decide({declared.base: dict.fromkeys(declared.seeds, 0.0)} | finals, declared).values()
    return [one.word for one in decisions], float(np.mean([one.look for one in decisions]))


def _naive(studies: int) -> list[Row]:
    """The rules that need no tool, on changes that change nothing."""
    rng = np.random.default_rng(0)
    kept = (rng.standard_normal((studies, 100, 2)) @ [1, -1] < 0).mean(1)
    ends = rng.standard_normal((studies, 2, 1)) * 2 + rng.standard_normal((studies, 2, 20))
    gap = ends[:, 0].mean(1) - ends[:, 1].mean(1)
    t = gap / np.sqrt((ends[:, 0].var(1, ddof=1) + ends[:, 1].var(1, ddof=1)) / 20)
    false = (2 * stdtr(38, -np.abs(t)) <= ALPHA).astype(float)
    return [
        Average("naive", "kept, lower of two runs", kept.tolist()),
        Share("naive", "false, 20 checkpoints as n", false.tolist()),
    ]


def _power(studies: int) -> list[Row]:
    """What is found, and how long the interval is, beside the plain paired t."""
    rows: list[Row] = []
    for arms, earlier in ((1, EARLIER), (1, (10, 20)), (20, EARLIER)):
        for effect in (1.0, 2.0, 4.0):
            rng, found = np.random.default_rng(0), []
            for _ in range(studies // 2):
                known, plain = study(World(normal(), normal(), earlier), rng, arms, 3, effect)
                width = (np.diff(one.interval)[0] for one in (known[0], plain[0]))
                found.append([float(_differs(known[0])), float(_differs(plain[0])), *width])
            known, plain, ours, theirs = (list(column) for column in zip(*found, strict=True))
            case = f"{arms} arms, {earlier[0] * earlier[1]} before, {effect:g} sd"
            rows += [Share(case, "power", known), Share(case, "power, plain t", plain)]
        rows.append(Row(case, "length / plain, means", [float(np.mean(ours) / np.mean(theirs))]))
    return rows


def _margins(studies: int) -> list[Row]:
    """Effects of just the margin, which are not equivalent; and none, which is."""
    rows: list[Row] = []
    for effect, what, target in ((MARGIN, "false equivalence", ALPHA), (0.0, "equivalence found", None)):
        rng, found = np.random.default_rng(0), []
        for _ in range(studies):
            known, _ = study(World(normal(), normal(), (10, 20)), rng, 8, 8, effect)
            found.append(float(any(one.word == "equivalent" for one in known)))
        rows.append(FalseClaims("margin 1 sd, 8 arms, 8 seeds", what, found, target, "at most"))
    return rows


def _calibration(studies: int) -> list[Row]:
    """Families of 8 arms: half without effect worth the name, half with large and small ones of both signs."""
    rng, arms = np.random.default_rng(0), 8
    truths, ours, judged = [], [], []
    for _ in range(max(1, studies // 2)):
        truth = np.where(rng.random(arms) < 0.5, 0.1, 2.0) * rng.standard_normal(arms)
        known, _ = study(World(normal(), normal()), rng, arms, 3, truth)
        means, errors, dfs = zip(*((one.mean, one.error, one.df) for one in known), strict=True)
        truths += truth.tolist()
        ours += shrink(means, errors, dfs, MARGIN, 1 - ALPHA)
        judged += known
    return _graded(np.array(truths), ours, judged)


def _graded(truth: np.ndarray, ours: list[Shrunken], judged: list[Judgement]) -> list[Row]:
    case, better = "8 arms, half null", np.array([one.below for one in ours])
    shrunken, raw = np.array([one.mean for one in ours]), np.array([one.mean for one in judged])
    claims = np.array([one.word in ("better", "worse") for one in judged])
    wrong = np.sign(raw) != np.sign(truth)
    covered = [float(one.interval[0] <= true <= one.interval[1]) for one, true in zip(ours, truth, strict=True)]
    size = np.abs(truth[claims]).mean()
    return [
        Row(case, "calibration error", [calibration_error(better, truth < 0)], 0.05, "at most"),
        Share(case, "claims of wrong sign", wrong[claims].astype(float).tolist(), 0.01, "at most"),
        Row(case, "claimed / true, raw", [float(np.abs(raw[claims]).mean() / size)]),
        Row(case, "claimed / true, shrunken", [float(np.abs(shrunken[claims]).mean() / size)], 1.2, "at most"),
        Share(case, "shrunken covered (95 %)", covered),
    ]


def calibration_error(stated: np.ndarray, came: np.ndarray, bins: int = 10) -> float:
    """Mean distance of the probability stated from the share that came true, over equal bins of it."""
    bin_of = np.minimum((stated * bins).astype(int), bins - 1)
    gaps = [abs(stated[bin_of == b].mean() - came[bin_of == b].mean()) * (bin_of == b).mean() for b in set(bin_of)]
    return float(sum(gaps))
