"""A study before its first run, as a question: how much noise, how many arms and seeds, and what a seed block costs.

question = Question(power=Power(noise=0.004, margin=0.01, arms=5), num_arms=6, seeds=3)
question.rows()        numbers of seeds that are worth telling apart: [2, 3, 4, 5, 6, 8]
"""

import math
from dataclasses import dataclass

from ablate.verdict.planning import Measured
from ablate.verdict.statistics.power import Power

SEEDS = (2, 3, 4, 5, 6, 8, 12, 16, 24)


@dataclass(frozen=True, kw_only=True)
class Question:
    """The study as far as it is known, and what one seed block of it costs."""

    power: Power
    num_arms: int  # the base among them
    seeds: int = 0  # declared; 0: none are
    known: Measured | None = None  # noise that was measured
    flops: float = math.nan  # of one seed block, equal beginnings trained once
    alone: float = math.nan  # of one seed block, every run alone
    seconds: float = math.nan  # of one seed block
    unit: str = ""  # of the metric; empty where no study says

    def rows(self) -> list[int]:
        """SEEDS up to one more than are needed, and beside them the seeds declared and the seeds needed."""
        needed = (self.seeds, self.power.seeds_to_see(self.power.margin), self.power.seeds_needed)
        marked = {int(n) for n in needed if 2 <= n < math.inf}
        most = max(marked, default=SEEDS[-1])
        return sorted(marked | {n for n in SEEDS if n <= most} | {next((n for n in SEEDS if n > most), most)})
