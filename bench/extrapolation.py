"""How far off extrapolated losses are, and how often their intervals hold: every source graded when left out.

An interval is mean -+ factor x spread of the laws (`laws.extrapolation`); the factor for a source is the
conformal quantile of |truth - mean| / spread over the other sources, each weighing the same. What ships is the
quantile over all sources in scope: the rows `shipped` must be what the module says, and a test compares them.

Beside ours, the best power law and a bootstrap of its residuals in blocks: what papers print.
The sources out of scope show what the rules of `curves` are for: `refused` is how many of their prefixes it would not
extrapolate. The planted families need no table; exponent and grid of the laws are the best on them. The public curves
had been seen with other exponents and grids by then, and that the spread leaves out what the laws differ by within
the curve was decided on seeing them: it narrowed the intervals by a twentieth. The factors are blind to the source
graded, the form of the laws is not quite.

Two prefixes of one curve are one curve: rows `by curve` count each once, with a bootstrap over curves. Curves of a
source, a laboratory, resemble each other, so that even these are too narrow: three laboratories drawn anew give
0.73 to 1.00. Clopper-Pearson intervals of prefixes take all for independent.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ablate.laws import extrapolation as calibrated
from ablate.laws.curve_laws import BENT, EXPONENT, bend, estimate_laws, estimate_power_law
from bench.ends import BEYOND, SCOPE, Prefix, prefixes
from bench.isoflops import REPEATS, Share, isoflops
from bench.places import located, wrong
from bench.planted import KINDS, NOISE, SPACINGS, worlds
from bench.rounds import Row

LEVEL = 0.9
ERROR, COVERED, WIDTH = 0.55, 0.85, 1.5  # percent, share, percent
RESAMPLES, PLANTED, QUICK, BOOTSTRAPS = 100, 60, 10, 4000
EXPONENTS = (0.75, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Graded:
    """One prediction: how it came out, all in the unit of the loss."""

    source: str
    part: str
    level: float  # the loss itself, which percents are of
    error: float
    spread: float

    @property
    def score(self) -> float:
        return abs(self.error) / self.spread


def extrapolation(quick: bool) -> list[Row]:
    """percent of the loss, shares of curves; from, to: Clopper-Pearson 95 % of a share"""
    found = prefixes()
    known = [p for p in found if p.source in SCOPE]
    rows: list[Row] = []
    if known:
        rows += _left_out(known) + _plain(known, QUICK if quick else RESAMPLES) + _doubling(known) + _shipped(known)
        rows += _beyond(known, [p for p in found if p.source in BEYOND])
    else:
        rows.append(Row("public curves", "the tables are not here", [0.0]))
    return rows + _planted(QUICK if quick else PLANTED) + isoflops(QUICK if quick else REPEATS)


def grade(prefix: Prefix) -> Graded:
    """The loss at the end of the curve."""
    mean, spread = estimate_laws(prefix.tokens, prefix.losses).loss(np.array([prefix.end]))
    return Graded(prefix.source, prefix.part, prefix.truth, float(mean[0] - prefix.truth), float(spread[0]))


def grade_gain(prefix: Prefix) -> Graded:
    """What doubling the tokens of the prefix brought."""
    assert prefix.doubled is not None
    tokens, loss = prefix.doubled
    laws, last = estimate_laws(prefix.tokens, prefix.losses), prefix.tokens[-1]
    mean, spread = laws.gain(np.array([last]))
    share = math.log2(tokens / last)  # of a doubling, where the evaluations do not fall on it
    error = float(mean[0]) - (prefix.losses[-1] - loss) / share
    return Graded(prefix.source, prefix.part, prefix.truth, error, float(spread[0]))


def conformal(graded: Sequence[Graded], level: float) -> float:
    """The quantile of the scores at a level, each source weighing the same."""
    sources = [one.source for one in graded]
    weight = np.array([1 / sources.count(source) for source in sources])
    scores = np.array([one.score for one in graded])
    order = scores.argsort()
    reached = np.cumsum(weight[order]) / weight.sum()
    return float(scores[order][min(np.searchsorted(reached, level - 1e-9), len(scores) - 1)])


def shipped() -> dict[calibrated.Quantity, tuple[float, ...]]:
    """The factors, from the public curves in scope."""
    known = [p for p in prefixes() if p.source in SCOPE]
    kinds: dict[calibrated.Quantity, list[Graded]]
    kinds = {"loss": [grade(p) for p in known], "gain": [grade_gain(p) for p in known if p.doubled]}
    return {name: tuple(conformal(found, level) for level in calibrated.LEVELS) for name, found in kinds.items()}


def _left_out(known: list[Prefix]) -> list[Row]:
    """Each source by the factor of the others, then all of them."""
    graded = [grade(p) for p in known]
    factor = {s: conformal([g for g in graded if g.source != s], LEVEL) for s in SCOPE}
    rows: list[Row] = []
    for part in PARTS:
        for source in (*SCOPE, "all sources"):
            chosen = [g for g in graded if g.part == part and source in (g.source, "all sources")]
            if chosen:
                whole = source == "all sources"
                rows += _rows(f"{source}, from {PARTS[part]}", chosen, lambda g: factor[g.source], whole)
    rows += [Row(source, "factor from the others", [value]) for source, value in factor.items()]
    rows += _rows("all sources, both", graded, lambda g: factor[g.source], True)
    curves: dict[tuple, list[float]] = {}
    for prefix, g in zip(known, graded, strict=True):
        curves.setdefault(prefix.curve, []).append(float(g.score <= factor[g.source]))
    shares = {curve: float(np.mean(held)) for curve, held in curves.items()}
    for source in SCOPE:
        rows.append(Clustered(source, "interval holds, by curve", [v for c, v in shares.items() if c[0] == source]))
    return [*rows, Clustered("all sources", "interval holds, by curve", list(shares.values()), COVERED)]


class Clustered(Row):
    """The mean over curves of the share of their prefixes that held, with a bootstrap interval of 95 % over curves."""

    @property
    def median(self) -> float:
        return float(np.mean(self.values))

    @property
    def spread(self) -> tuple[float, float, float]:
        drawn = np.random.default_rng(0).choice(self.values, (BOOTSTRAPS, len(self.values))).mean(1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        return self.median, float(low), float(high)

    def plain(self) -> dict:
        share, low, high = self.spread
        found = {"share": share, "low": round(low, 4), "high": round(high, 4), "number": len(self.values)}
        return {"case": self.case, "what": self.what} | found | ({"target": self.target} if self.target else {})


PARTS = {"first": "30 %", "half": "50 %"}


def _rows(case: str, graded: list[Graded], factor: Callable[[Graded], float], aims: bool) -> list[Row]:
    errors = [100 * abs(g.error) / g.level for g in graded]
    held = [float(g.score <= factor(g)) for g in graded]
    widths = [200 * factor(g) * g.spread / g.level for g in graded]
    return [
        Row(case, "error, %", errors, ERROR if aims else None, "at most"),
        Share(case, "interval holds", held, COVERED if aims else None),
        Row(case, "its width, %", widths, WIDTH if aims else None, "at most"),
    ]


def _plain(known: list[Prefix], resamples: int) -> list[Row]:
    """The power law alone, and a bootstrap of its residuals."""
    rng, rows = np.random.default_rng(0), []
    for part in PARTS:
        for source in (*SCOPE, "all sources"):
            chosen = [p for p in known if p.part == part and source in (p.source, "all sources")]
            if not chosen:
                continue
            case = f"{source}, from {PARTS[part]}, power law"
            ends = [_bootstrap(p, rng, resamples) for p in chosen]
            laws = [float(estimate_power_law(p.tokens, p.losses)(p.end)) for p in chosen]
            errors = [100 * abs(law / p.truth - 1) for law, p in zip(laws, chosen, strict=True)]
            held = [float(low <= p.truth <= high) for (low, high), p in zip(ends, chosen, strict=True)]
            widths = [100 * (high - low) / p.truth for (low, high), p in zip(ends, chosen, strict=True)]
            rows += [Row(case, "error, %", errors), Share(case, "bootstrap holds", held)]
            rows.append(Row(case, "its width, %", widths))
    return rows


def _bootstrap(prefix: Prefix, rng: np.random.Generator, resamples: int) -> tuple[float, float]:
    """90 % of the ends of laws fitted to the law plus its residuals, drawn in blocks of a tenth."""
    law = estimate_power_law(prefix.tokens, prefix.losses)
    residuals, number = prefix.losses - law(prefix.tokens), len(prefix.losses)
    length = max(number // 10, 1)
    ends = []
    for _ in range(resamples):
        starts = rng.integers(0, number, -(-number // length))
        drawn = residuals[(starts[:, None] + np.arange(length)).ravel()[:number] % number]
        ends.append(float(estimate_power_law(prefix.tokens, law(prefix.tokens) + drawn, grid=33)(prefix.end)))
    low, high = np.quantile(ends, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _doubling(known: list[Prefix]) -> list[Row]:
    """What one more doubling gains, each source by the factor of the others."""
    graded = [grade_gain(p) for p in known if p.doubled]
    sources = sorted({g.source for g in graded})
    factor = {s: conformal([g for g in graded if g.source != s], LEVEL) for s in sources}
    rows = []
    for source in sources:
        chosen = [g for g in graded if g.source == source]
        rows += _rows(f"{source}, gain of a doubling", chosen, lambda g: factor[g.source], False)
    return rows


def _shipped(known: list[Prefix]) -> list[Row]:
    """The factors, and how many curves they rest on."""
    return [
        Row(f"shipped, {quantity}", f"factor at {level:.0%}", [value])
        for quantity, values in shipped().items()
        for level, value in zip(calibrated.LEVELS, values, strict=True)
    ]


def _beyond(known: list[Prefix], others: list[Prefix]) -> list[Row]:
    """What becomes of curves that nothing here was calibrated for."""
    factor, rows = conformal([grade(p) for p in known], LEVEL), []
    for source in BEYOND:
        chosen = [p for p in others if p.source == source]
        rows += _rows(f"{source} (out of scope)", [grade(p) for p in chosen], lambda _: factor, False)
        straight = [float(bend(p.tokens, p.losses) < BENT) for p in chosen]
        rows.append(Share(f"{source} (out of scope)", "refused: not flattening", straight))
    straight = [float(bend(p.tokens, p.losses) < BENT) for p in known]
    return [*rows, Share("all sources, both", "refused: not flattening", straight)]


def _planted(number: int) -> list[Row]:
    """By the shipped factor, every family; and the score of each exponent, a family graded by all others."""
    rng = np.random.default_rng(0)
    curves = {(kind, name): _ends(rng, kind, name, number) for kind in KINDS for name in SPACINGS}
    factor, rows = calibrated.factor("loss", LEVEL), []
    graded = {case: [_grade_planted(EXPONENT, *curve) for curve in found] for case, found in curves.items()}
    for kind in KINDS:
        chosen = [g for case, found in graded.items() if case[0] == kind for g in found]
        rows += _rows(f"planted {kind}", chosen, lambda _: factor, False) + _places(rng, kind, number)
    for exponent in EXPONENTS:
        graded = {case: [_grade_planted(exponent, *curve) for curve in found] for case, found in curves.items()}
        rows.append(Row(f"exponent {exponent:g}", "mean interval score, planted, %", [_interval_score(graded)]))
    return rows


def _places(rng: np.random.Generator, kind: str, number: int) -> list[Row]:
    """Saturation points: how often one is named, whether its interval holds it, whether the status is false."""
    found = located(rng, kind, number, LEVEL)
    named = [(one, place) for one, place in found if one.interval]
    inside = [float(one.interval[0] <= place <= one.interval[1]) for one, place in named if one.interval]
    return [
        Share(f"planted {kind}, saturation", "place named", [float(one.interval is not None) for one, _ in found]),
        Share(f"planted {kind}, saturation", "interval holds", inside),
        Share(f"planted {kind}, saturation", "false status", [float(wrong(one, place)) for one, place in found]),
    ]


def _ends(rng: np.random.Generator, kind: str, spacing: str, number: int) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """(tokens, losses, the loss at the end) of planted curves, all with the noise of an evaluation."""
    n, found = SPACINGS[spacing], []
    for world in worlds(rng, kind, number):
        noise = np.exp(rng.uniform(*np.log(NOISE))) * rng.standard_normal(len(n) + 1)
        found.append((n, world(n) + noise[:-1], float(world(np.array(1.0)) + noise[-1])))
    return found


def _grade_planted(exponent: float, n: np.ndarray, losses: np.ndarray, truth: float) -> Graded:
    mean, spread = estimate_laws(n, losses, exponent).loss(np.array([1.0]))
    return Graded("planted", "first", truth, float(mean[0]) - truth, max(float(spread[0]), 1e-12))


def _interval_score(graded: dict[tuple[str, str], list[Graded]]) -> float:
    """Width plus 2/alpha times what lies outside (Gneiting & Raftery 2007), in percent of the loss."""
    scores = []
    for (kind, spacing), chosen in graded.items():
        rest = [g for (k, s), found in graded.items() if k != kind and s != spacing for g in found]
        factor = np.quantile([g.score for g in rest], LEVEL)
        outside = [max(abs(g.error) - factor * g.spread, 0) for g in chosen]
        inside = [2 * factor * g.spread for g in chosen]
        each = [(i + 2 / (1 - LEVEL) * o) / g.level for i, o, g in zip(inside, outside, chosen, strict=True)]
        scores.append(100 * np.mean(each))
    return float(np.mean(scores))
