"""How often a router is called better than a choice at random: where the model's states know nothing, and where not.

    nothing      states are noise; steps help most questions, hardly any, or harm more than they help
    telling      states hold, in a few of their directions and under noise, how hard a question is at once

Questions are drawn, a router is fitted on one half and graded on the other, as `ablate route` does it.
"""

import numpy as np
from scipy.special import expit

from ablate.verdict.router import fitted
from ablate.verdict.statistics.routing import Outcomes, judged
from bench.rounds import Row
from bench.verdicts import FalseClaims, Share

WORLDS, QUICK = 200, 3
QUESTIONS, WIDTH = 600, 64  # of which half are to fit on
MOST, LEAST = 0.05, 0.8


def routes(quick: bool) -> list[Row]:
    """shares of routers that are called better than a choice at random; from, to: Clopper-Pearson 95 %"""
    rows: list[Row] = []
    for name, (fast, slow, telling) in {
        "nothing, steps help": (-1.0, 1.0, 0.0),
        "nothing, steps hardly help": (0.0, 0.1, 0.0),
        "nothing, steps harm": (0.5, -0.5, 0.0),
        "telling, steps help": (-0.5, 1.0, 1.5),
        "telling, steps harm": (0.5, 0.0, 1.5),
    }.items():
        worlds = range(QUICK if quick else WORLDS)
        words = [float(_better(np.random.default_rng([len(name), world]), fast, slow, telling)) for world in worlds]
        if telling:
            rows.append(Share(name, "better than a choice at random", words, LEAST, "at least"))
        else:
            rows.append(FalseClaims(name, "better than a choice at random", words, MOST))
    return rows


def _better(rng: np.random.Generator, fast: float, slow: float, telling: float) -> bool:
    """fast, slow: log odds of a right answer of a question that is neither hard nor easy."""
    hard = rng.normal(size=(QUESTIONS, 3))
    states = hard @ rng.normal(size=(3, WIDTH)) * telling + rng.normal(size=(QUESTIONS, WIDTH))
    right = [rng.random(QUESTIONS) < expit(odds - 1.5 * hard[:, way]) for way, odds in enumerate((fast, slow))]
    written = [np.full(QUESTIONS, 3.0), 3 + np.round(np.exp(3 + 0.5 * hard[:, 2]))]
    fit, grade = (
        Outcomes(right[0][half], written[0][half], right[1][half], written[1][half], np.arange(QUESTIONS // 2))
        for half in (slice(None, None, 2), slice(1, None, 2))
    )
    score = fitted(states[::2], fit).score(states[1::2])
    return judged(grade, {"router": score}).curves["router"].gain.word == "better"
