"""The weights of a later phase, computed from what the run before it scored and read: `mixture.adapt`.

    saturation    new ~ sqrt(old x gain x fresh), and a tenth of an equal share for each domain at least
    random        as far from the old weights as `saturation` goes, in a direction that the seed draws. Where hardly any
                  leads as far, nearly all weight goes to one domain, to another than under the rule if there is one

    gain     bits per byte of the domain that the last doubling of the run's tokens gained: the slope of the line of
             least squares over log2(tokens), through the evaluations of the second half; less its standard error, and
             at least 0, which is a domain that has saturated
    fresh    1 for text that was read up to four times, 4 / times beyond: up to four epochs are worth about as much as
             new text (Muennighoff et al. 2023, arXiv 2305.16264)

Where no domain helps another, the mean loss falls fastest with weights in the proportion of the gains: one token more
is then worth the same in every domain. The square root goes half of the way there, in logarithms. A domain without
weight keeps none, and where nothing gains, the old weights stay.

Equal records give equal weights, to the last bit, on any machine: sums are exact (`math.fsum`), square roots and
quotients are rounded alike everywhere, logarithms are cut to nine digits, and weights to four.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ablate.plan import keyed
from ablate.plan.timeline import timeline
from ablate.run.fields import Weights
from ablate.run.settings import Settings, SettingsError

LEAST_POINTS = 4  # evaluations in the second half of a run: a line and its error take three
FLOOR = 0.1  # of an equal share: the least weight of a domain that is read
EPOCHS = 4.0  # that a domain's text may be read before it is worth less
DIGITS, LOG_DIGITS = 4, 9
TRIES = 1000  # directions drawn, until one leaves every domain its least weight
APART = 0.01  # distance from the rule's weights of others


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the record of a run says. `points`: tokens and bits per byte by domain, of each evaluation in order;
    `epochs`: how often each domain's text was read, by this run and those that it began from."""

    points: list[tuple[int, dict[str, float]]]
    epochs: dict[str, float]

    @property
    def late(self) -> list[tuple[int, dict[str, float]]]:
        """The points of the second half."""
        return [point for point in self.points if 2 * point[0] >= self.points[-1][0]]


def told() -> str:
    """The constants of the rule, as they are written beside the weights."""
    return f"gain of the last doubling less 1 standard error, floor {FLOOR:g} of an equal share, {EPOCHS:g} epochs"


def check(settings: Settings, before: Settings, whose: str) -> None:
    """Raises SettingsError for a run before, called `whose`, that tells too little, or that is scored on the rows by
    which this one is judged: no choice is made on the data that grades it."""
    line, asked = timeline(before), f"mixture.adapt={settings.mixture.adapt}"
    late = sum(2 * line.tokens[step] >= line.tokens[-1] for step in line.evaluations)
    if late < LEAST_POINTS:
        raise SettingsError(
            f"{asked}: {whose} is evaluated {late} times in its second half, and a gain takes {LEAST_POINTS}; "
            "raise its evaluation.times"
        )
    if missing := [domain for domain in settings.data.domains if domain not in before.data.domains]:
        raise SettingsError(f"{asked}: {whose} has no domain {missing[0]}")
    ours, theirs = settings.evaluation, before.evaluation
    if ours.part == theirs.part:
        raise SettingsError(
            f"{asked}: {whose} is scored on the held-out rows by which this run is judged; "
            f"give it another part, evaluation.part={ours.part + 1}"
        )
    sizes = {"evaluation.spans": (theirs.spans, ours.spans), "data.span": (before.data.span, settings.data.span)}
    if unlike := [key for key, (one, other) in sizes.items() if one != other]:
        there, here = sizes[unlike[0]]
        raise SettingsError(
            f"{asked}: {whose} has {unlike[0]}={there}, this run {here}: only parts of equal size share no row"
        )


def check_judged(settings: Settings, before: Settings, judged: Settings, whose: str) -> None:
    """Raises SettingsError where a later phase of the run's chain is judged by the rows that its weights come from."""
    if judged.evaluation.part == before.evaluation.part:
        raise SettingsError(
            f"mixture.adapt={settings.mixture.adapt}: {whose} is scored on the held-out rows by which the last phase "
            f"is judged; give that one another part, evaluation.part={settings.evaluation.part}"
        )


def gains(seen: Seen) -> dict[str, float]:
    """Bits per byte by domain that the last doubling of the tokens gained, beyond its noise; 0 at least."""
    log_tokens = [round(math.log2(tokens), LOG_DIGITS) for tokens, _ in seen.late]
    return {domain: _gain(log_tokens, [loss[domain] for _, loss in seen.late]) for domain in seen.epochs}


def _gain(x: list[float], y: list[float]) -> float:
    """Minus the slope of y over x, less its standard error."""
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    square = math.fsum((a - mean_x) * (a - mean_x) for a in x)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / square
    rest = [(b - mean_y) - slope * (a - mean_x) for a, b in zip(x, y, strict=True)]
    error = math.sqrt(math.fsum(r * r for r in rest) / (len(x) - 2) / square)
    return max(0.0, -slope - error)


def saturation(old: Weights, seen: Seen, seed: int) -> Weights:
    """The weights of the rule, for a run of any seed; `old`: of all domains, summing to 1."""
    gain, read = gains(seen), [domain for domain in old if old[domain] > 0]
    fresh = {domain: min(1.0, EPOCHS / max(seen.epochs[domain], EPOCHS)) for domain in read}
    pull = {domain: math.sqrt(old[domain] * gain[domain] * fresh[domain]) for domain in read}
    total, least = math.fsum(pull.values()), FLOOR / len(read)
    if not total:
        return dict(old)
    return dict.fromkeys(old, 0.0) | {d: round(least + (1 - FLOOR) * pull[d] / total, DIGITS) for d in read}


def random(old: Weights, seen: Seen, seed: int) -> Weights:
    """Weights at the distance of the rule's, to their last digit."""
    rule, read = saturation(old, seen, seed), [domain for domain in old if old[domain] > 0]
    goal, least = distance(old, rule), min(FLOOR / len(read), *(old[domain] for domain in read))
    for number in range(TRIES):
        drawn = [keyed.key(seed, "adapt", domain, number) / 2**64 for domain in read]
        mean = math.fsum(drawn) / len(drawn)
        length = math.fsum(abs(u - mean) for u in drawn) / 2
        moved = {d: round(old[d] + goal * (u - mean) / length, DIGITS) for d, u in zip(read, drawn, strict=True)}
        if min(moved.values()) >= least:
            return dict.fromkeys(old, 0.0) | moved
    spare = {domain: old[domain] - least for domain in read}
    reach = {domain: math.fsum(spare.values()) - spare[domain] for domain in read}
    far = [domain for domain in read if reach[domain] >= goal - len(read) / 10**DIGITS]  # one that the rule favours is
    far.sort(key=lambda domain: keyed.key(seed, "adapt", domain, TRIES))
    found = [_to_one(old, domain, {d: spare[d] * min(1.0, goal / reach[domain]) for d in read}) for domain in far]
    return next((one for one in found if distance(one, rule) > APART), found[0])


def _to_one(old: Weights, one: str, given: Weights) -> Weights:
    """What the other domains give goes to one."""
    lower = {domain: round(old[domain] - given[domain], DIGITS) for domain in given if domain != one}
    more = math.fsum(given[domain] for domain in lower)
    return dict.fromkeys(old, 0.0) | {one: round(old[one] + more, DIGITS)} | lower


def distance(a: Weights, b: Weights) -> float:
    """The share of all tokens that changes its domain: half the sum of differences (total variation)."""
    return math.fsum(abs(a[domain] - b[domain]) for domain in a) / 2


RULES: dict[str, Callable[[Weights, Seen, int], Weights]] = {"saturation": saturation, "random": random}
