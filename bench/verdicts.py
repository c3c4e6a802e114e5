"""How often verdicts are wrong, and what they see: planted studies, and ones drawn from published replicate runs.

A study has arms that share a base; noise is in units of the standard deviation of a paired difference, half of its
variance the base's. Each is judged as the report does it: what earlier studies of the same world may lend, and what
its own arms say of one another (`moderated`), then `paired.judge`. A study without any effect in which some arm is said
to differ is false.

    equal              every arm has the same noise
    one arm of 3 x     the first arm has three times the noise of a pair; `all arms`: each of them has;
                       `one arm in five`: each with this probability. No earlier study had the like, unless `known`
    base of 5 x        the base's runs have five times the noise of every arm's
    heavy tails        runs with Student's t noise of 3 degrees of freedom
    skewed             runs with exponential noise
    study of 3 x       base and arms alike have three times the noise of earlier studies
    log-normal         standard deviations of arms scatter by a factor e^0.8, in earlier studies too
    speedruns          final losses of modded-nanogpt: base, arms and seeds are drawn from the replicate runs of one
                       recipe, earlier studies from other recipes: real noise, and recipes that differ in it

The naive rules are what is done without such a tool: the lower of two runs, a t test over the last checkpoints of one
run each (seed noise twice theirs), a t test of each arm that forgets how many there are.
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from scipy.special import stdtr

from ablate.run.study import Budget, Study
from ablate.verdict.race import decide
from ablate.verdict.statistics.looks import Noise
from ablate.verdict.statistics.moderated import Block, estimate, lent
from ablate.verdict.statistics.paired import UNKNOWN, Judgement, holm, judge, p_different
from ablate.verdict.statistics.shrink import Shrunken, shrink
from bench.curves import TABLES
from bench.noise import (
    MANY,
    NONE,
    ODD,
    SOME,
    TIMES,
    World,
    first,
    hanging,
    heavy,
    louder,
    normal,
    scattered,
    skewed,
    speedruns,
)
from bench.races import Mean, Rate
from bench.rounds import Row

ALPHA, MOST, BOUND = 0.05, 0.065, 0.075  # level; most false claims, and most at the upper end of their interval
STUDIES, LARGE, RACES, QUICK = 10_000, 2000, 1000, 20
FEW = 8  # arms; with more, and where effects are shrunken, a study takes long: LARGE of them
MARGIN = 1.0  # in sd of a difference
LABS, RACING = 100, 10  # of which each has its share of the studies; bounds of a race are simulated for a lab


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


def verdicts(quick: bool) -> list[Row]:
    """shares of studies or arms; from, to: Clopper-Pearson 95 % of a rate"""
    few, large = (QUICK, QUICK) if quick else (STUDIES, LARGE)
    rows = [row for name, world, arms in _nulls() for row in _false(name, world, arms, few if arms <= FEW else large)]
    rows += [row for one in _races() for row in _raced(*one, QUICK if quick else RACES)]
    rows += _naive(large) + _power(few) + _margins(large // 4)
    rows += _small(large // 4) + _sparse(large // 2) + _largest(large // 2)
    return rows + _calibration(large // 4)


def _nulls() -> list[tuple[str, World, int]]:
    equal, fifth, whole = normal(), normal(ODD), normal(1.0)
    worlds = [
        ("equal, first study", World(equal, equal, NONE), (1, 3, 8, 200)),
        ("equal, 30 before", World(equal, equal), (1, 3, 8)),
        ("one arm of 3 x, first study", World(first(), equal, NONE), (3, 20)),
        ("one arm of 3 x, 30 before", World(first(), equal), (1, 3, 4)),
        ("one arm of 3 x, 200 before", World(first(), equal, MANY), (1, 3)),
        ("one arm of 10 x, 30 before", World(first(10.0), equal), (1, 3)),
        ("one arm in five of 3 x, known, 30 before", World(fifth, fifth), (8, 40)),
        ("one arm in five of 3 x, 200 before", World(fifth, equal, MANY), (4, 20)),
        ("all arms of 2 x, 30 before", World(normal(1.0, 2.0), equal), (3,)),
        ("all arms of 3 x, 30 before", World(whole, equal), (2, 4)),
        ("all arms of 3 x, 200 before", World(whole, equal, MANY), (3, 20)),
        ("study of 3 x, 30 before", World(louder(TIMES), equal), (4,)),
        ("base of 5 x, first study", World(hanging(5.0), equal, NONE), (3, 8, 20)),
        ("base of 5 x, 30 before", World(hanging(5.0), equal), (3, 4, 8, 20)),
        ("heavy tails, 30 before", World(heavy, heavy), (3,)),
        ("skewed, 30 before", World(skewed(), skewed()), (3,)),
        ("skewed arm of 3 x, first study", World(skewed(TIMES), skewed(), NONE), (1,)),
        ("skewed arm of 3 x, 30 before", World(skewed(TIMES), skewed()), (1,)),
        ("log-normal, 30 before", World(scattered, scattered), (3, 8)),
    ]
    if TABLES.exists():
        worlds.append(("speedruns, 16 before", World(speedruns(), speedruns(), (8, 2)), (2,)))
    return [(name, world, arms) for name, world, several in worlds for arms in several]


def study(world: World, rng: np.random.Generator, arms: int, seeds: int, effects: np.ndarray | float = 0.0):
    """Judgements of one study by the moderated and by the plain t, in the order of its arms."""
    d, prior = drawn(world, rng, arms, seeds, estimate(world.past(rng, seeds)), effects)
    differences = {str(arm): row for arm, row in enumerate(d)}
    known, plain = (
        judge(differences, MARGIN, 1 - ALPHA, dict.fromkeys(differences, prior)),
        judge(differences, MARGIN, 1 - ALPHA),
    )
    return list(known.values()), list(plain.values())


def drawn(
    world: World, rng: np.random.Generator, arms: int, seeds: int, past: Noise, effects: np.ndarray | float = 0.0
) -> tuple[Block, Noise]:
    """Differences of one study, and what its arms may use of what is known of their noise."""
    d = (world.now(rng, arms, seeds) + np.broadcast_to(effects, arms)[:, None]).tolist()
    return d, lent(past, d)


def differ(d: Block, prior: Noise = UNKNOWN) -> np.ndarray:
    """Which arms `judge` says to differ; without the rest of what it says, which takes longer."""
    return holm(np.array([p_different(row, prior) for row in d])) <= ALPHA


def _false(name: str, world: World, arms: int, studies: int, seeds: int = 3) -> list[Row]:
    rng, found = np.random.default_rng(0), []
    labs = [estimate(world.past(rng, seeds)) for _ in range(LABS)]
    for number in range(studies):
        d, prior = drawn(world, rng, arms, seeds, labs[number % LABS])
        forgot = any(p_different(row) <= ALPHA for row in d)
        found.append([float(differ(d, prior).any()), float(differ(d).any()), float(forgot)])
    false, plain, forgot = (list(column) for column in zip(*found, strict=True))
    case = _case(name, arms)
    rows: list[Row] = [FalseClaims(case, "false", false, MOST, "at most"), Share(case, "false, plain t", plain)]
    return rows + ([Share(case, "false, each alone", forgot)] if arms > 1 else [])


def _case(name: str, arms: int) -> str:
    return f"{name}, {arms} arm{'s' * (arms > 1)}"


def _races() -> list[tuple[str, World, int, int]]:
    """(name, world, arms, seeds planned)"""
    equal, fifth, whole = normal(), normal(ODD), normal(1.0)
    return [
        ("equal, first study", World(equal, equal, NONE), 5, 8),
        ("equal, 30 before", World(equal, equal), 5, 8),
        ("one arm of 3 x, 30 before", World(first(), equal), 1, 8),
        ("all arms of 3 x, 30 before", World(whole, equal), 5, 8),
        ("all arms of 3 x, 200 before", World(whole, equal, MANY), 5, 8),
        ("one arm in five of 3 x, first study", World(fifth, fifth, NONE), 40, 3),
        ("one arm in five of 3 x, known, 30 before", World(fifth, fifth), 5, 8),
    ]


def _raced(name: str, world: World, arms: int, planned: int, studies: int) -> list[Row]:
    """Looks after 2, 3, 5 and 8 seeds, stopping when decided or futile."""
    rng, false, seeds = np.random.default_rng(0), [], []
    for _ in range(RACING):
        prior = estimate(world.past(rng, 3))
        for _ in range(studies // RACING):
            words, blocks = race(world.now(rng, arms, planned), prior)
            false.append(float(any(word in ("better", "worse") for word in words)))
            seeds.append(blocks)
    case = f"looks, {_case(name, arms)}, {planned} seeds"
    return [FalseClaims(case, "false", false, MOST, "at most"), Average(case, "seeds of an arm", seeds)]


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
    """How often an effect on one of the arms is found, beside the plain paired t."""
    rows: list[Row] = []
    cases = (
        (1, NONE, 2.0, None),
        (3, NONE, 2.0, 0.40),
        (8, NONE, 2.0, None),
        (1, SOME, 2.0, 0.60),
        (3, SOME, 2.0, 0.45),
        (20, NONE, 4.0, 0.70),
    )
    for arms, earlier, effect, target in cases:
        rng, found, effects = np.random.default_rng(0), [], effect * (np.arange(arms) < 1)
        world = World(normal(), normal(), earlier)
        labs = [estimate(world.past(rng, 3)) for _ in range(LABS)]
        for number in range(studies):
            d, prior = drawn(world, rng, arms, 3, labs[number % LABS], effects)
            found.append([float(differ(d, prior)[0]), float(differ(d)[0])])
        known, plain = (list(column) for column in zip(*found, strict=True))
        case = f"{_case('equal', arms)}, {earlier[0] * earlier[1]} before, {effect:g} sd"
        rows += [Share(case, "power", known, target), Share(case, "power, plain t", plain)]
    return rows


def _margins(studies: int) -> list[Row]:
    """Effects of just the margin, which are not equivalent; and none, which is."""
    rows: list[Row] = []
    for effect, what, target in ((MARGIN, "false equivalence", ALPHA), (0.0, "equivalence found", None)):
        rng, found = np.random.default_rng(0), []
        for _ in range(studies):
            known, _ = study(World(normal(), normal(), MANY), rng, 8, 8, effect)
            found.append(float(any(one.word == "equivalent" for one in known)))
        rows.append(FalseClaims("margin 1 sd, 8 arms, 8 seeds", what, found, target, "at most"))
    return rows


def shrunken(known: list[Judgement], margin: float) -> list[Shrunken]:
    means, errors, dfs = zip(*((one.mean, one.error, one.df) for one in known), strict=True)
    return shrink(means, errors, dfs, margin, 1 - ALPHA)


def _covered(ours: list[Shrunken], truth: np.ndarray) -> list[float]:
    return [float(one.interval[0] <= true <= one.interval[1]) for one, true in zip(ours, truth, strict=True)]


def _small(studies: int) -> list[Row]:
    """Effects of half the noise of a pair, in studies whose margin is three times the noise, and far below it."""
    rng, margins = np.random.default_rng(0), (3.0, 0.3, 0.01)
    found: dict[float, list[float]] = {margin: [] for margin in margins}
    for _ in range(studies):
        truth = 0.5 * rng.standard_normal(8)
        known, _ = study(World(normal(), normal(), NONE), rng, 8, 3, truth)
        for margin in margins:
            found[margin] += _covered(shrunken(known, margin), truth)
    what = "shrunken covered (95 %)"
    return [Share(f"8 arms, small effects, margin {m:g} sd", what, one, 0.93) for m, one in found.items()]


def _sparse(studies: int) -> list[Row]:
    """Families of 10 arms of which one in ten has an effect; the sign of what has none is wrong."""
    rng, arms, stated, came = np.random.default_rng(0), 10, [], []
    for _ in range(studies):
        truth = np.where(rng.random(arms) < 0.1, 4.0, 0.0) * rng.choice([-1, 1], arms)
        known, _ = study(World(normal(), normal(), NONE), rng, arms, 3, truth)
        stated += [one.wrong_sign for one in shrunken(known, MARGIN)]
        came += (np.sign([one.mean for one in known]) != np.sign(truth)).tolist()
    stated, came = np.array(stated), np.array(came, float)
    rows: list[Row] = []
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 1.01)):
        some, case = (low <= stated) & (stated < high), f"10 arms, 9 of 10 null, stated {low:g} to {min(high, 1):g}"
        rows.append(Average(case, "wrong sign, stated", stated[some].tolist()))
        rows.append(Share(case, "wrong sign, came true", came[some].tolist()))
    return rows


def _largest(studies: int) -> list[Row]:
    """The effect behind the largest estimate of 20 arms: of none, of small and of few large effects, and of one."""
    arms, rows = 20, []
    kinds: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
        "none": lambda rng: np.zeros(arms),
        "of 0.1 sd": lambda rng: 0.1 * rng.standard_normal(arms),
        "one in five of 2 sd": lambda rng: np.where(rng.random(arms) < 0.2, 2.0, 0.0) * rng.standard_normal(arms),
        "one in five of 4 sd": lambda rng: np.where(rng.random(arms) < 0.2, 4.0, 0.0) * rng.standard_normal(arms),
        "one of 6 sd": lambda rng: np.where(np.arange(arms) < 1, 6.0, 0.1 * rng.standard_normal(arms)),
    }
    for kind, draw in kinds.items():
        rng, found = np.random.default_rng(0), []
        for _ in range(studies):
            truth = draw(rng)
            known, _ = study(World(normal(), normal(), NONE), rng, arms, 3, truth)
            largest = int(np.argmax([abs(one.mean) for one in known]))
            found.append(_covered(shrunken(known, MARGIN), truth)[largest])
        rows.append(Share(f"20 arms, effects: {kind}", "shrunken covered, largest", found, 0.93))
    return rows


def _calibration(studies: int) -> list[Row]:
    """Families of 8 arms: half without effect worth the name, half with large and small ones of both signs."""
    rng, arms = np.random.default_rng(0), 8
    truths, ours, judged = [], [], []
    for _ in range(studies):
        truth = np.where(rng.random(arms) < 0.5, 0.1, 2.0) * rng.standard_normal(arms)
        known, _ = study(World(normal(), normal()), rng, arms, 3, truth)
        truths += truth.tolist()
        ours += shrunken(known, MARGIN)
        judged += known
    return _graded(np.array(truths), ours, judged)


def _graded(truth: np.ndarray, ours: list[Shrunken], judged: list[Judgement]) -> list[Row]:
    case = "8 arms, half null"
    less, raw = np.array([one.mean for one in ours]), np.array([one.mean for one in judged])
    claims = np.array([one.word in ("better", "worse") for one in judged])
    wrong = np.sign(raw) != np.sign(truth)
    size = np.abs(truth[claims]).mean()
    return [
        Share(case, "claims of wrong sign", wrong[claims].astype(float).tolist(), 0.01, "at most"),
        Row(case, "claimed / true, raw", [float(np.abs(raw[claims]).mean() / size)]),
        Row(case, "claimed / true, shrunken", [float(np.abs(less[claims]).mean() / size)], 1.2, "at most"),
        Share(case, "shrunken covered (95 %)", _covered(ours, truth)),
    ]


def calibration_error(stated: np.ndarray, came: np.ndarray, bins: int = 10) -> float:
    """Mean distance of the probability stated from the share that came true, over equal bins of it."""
    bin_of = np.minimum((stated * bins).astype(int), bins - 1)
    gaps = [abs(stated[bin_of == b].mean() - came[bin_of == b].mean()) * (bin_of == b).mean() for b in set(bin_of)]
    return float(sum(gaps))
