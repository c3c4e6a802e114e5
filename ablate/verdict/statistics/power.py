"""How many seeds a study needs, before the first run: what n seeds can see, and what they can rule out.

A seed gives each arm one difference from the base, with standard deviation s over seeds (`noise`).
The verdict's own rules (`paired`) then say, for n seeds at the level a / arms of Holm's first step,

    detectable   the smallest effect called different with probability `power`: s / sqrt(n) times the
                 noncentrality at which a noncentral t exceeds its critical value
    equivalent   the probability that an arm without any effect is shown to lie within +-margin (TOST),

        P(|m| + t s' / sqrt(n) < margin) = E 2 Phi((margin - t s' / sqrt(n)) sqrt(n) / s) - 1,

                 over the estimated s'. This usually takes more seeds than a difference of one margin.

What other arms and earlier studies lend (`noise_df`, `moderated.promised`) adds to the n - 1 of three seeds or
more, as in a moderated t (Smyth 2004).

    >>> plan = Power(noise=0.004, margin=0.01, arms=3)
    >>> plan.seeds_to_see(0.01), plan.seeds_to_rule_out()
    (5, 5)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from scipy.optimize import brentq
from scipy.special import gammaln, ndtr, stdtrit

from ablate.verdict.statistics.moderated import SEEDS
from ablate.verdict.statistics.paired import POWER, power

LEAST_SEEDS, MOST_SEEDS = 2, 1000


@dataclass(frozen=True, kw_only=True)
class Power:
    """Effects, noise and margin in one unit; `arms`: how many are judged together."""

    noise: float  # standard deviation over seeds of arm - base
    margin: float
    arms: int
    confidence: float = 0.95
    power: float = POWER
    noise_df: float = 0.0

    @property
    def level(self) -> float:
        """Of the hardest judgement in the family."""
        return (1 - self.confidence) / self.arms

    def df(self, seeds: int) -> float:
        return seeds - 1 + (self.noise_df if seeds >= SEEDS else 0.0)

    def chance(self, effect: float, seeds: int) -> float:
        """That an arm with this effect is called different."""
        return power(abs(effect) * math.sqrt(seeds) / self.noise, self.df(seeds), self.level)  # pyrefly: ignore

    def detectable(self, seeds: int) -> float:
        """The smallest effect with chance `power`; infinite without two seeds."""
        if seeds < LEAST_SEEDS:
            return math.inf
        most = (4 * stdtrit(self.df(seeds), 1 - self.level / 2) + 10) * self.noise / math.sqrt(seeds)
        return float(brentq(lambda effect: self.chance(effect, seeds) - self.power, 0, most))  # pyrefly: ignore

    def chance_equivalent(self, seeds: int, effect: float = 0.0) -> float:
        """That an arm with this effect is shown to lie within the margin."""
        if seeds < LEAST_SEEDS:
            return 0.0
        error, df = self.noise / math.sqrt(seeds), self.df(seeds)
        critical = float(stdtrit(df, 1 - self.level)) / math.sqrt(df)
        scale = (1 - df / 2) * math.log(2) - gammaln(df / 2)

        def integrand(u: float) -> float:
            """At a chi-distributed u = s' sqrt(df) / s."""
            half = self.margin / error - critical * u
            within = ndtr(half - effect / error) - ndtr(-half - effect / error)
            return math.exp(scale + (df - 1) * math.log(u) - u * u / 2) * within if u > 0 else 0.0

        # beyond `end` the interval is wider than the margin whatever its centre
        low, end = max(0.0, math.sqrt(df) - 10), min(self.margin / error / critical, math.sqrt(df) + 10)
        from scipy.integrate import quad  # slow to import, and few verdicts need it

        return float(quad(integrand, low, end, limit=200)[0]) if end > low else 0.0

    def seeds_to_see(self, effect: float) -> float:
        """Fewest that detect such an effect with chance `power`; infinite beyond MOST_SEEDS."""
        return fewest(lambda seeds: self.chance(effect, seeds) >= self.power)

    def seeds_to_rule_out(self) -> float:
        """Fewest that show an arm without effect to be equivalent with chance `power`; infinite likewise."""
        return fewest(lambda seeds: self.chance_equivalent(seeds) >= self.power)

    @cached_property
    def seeds_needed(self) -> float:
        """Fewest with which a verdict is likely whether the truth is 0 or the margin."""
        return max(self.seeds_to_see(self.margin), self.seeds_to_rule_out())


def fewest(enough: Callable[[int], bool]) -> float:
    """The smallest number of seeds that is enough, of a condition that more seeds fulfil better."""
    high = LEAST_SEEDS
    while not enough(high):
        if high >= MOST_SEEDS:
            return math.inf
        high = min(2 * high, MOST_SEEDS)
    low = LEAST_SEEDS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
