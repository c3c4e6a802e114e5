"""All that one verdict rests on, as plain data: the card of an arm.

    for card in cards(evidence): ...

The word comes from the effect, its error and the family alone. Beside it stand what the effect probably is (`shrink`),
how much hangs on which text was held out (`passages`)
or on which items were asked (`items`), what the arm spent that the base did not, and what more seeds
would buy.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ablate.verdict import registry
from ablate.verdict.compare import Verdict
from ablate.verdict.evidence import Evidence
from ablate.verdict.items import ItemNoise, item_noise
from ablate.verdict.passages import Passages, passages
from ablate.verdict.registry import Past
from ablate.verdict.spread import Gain
from ablate.verdict.statistics.paired import Interval, detectable_with
from ablate.verdict.statistics.shrink import Shrunken, shrink
from ablate.verdict.validity import trust

SEEDS = (3, 5, 8, 13, 21)  # at which a card says what could be detected
MANY = 64  # seeds that nobody will train
READINGS = ("tokens", "flops", "parameters")


@dataclass(frozen=True)
class Reading:
    """What a run of the base and of the arm had of something, on average over the pairs."""

    name: str
    base: float
    arm: float

    @property
    def ratio(self) -> float:
        return self.arm / self.base if self.base else math.nan

    @property
    def text(self) -> str:
        """`tokens equal`, `flops x1.18`."""
        return f"{self.name} equal" if math.isclose(self.arm, self.base) else f"{self.name} x{self.ratio:.3g}"


@dataclass(frozen=True, kw_only=True)
class Card:
    """One arm, in the metric's unit; what is not known is None."""

    verdict: Verdict
    shrunken: Shrunken | None  # what the effect probably is
    pairing: Gain | None  # measured over the study's arms of this kind
    kind: str  # what kind of change the arm is
    passages: Passages | None  # error of the choice of validation text
    items: ItemNoise | None  # error of the choice of items, of a metric of a task
    readings: tuple[Reading, ...]
    runs: int  # done, of this arm
    flops: float  # of these runs
    seconds: float
    detectable: dict[int, float]  # smallest effect that so many seeds show: these, and more at the next look
    seeds_for_effect: int | None  # that show an effect as large as the estimate; None beyond MANY
    seeds_for_margin: int | None
    mixture: tuple[str, ...]  # what was read of domains whose share the arm changes
    amendments: tuple[str, ...]  # of the declaration, after there was something to see

    @property
    def level(self) -> float:
        """At which the family's procedure judged this arm."""
        return self.verdict.effect.level

    @property
    def text_interval(self) -> Interval | None:
        """Of the difference, had other validation text been drawn and seeds been the same."""
        return self.passages.interval(self.verdict.confidence) if self.passages else None


def cards(evidence: Evidence, conclusion: trust.Conclusion | None = None) -> list[Card]:
    """A card for every arm, in the order declared. conclusion: what was concluded, if it is at hand."""
    verdicts = (conclusion or trust.conclude(evidence)).verdicts
    own = {one.arm: one for one in registry.arms_of(evidence)}
    pairings = registry.pairings(own.values(), evidence.metric.name)
    shrunken = _shrunken(verdicts)
    return [_card(evidence, verdict, shrunken.get(verdict.arm), own.get(verdict.arm), pairings) for verdict in verdicts]


def _shrunken(verdicts: Sequence[Verdict]) -> dict[str, Shrunken]:
    """Of arms that trained: what compression does differs by recipe a thousandfold, and none tells of another."""
    known = [v for v in verdicts if math.isfinite(v.effect.error) and not v.known.apart]
    if not known:
        return {}
    means, errors, dfs = zip(*((v.effect.mean, v.effect.error, v.effect.df) for v in known), strict=True)
    found = shrink(means, errors, dfs, margin=known[0].margin, confidence=known[0].confidence)
    return {verdict.arm: one for verdict, one in zip(known, found, strict=True)}


def _card(
    evidence: Evidence,
    verdict: Verdict,
    shrunken: Shrunken | None,
    own: Past | None,
    pairings: dict[frozenset[str], Gain],
) -> Card:
    results = [run.result for run in evidence.by_arm[verdict.arm].values() if run.done]
    effect, prior = verdict.effect, verdict.known.noise
    seeds = len(verdict.differences)
    sd, level = effect.error * math.sqrt(seeds), (1 - verdict.confidence) / verdict.family * verdict.next_share
    more = {n: detectable_with(sd, n, level, prior.df) for n in SEEDS if n > seeds}
    at = {seeds: effect.mde} | more if seeds > 1 and not math.isnan(effect.mde) else {}  # a race has looks of its own
    return Card(
        verdict=verdict,
        shrunken=shrunken,
        pairing=pairings.get(own.kind) if own else None,
        kind=registry.name_of(own.kind) if own else "",
        passages=passages(evidence, verdict.arm),
        items=item_noise(evidence, verdict.arm, evidence.metric),
        readings=tuple(_readings(evidence, verdict)),
        runs=len(results),
        flops=sum(result["flops"] for result in results),
        seconds=sum(result["seconds"] for result in results),
        detectable=at,
        seeds_for_effect=_needed(abs(effect.mean), sd, level, prior.df) if at else None,
        seeds_for_margin=_needed(verdict.margin, sd, level, prior.df) if at else None,
        mixture=tuple(_mixture(evidence, verdict.arm)),
        amendments=tuple(one.text for one in evidence.history.amendments),
    )


def _readings(evidence: Evidence, verdict: Verdict) -> list[Reading]:
    found = []
    for name in READINGS if verdict.differences else ():
        base, arm = (
            [evidence.by_arm[which][seed].result[name] for seed in verdict.differences]
            for which in (verdict.base, verdict.arm)
        )
        found.append(Reading(name, sum(base) / len(base), sum(arm) / len(arm)))
    return found


def _mixture(evidence: Evidence, arm: str) -> Iterator[str]:
    """`qa 0 to 0.31 %, asked 0.2 %`: of tokens, the fewest and the most that a seed read; by domain."""
    base, ours = ([run.result["mixture"] for run in evidence.finished(name).values()] for name in (evidence.base, arm))
    for domain in ours[0]["asked"] if base and ours else ():
        asked, read = ([100 * one[which][domain] for one in ours] for which in ("asked", "realised"))
        if any(100 * base[0]["asked"].get(domain, 0.0) != share for share in asked):
            yield f"{domain} {_ends(read)} %, asked {_ends(asked)} %"


def _ends(shares: list[float]) -> str:
    """The fewest and the most; a mixture that is computed asks another share of every seed (`mixture.adapt`)."""
    return " to ".join(dict.fromkeys((f"{min(shares):.3g}", f"{max(shares):.3g}")))


def _needed(effect: float, sd: float, level: float, prior_df: float) -> int | None:
    """The fewest seeds with which so large an effect is found with the usual power."""
    low, high = 1, MANY
    if detectable_with(sd, high, level, prior_df) > effect:
        return None
    while high - low > 1:  # low does not suffice, high does
        middle = (low + high) // 2
        low, high = (low, middle) if detectable_with(sd, middle, level, prior_df) <= effect else (middle, high)
    return high
