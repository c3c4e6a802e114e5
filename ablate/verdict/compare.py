"""The verdict of a study: every arm against the base, on the one metric that was declared.

Each arm is paired with the base by seed, over the seeds that finished in both (`paired` has the
statistics), with what earlier studies and the study's other arms tell of its noise (`registry`).
What keeps the words honest:

- the family is every arm declared, except null arms, which are the base: an arm that crashed still
  counts, so that a verdict never gets stronger because something failed
- a diverged seed is missing for a reason that depends on the arm; its survivors can show the arm
  to be `worse`, never `better` or `equivalent`
- a difference that is real but inside the margin is `equivalent`: the margin says what matters
- an arm that raced (`verdict.race`) has the word and the interval of the race, which hold over all its looks
- a seed in which the arm ended with the weights of the base is no pair: there the arm was the base itself, and has
  tested nothing. Differences that are all equal have the noise of the smallest step between two values of the study
- while runs are missing a verdict is provisional
- looks share the level of the study (`history`): one with fewer or more seeds than were declared gets little of it,
  an arm that is dropped after a look stays in the family, and a confidence that is lowered after a look stays as it was

    evidence = read(study_record("outputs", "mix_sweep"))
    print(sentence(verdicts(evidence)))
    `share_15` is better than `base` by 0.0211 bits per byte [0.0142, 0.0280]; smallest detectable 0.0094.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, get_args

import numpy as np

from ablate.run.ledger import Row
from ablate.scores.metrics import Metric
from ablate.verdict import history, items, registry, skips
from ablate.verdict.evidence import Evidence
from ablate.verdict.registry import Known, Past
from ablate.verdict.statistics.looks import Noise
from ablate.verdict.statistics.paired import Interval, Judgement, Word, detectable, interval, judge

BEYOND = "by more than the margin"
SINGLE = 2.0**-23  # relative precision of the numbers that nats are summed from
NOTHING = Known(Noise(), frozenset(), 0, ())


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One arm against the base, in the metric's unit throughout."""

    arm: str
    base: str
    factor: str  # how the arm differs from the base
    metric: Metric
    base_value: float  # mean over the paired seeds, like arm_value; nan without any
    arm_value: float
    differences: dict[int, float]  # arm minus base by seed
    effect: Judgement
    known: Known  # what is known of the arm's noise besides its own seeds
    word: Word
    family: int  # arms judged together
    margin: float
    confidence: float
    notes: tuple[str, ...]  # outcomes of unpaired seeds, and what limits the word
    provisional: bool  # a run of this arm or of the base is still missing
    share: float = 1.0  # of the study's level, what this look at the arm was judged at
    next_share: float = 1.0  # and what a look at other seeds would be judged at

    @property
    def beyond(self) -> bool:
        """Whether the arm is shown to be better, or worse, by more than the margin."""
        low, high = self.effect.interval
        return self.word in ("better", "worse") and (low > self.margin or high < -self.margin)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What stands beside the word."""
        return (BEYOND, *self.notes) if self.beyond else self.notes

    @property
    def detectable(self) -> float:
        """The smallest effect that so many seeds usually find; nan where a smaller one was found, and of a race."""
        return shown_mde(self.word, self.effect)


def verdicts(evidence: Evidence, past: Sequence[Past] | None = None) -> list[Verdict]:
    """Judge every arm of the family, in the order declared.

    past: arms of earlier studies; those of the same folder of records if not given.
    """
    items.check(evidence, evidence.metric)
    differences = {arm: evidence.differences(arm, evidence.metric.name) for arm in evidence.arms}
    declared, known = evidence.declaration, known_noise(evidence, past, evidence.metric.name)
    look, seen = history.look(evidence), evidence.history
    shares = {} if evidence.race else seen.shares(look)  # a race has looks of its own
    dropped = [] if evidence.race else seen.dropped(look)
    effects = judge(
        {arm: list(d.values()) for arm, d in differences.items()} | {f"{arm}, dropped": [] for arm in dropped},
        declared["margin"],
        evidence.confidence,
        {arm: one.noise for arm, one in known.items()},
        evidence.metric.sign,
        shares,
    )
    found = [
        _verdict(evidence, arm, d, effects[arm], known.get(arm, NOTHING), len(effects))
        for arm, d in differences.items()
    ]
    return found if evidence.race else [_looked_at(verdict, evidence, look) for verdict in found]


def _looked_at(v: Verdict, evidence: Evidence, look: Row) -> Verdict:
    """With the share of the level that this look has, and the words of other looks."""
    if v.arm not in look["arms"]:
        return v
    seen = evidence.history
    share, notes = seen.shares(look)[v.arm], list(v.notes)
    if v.confidence > (declared := evidence.declaration["confidence"]):
        notes.append(f"judged at confidence {v.confidence:g}, that of an earlier look, not at {declared:g}")
    if share < 1:
        notes.append(f"not the planned look: judged at level {share * (1 - v.confidence):.2g}")
    notes += [f"{word} at {seeds} seeds" for seeds, word in seen.earlier(v.arm, look) if word != v.word]
    return replace(v, notes=tuple(notes), share=share, next_share=seen.next_share(v.arm, look))


def shown_mde(word: Word, effect: Judgement) -> float:
    """The smallest effect that so many seeds usually find; nan beside a smaller one that was found."""
    return math.nan if word in ("better", "worse") and effect.mde > abs(effect.mean) else effect.mde


def known_noise(evidence: Evidence, past: Sequence[Past] | None, metric: str) -> dict[str, Known]:
    """Of the noise of every arm that has two pairs."""
    others = registry.earlier(evidence) if past is None else past
    found, least = registry.noises(registry.arms_of(evidence), others, metric), step(evidence, metric) ** 2
    return {arm: replace(one, noise=replace(one.noise, least=least)) for arm, one in found.items()}


def step(evidence: Evidence, metric: str) -> float:
    """The smallest step between two values of a metric in a study; of single precision if all are equal."""
    values = sorted(value for arm in evidence.by_arm for value in evidence.finals(arm, metric).values())
    least = SINGLE * (max(map(abs, values), default=0.0) or 1.0)
    return min((b - a for a, b in pairwise(values) if b - a > least), default=least)


def _verdict(
    evidence: Evidence, arm: str, differences: dict[int, float], effect: Judgement, known: Known, family: int
) -> Verdict:
    runs = [*evidence.by_arm[arm].values(), *evidence.by_arm[evidence.base].values()]
    if arm in evidence.race:
        effect = _raced(effect, evidence.race[arm])
    diverged = any(run.outcome == "diverged" for run in evidence.by_arm[arm].values())
    no_word = diverged and effect.word in ("better", "equivalent")
    return Verdict(
        arm=arm,
        base=evidence.base,
        factor=evidence.factor(arm),
        metric=evidence.metric,
        base_value=_mean(evidence, evidence.base, differences),
        arm_value=_mean(evidence, arm, differences),
        differences=differences,
        effect=effect,
        known=known,
        word="inconclusive" if no_word else effect.word,
        family=family,
        margin=evidence.declaration["margin"],
        confidence=evidence.confidence,
        notes=tuple(filter(None, [*_notes(evidence, arm, differences, effect), skips.note(evidence, arm)])),
        provisional=not (evidence.stopped(arm) or all(run.done for run in runs)),
    )


def _raced(effect: Judgement, decision: dict[str, Any]) -> Judgement:
    """Of an arm that raced: the word and the interval that hold over all its looks and all arms together."""
    low, high = decision["interval"]
    bounds = (-math.inf if low is None else low, math.inf if high is None else high)
    mean = effect.mean if decision["mean"] is None else decision["mean"]
    return replace(
        effect,
        mean=mean,
        interval=bounds,
        equivalence_interval=bounds,  # a race holds one interval against zero and against the margin
        word=decision["word"],
        p=math.nan,
        p_adjusted=math.nan,
        p_equivalent=math.nan,
        mde=math.nan,  # of one look at all seeds, which a race does not wait for
    )


def _mean(evidence: Evidence, arm: str, seeds: dict[int, float]) -> float:
    finals = evidence.finals(arm, evidence.metric.name)
    return float(np.mean([finals[seed] for seed in seeds])) if seeds else math.nan


def _notes(evidence: Evidence, arm: str, differences: dict[int, float], effect: Judgement) -> list[str]:
    notes = _singular(evidence, arm)
    if evidence.stopped(arm):
        race = evidence.race[arm]
        if race["reason"] == "unstarted":
            return ["never started: the search expected too little of it", *notes]
        at = f"{race['look']} seeds" if race["look"] else f"{race['rung']:.0%} of the first run"
        return [f"stopped after {at}: {race['reason']}", *notes]
    for name, prefix in ((arm, ""), (evidence.base, f"{evidence.base}: ")):
        outcomes = Counter(run.outcome for run in evidence.by_arm[name].values() if run.outcome != "finished")
        total = len(evidence.by_arm[name])
        notes += [f"{prefix}{count} of {total} {outcome}" for outcome, count in outcomes.items()]
    if not differences and not evidence.itself(arm):
        notes.append("no seed has finished in both")
    elif len(differences) == 1:
        notes.append("one seed gives no interval")
    if effect.word == "equivalent" and effect.p_adjusted <= 1 - evidence.confidence:
        notes.append("differs, by less than the margin")
    return notes


def _singular(evidence: Evidence, arm: str) -> list[str]:
    """What an effect cannot show: seeds in which the arm is its base, or the base alone diverged."""
    notes, base = [], evidence.base
    if equal := evidence.itself(arm):
        what, both = (
            ("partly " if evidence.pairs(arm) else "") + "the base itself",
            len(evidence.pairs(arm)) + len(equal),
        )
        notes.append(f"{what}: equal weights in {len(equal)} of {both} seeds, which are no pairs")
    alone = [s for s, run in evidence.by_arm[base].items() if run.outcome == "diverged" and s in evidence.finished(arm)]
    if alone:
        seeds = ", ".join(map(str, alone))
        notes.append(
            f"{base} diverged with seed {seeds}, {arm} did not: the effect leaves this out, to the good of {base}"
        )
    return notes


def sentence(results: list[Verdict]) -> str:
    """The verdict of the study in one plain sentence; names stand between backticks."""
    if not results:
        return "No arm differs from the base: there is nothing to compare."
    words, counts = get_args(Word), Counter(verdict.word for verdict in results)  # from the most telling on
    headline = min(results, key=lambda verdict: (words.index(verdict.word), -abs(verdict.effect.mean)))
    tally = ", ".join(f"{counts[word]} {word}" for word in words if counts[word])
    among = f" (of {len(results)} arms: {tally})" if len(results) > 1 else ""
    claim = _claim(headline)
    if among and headline.word not in ("better", "worse"):
        claim = f"No arm is shown to be better or worse than `{headline.base}`"
    so_far = "So far: " if any(verdict.provisional for verdict in results) else ""
    return f"{so_far}{claim}{among}."


def _claim(v: Verdict) -> str:
    pair, unit = f"`{v.arm}` is {v.word}", v.metric.unit
    seen = "" if math.isnan(v.detectable) else f"; smallest detectable {v.detectable:.4f}"
    if v.word in ("better", "worse"):
        near, far = sorted(abs(end) for end in v.effect.interval)
        size = f"{abs(v.effect.mean):.4f} {unit} [{near:.4f}, {far:.4f}]"
        return f"{pair} than `{v.base}` by {size}{', more than the margin' * v.beyond}{seen}"
    size = f"{v.effect.mean:+.4f} {unit} {bounds(v.effect.interval)}"
    if v.word == "equivalent":
        return f"{pair} to `{v.base}` within ±{v.margin:g} {unit}: {size}"
    if len(v.differences) < 2 or v.word != v.effect.word:
        return f"{pair} against `{v.base}`: {'; '.join(v.notes)}"
    return f"{pair} against `{v.base}`: {size}{seen}"


def bounds(interval: Interval) -> str:
    return f"[{interval[0]:+.4f}, {interval[1]:+.4f}]"


@dataclass(frozen=True)
class DomainEffect:
    """Exploratory: one arm, one metric, with the interval of a single comparison. No word, no claim."""

    arm: str
    metric: str
    mean: float
    interval: Interval
    mde: float  # at the level of the whole family, like a verdict's


def domain_effects(evidence: Evidence, past: Sequence[Past] | None = None) -> list[DomainEffect]:
    """The effect of every arm on every domain. Many numbers, not corrected for being many."""
    alpha, past = 1 - evidence.confidence, registry.earlier(evidence) if past is None else past
    known = {domain: known_noise(evidence, past, domain) for domain in evidence.domains}
    effects = []
    for arm in evidence.arms:
        for domain in evidence.domains:
            if d := list(evidence.differences(arm, domain).values()):
                noise = known[domain].get(arm, NOTHING).noise
                mde = detectable(d, alpha / len(evidence.arms), noise)
                effects.append(DomainEffect(arm, domain, float(np.mean(d)), interval(d, alpha, noise), mde))
    return effects


def smallest_effects(evidence: Evidence, past: Sequence[Past] | None = None) -> dict[str, float]:
    """Per domain the smallest detectable effect of the study, the median over arms.

    Where that is unknown it is the margin, or infinite in a study whose margin is in another unit.
    """
    effects = domain_effects(evidence, past)
    found = {domain: [e.mde for e in effects if e.metric == domain] for domain in evidence.domains}
    usable = {domain: [mde for mde in mdes if 0 < mde < math.inf] for domain, mdes in found.items()}
    unknown = evidence.declaration["margin"] if evidence.metric.groups else math.inf
    return {domain: float(np.median(mdes)) if mdes else unknown for domain, mdes in usable.items()}
