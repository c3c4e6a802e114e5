"""Which arms of a study still deserve their next run: decided by what is on disk, and by nothing else.

    seeds      0        1        2        3    4        ...
    base    ───────────────────┬────────┬────────────┬──
    arm a   ───────────────────┴ better │            │      verdict decided: its next seeds are not run
    arm b   ────────────────────────────┴ futile     │      cannot become better any more
    arm c   ──┤ behind                               │      in the first block, by a search: no verdict
    arm d   unstarted                                │      the search has no use for it: no verdict
                               look 2   look 3       look 5

`decide` replays the race from its beginning, block by block in the order of `study.seeds`. It stops at the first look
that lacks a run of an arm still in the race. So the same runs give the same decisions, in whatever order they
came and however often the launcher was started. Runs that an arm made after it was stopped change nothing.

A look needs the base and every active arm on its first n seeds. It asks three questions of each arm, in this order:

    decided     Does the interval that holds over all looks and arms exclude 0, or lie within the margin?
                (`verdict.statistics.looks`; only these stops are verdicts.)
    futile      Is the predictive probability of `better` at the last look below `budget.futility`? Dropping an arm
                lowers the degrees of freedom at the last look, so the question is repeated until no arm drops.
    beaten      Is the arm among the unlikeliest to be the best, who together have at most the probability
                (1 - keep) x looks so far / looks? The probability of arms dropped before counts. Not asked with
                race=verdicts.

With race=search (`laws.search`) most arms leave in the first block, some before they start. The others are judged like
arms of race=best. Their bounds are those of the whole family, unstarted arms too, so that they hold for whichever arms
the first block has picked, though its runs are among those judged.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Literal

import numpy as np

from ablate.run.settings import Study
from ablate.verdict.statistics.looks import Design, Noise, best, chance_of_better, droppable, pool, pooled, spread
from ablate.verdict.statistics.moderated import from_past, past, scatter
from ablate.verdict.statistics.paired import Interval, Word

Finals = Mapping[str, Mapping[int, float]]  # arm -> seed -> final value, lower is better; inf: diverged, nan: failed
Reason = Literal[
    "", "better", "worse", "equivalent", "futile", "beaten", "behind", "unstarted", "diverged", "failed", "spent"
]


@dataclass(frozen=True)
class Decision:
    """Whether an arm gets its next run, and the numbers that decided; differences below 0 are better."""

    arm: str
    reason: Reason = ""  # empty while it is active
    blocks: int = 0  # of an active arm: it, and the base, may start their runs on so many of the first seeds
    look: int = 0  # paired seed blocks at its last judgement
    rung: float = 0.0  # part of the first run after which a search stopped it
    word: Word = "inconclusive"  # the first verdict that a look gave; never from part of a run
    mean: float = math.nan
    interval: Interval = (-math.inf, math.inf)  # holds at all looks and for all arms together
    t: float = math.nan
    bound: float = math.nan
    chance_better: float = math.nan  # of becoming better by the last look
    chance_best: float = math.nan  # of those still in the race; in a search: of ending below the best so far

    @property
    def active(self) -> bool:
        return not self.reason


@dataclass
class _Race:
    """A race while it is replayed."""

    study: Study
    finals: Finals
    decisions: dict[str, Decision]
    base_in: bool = True  # the base may be the best
    spent: float = 0.0  # probability of having been the best, of those dropped
    pairs: dict[str, list[float]] = field(default_factory=dict)  # differences up to the last look of each arm

    @property
    def active(self) -> list[str]:
        return [arm for arm, decision in self.decisions.items() if decision.active]

    @property
    def contenders(self) -> list[str]:
        return [self.study.base, *self.active] if self.base_in else self.active

    def stop(self, arm: str, reason: Reason) -> None:
        self.decisions[arm] = replace(self.decisions[arm], reason=reason)


def decide(finals: Finals, study: Study, out: Mapping[str, Decision] | None = None) -> dict[str, Decision]:
    """A decision for every arm but the base.

    finals: for the base and every arm of the family (null arms left out, arms without a run as {}) the
        final values of its completed runs by seed; inf where a run diverged, nan where it failed for good.
    out: arms that a search has left behind, with their decisions.

    Start the runs that the active arms and the base may make (`blocks`), call again whenever one has ended, and end
    when no active arm may make another. Going on beyond a look, before all have come there, changes no decision and
    saves less.

    A base run that diverged gives no pair, and the next seed takes its place; while one is missing or failed,
    no later look is held. A failed or diverged run stops its arm at once: it cannot become better.
    """
    arms = [arm for arm in finals if arm != study.base]
    # in one order whatever the caller's, so that sums and ties come out the same to the last bit
    race = _Race(study, finals, {arm: (out or {}).get(arm, Decision(arm)) for arm in sorted(arms)})
    blocks = _replay(race) if study.budget.race != "none" else len(study.seeds)
    for arm in race.active:
        race.decisions[arm] = replace(race.decisions[arm], blocks=blocks)
    return {arm: race.decisions[arm] for arm in arms}


def _replay(race: _Race) -> int:
    """Look by look as far as the evidence goes; returns the blocks that the next one needs."""
    held, base, seeds = 0, race.finals[race.study.base], race.study.seeds
    for pairs in _looks(race):
        if not _complete(race, pairs):
            break
        held = len(pairs)
        _look(race, pairs)
    _stop_all_unfit(race)
    lost = sum(math.isinf(base.get(seed, 0.0)) for seed in seeds)
    return min(next((look for look in looks_of(race.study) if look > held), len(seeds)) + lost, len(seeds))


def looks_of(study: Study) -> tuple[int, ...]:
    """Numbers of seed blocks after which the study looks; the last is of all its seeds."""
    planned = len(study.seeds)
    return (*(look for look in study.budget.looks if look < planned), planned)


def _looks(race: _Race) -> list[list[int]]:
    """The seeds that each look sees, as far as the base has them; one pair tells nothing of its noise."""
    usable = _usable(race)
    found = [usable[:look] for look in looks_of(race.study) if look <= len(usable)]
    if _all_in(race) and usable not in found:  # the base lost a seed: the last look has fewer
        found.append(usable)
    return [seeds for seeds in found if len(seeds) > 1]


def _usable(race: _Race) -> list[int]:
    """Seeds that the base has finished, up to the first that is missing or failed; a diverged one gives no pair."""
    base, seeds = race.finals[race.study.base], race.study.seeds
    known = list(takewhile(lambda seed: not math.isnan(base.get(seed, math.nan)), seeds))
    return [seed for seed in known if math.isfinite(base[seed])]


def _all_in(race: _Race) -> bool:
    return not any(math.isnan(race.finals[race.study.base].get(seed, math.nan)) for seed in race.study.seeds)


def _complete(race: _Race, seeds: list[int]) -> bool:
    """Whether every active arm has all it will ever have of these seeds; unfit ones leave the race."""
    for arm in race.active:
        runs = race.finals[arm]
        if not all(math.isfinite(runs.get(seed, math.nan)) for seed in seeds):
            _stop_unfit(race, arm)
            if race.decisions[arm].active:
                return False
    return True


def _stop_all_unfit(race: _Race) -> None:
    for arm in race.active:
        _stop_unfit(race, arm)


def _stop_unfit(race: _Race, arm: str) -> None:
    """A run that diverged or failed is an outcome of its arm, and leaves it no way to be better."""
    runs = race.finals[arm]
    unfit = [runs[seed] for seed in race.study.seeds if seed in runs and not math.isfinite(runs[seed])]
    if unfit:
        race.stop(arm, "failed" if math.isnan(unfit[0]) else "diverged")


def _look(race: _Race, seeds: list[int]) -> None:
    """Judge every active arm on its pairs so far."""
    study, budget, base = race.study, race.study.budget, race.finals[race.study.base]
    looks = looks_of(study)
    race.pairs |= {arm: [race.finals[arm][seed] - base[seed] for seed in seeds] for arm in race.active}
    noise = _noise(race, len(seeds))
    design = Design(looks, len(race.decisions), 1 - study.confidence, budget.noise_df)
    for arm in race.active:
        race.decisions[arm] = _judge(race.decisions[arm], race.pairs[arm], noise, design, study)
    last = _all_in(race) and seeds == _usable(race)
    if not last:
        _give_up(race, noise, design)
    if budget.race != "verdicts":
        passed = 1.0 if last else sum(look <= len(seeds) for look in looks) / len(looks)
        _leave_the_rest(race, noise, passed * (1 - budget.keep))
    for arm in race.active if last else []:
        word = race.decisions[arm].word
        race.stop(arm, "spent" if word == "inconclusive" else word)


def _noise(race: _Race, seeds: int) -> Noise:
    """Pooled over arms and over as much of the past as they may use, but no better known of one arm than arms scatter.

    With one arm in five of three times the noise, in earlier studies too, 40 arms of three seeds made false claims
    in 10 % of studies without this.
    """
    prior, pairs = Noise(race.study.budget.noise**2, race.study.budget.noise_df), list(race.pairs.values())
    usable, own = past(prior, pairs), seeds - 1
    found = pooled(pairs, usable)
    limit = min(scatter(pairs), prior.df if usable.df else math.inf) + own
    return Noise(found.variance, min(found.df, limit))


def _judge(before: Decision, d: list[float], noise: Noise, design: Design, study: Study) -> Decision:
    blocks, mean, sd = len(d), float(np.mean(d)), spread(d, noise)
    bound, error = design.bound(blocks, noise.df), sd / math.sqrt(blocks) or math.inf  # equal pairs tell of no noise
    interval = (mean - bound * error, mean + bound * error)
    word = _word(interval, study.margin) if before.word == "inconclusive" else before.word
    # in a race for the best, an arm that is better goes on
    goes_on = word == "inconclusive" or (word == "better" and study.budget.race != "verdicts")
    return replace(
        before,
        reason="" if goes_on else word,
        look=blocks,
        word=word,
        mean=mean,
        interval=interval,
        t=mean / error,
        bound=bound,
    )


def _word(interval: Interval, margin: float) -> Word:
    low, high = interval
    if -margin < low and high < margin:
        return "equivalent"
    return "better" if high < 0 else "worse" if low > 0 else "inconclusive"


def _give_up(race: _Race, noise: Noise, design: Design) -> None:
    """Stop those that will hardly be better, unless the best is sought: then all that may be it go on."""
    least = race.study.budget.futility if race.study.budget.race == "verdicts" else 0.0
    while arms := race.active:
        # what the last look will know of the noise: the active arms go on until then, the others tell no more
        own = [design.looks[-1] if race.decisions[arm].active else len(d) for arm, d in race.pairs.items()]
        promised = Noise(df=from_past(design.prior_df, len(own)))
        last_df = pool(0.0, sum(own) - len(own), len(own), promised)[1]
        df, look = max(noise.df, last_df), race.decisions[arms[0]].look
        means = np.array([race.decisions[arm].mean for arm in arms])
        sds = np.array([_sd(race, arm, noise) for arm in arms])
        chances = chance_of_better(means, sds, np.asarray(df), look, design).tolist()
        for arm, chance in zip(arms, chances, strict=True):
            race.decisions[arm] = replace(race.decisions[arm], chance_better=chance)
            if chance < least:
                race.stop(arm, "futile")
        if race.active == arms:
            return


def _leave_the_rest(race: _Race, noise: Noise, allowance: float) -> None:
    """Stop those that are hardly the best; and the last one left, once it is better than the base."""
    names = race.contenders
    means = [0.0 if name == race.study.base else race.decisions[name].mean for name in names]
    sds = [math.sqrt(noise.variance) if name == race.study.base else _sd(race, name, noise) for name in names]
    blocks = max((race.decisions[name].look for name in race.active), default=0)
    if blocks == 0:
        return
    chances = best(means, np.array(sds) / math.sqrt(2 * blocks), noise.df)  # a difference has the noise of two runs
    for name, chance in zip(names, chances, strict=True):
        if name != race.study.base:
            race.decisions[name] = replace(race.decisions[name], chance_best=float(chance))
    dropped, spent = droppable(chances, allowance - race.spent)
    race.spent += spent
    for name in (names[i] for i in dropped):
        if name == race.study.base:
            race.base_in = False
        else:
            race.stop(name, "beaten")
    if len(race.active) == 1 and not race.base_in and race.decisions[race.active[0]].word == "better":
        race.stop(race.active[0], "better")


def _sd(race: _Race, arm: str, noise: Noise) -> float:
    return spread(race.pairs[arm], noise)
