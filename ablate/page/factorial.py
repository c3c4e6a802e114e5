"""The verdict of a study of factors: what each does, averaged over the settings of the others.

Every seed is a whole block of N arms, and within it the arms on and off share all that a seed gives.
So the effect of a factor in a seed is one contrast, in which the seed cancels,

    effect = mean of the N / 2 arms with it - mean of the N / 2 without        (variance 4 s^2 / N, if the
                                                                               noise of each run is its own)
and the effects over seeds are paired differences like those of arms: `paired` gives interval, word
and Holm's family, which is the factors. Interactions are contrasts too: half of what one factor does more
where the other is on. They are shown with all that shares their contrast, at the level of a single
comparison, without a word.

    results = effects(read(study_record("outputs", "screen_sweep")))
    results.mains[0].name, results.mains[0].word        'muon', 'better'

With one seed there is no replicate. Which factors stand out from the other contrasts is noted (Lenth's method,
`contrasts`), but no word is given: contrasts differ in how they vary with the seed, 25-fold among those of seven
techniques on a tiny model, so that the others do not tell what a second seed would show.

A run that diverged breaks the balance. Its block is then fitted by least squares to main effects, which
two-factor interactions can lean on; and since it is missing for what it was, a factor that was on in it is
not called better, one that was off not worse, and none equivalent.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from rich.table import Table
from rich.text import Text

from ablate.fraction import Fraction, fraction, product
from ablate.page.table import COLOURS
from ablate.verdict.evidence import Evidence
from ablate.verdict.statistics.contrasts import contrasts, critical, levels, main_effects, pseudo_error
from ablate.verdict.statistics.paired import Interval, Judgement, Word, detectable, interval, judge

Block = tuple[np.ndarray, np.ndarray]  # signs [arm, factor] and final values [arm] of one seed
SHOWN = 8  # interactions in a table


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One factor, or interaction. Bits per byte; below 0 the factor helps."""

    name: str
    aliases: tuple[str, ...]  # `-b x c`: what its contrast holds too, among factors and pairs
    by_seed: dict[int, float]
    mean: float  # nan without a seed
    interval: Interval
    mde: float  # infinite without two seeds


@dataclass(frozen=True, kw_only=True)
class Main(Effect):
    """The verdict on a factor. `judgement` is that of paired seeds; with one seed, None."""

    judgement: Judgement | None
    word: Word
    notes: tuple[str, ...]

    @property
    def p_adjusted(self) -> float:
        return self.judgement.p_adjusted if self.judgement else math.nan


@dataclass(frozen=True, kw_only=True)
class Effects:
    """All that a study of factors shows, for tables and pages."""

    metric: str
    design: Fraction
    seeds: tuple[int, ...]  # those used
    mains: tuple[Main, ...]
    interactions: tuple[Effect, ...]  # exploratory
    run_sd: float  # of one run about its block and the effects of all contrasts; nan with one seed
    margin: float
    confidence: float
    provisional: bool
    notes: tuple[str, ...]  # on the whole study


def is_factorial(declaration: dict[str, Any]) -> bool:
    """Whether a study declared factors."""
    return bool(declaration.get("factors"))


def effects(evidence: Evidence) -> Effects:
    """The effect of every factor declared, and the interactions that are not a factor's alias."""
    declared = evidence.declaration
    design = fraction(tuple(declared["factors"]), declared["num_arms"], declared["resolution"])
    blocks = {seed: block for seed in declared["seeds"] if (block := _block(evidence, design, seed)) is not None}
    lost = _lost(evidence, blocks)
    mains = _mains(design, blocks, declared, lost)
    unknown = [run for run in evidence.runs if not run.done]
    return Effects(
        metric=evidence.metric,
        design=design,
        seeds=tuple(blocks),
        mains=mains,
        interactions=_interactions(design, blocks, 1 - declared["confidence"]) if not lost else (),
        run_sd=_run_sd(blocks, design) if not lost else math.nan,
        margin=declared["margin"],
        confidence=declared["confidence"],
        provisional=bool(unknown),
        notes=tuple(_notes(evidence, blocks, lost, design)),
    )


def _block(evidence: Evidence, design: Fraction, seed: int) -> Block | None:
    """Signs [arm, factor] and finals of a seed; None unless all of its runs are done and enough finished."""
    arms = [evidence.base, *("+".join(on) for on in design.arms)]
    if any(not evidence.by_arm[arm][seed].done for arm in arms):
        return None
    finals = {arm: evidence.finals(arm, evidence.metric).get(seed) for arm in arms}
    kept = [arm for arm in arms if finals[arm] is not None]
    signs = np.array([levels(arm, evidence.base, design.factors) for arm in kept]).reshape(len(kept), -1)
    if np.linalg.matrix_rank(np.column_stack([np.ones(len(kept)), signs])) <= len(design.factors):
        return None
    return signs, np.array([finals[arm] for arm in kept])


def _mains(
    design: Fraction, blocks: dict[int, Block], declared: dict[str, Any], lost: dict[str, list[str]]
) -> tuple[Main, ...]:
    found = {seed: main_effects(*block) for seed, block in blocks.items()}
    by_seed = {name: {seed: d[i] for seed, d in found.items()} for i, name in enumerate(design.factors)}
    if len(blocks) == 1 and not lost:
        return _lenth(design, next(iter(blocks.values())), by_seed, 1 - declared["confidence"])
    judged = judge({name: list(d.values()) for name, d in by_seed.items()}, declared["margin"], declared["confidence"])
    return tuple(
        Main(
            name=name,
            aliases=design.aliases((name,)),
            by_seed=by_seed[name],
            mean=judged[name].mean,
            interval=judged[name].interval,
            mde=judged[name].mde,
            judgement=judged[name],
            word=allowed(judged[name].word, [name in arm.split("+") for arm in lost]),
            notes=tuple(_limits(judged[name].word, [name in arm.split("+") for arm in lost])),
        )
        for name in design.factors
    )


def allowed(word: Word, on: list[bool]) -> Word:
    """The word that is left once runs were lost in arms that had the factor on, or off.

    A run that diverged was bad: leaving it out flatters the side that it was on.
    """
    flattered = {"better"} if any(on) else set()
    flattered |= {"worse"} if not all(on) else set()
    return "inconclusive" if on and word in flattered | {"equivalent"} else word


def _limits(word: Word, on: list[bool]) -> list[str]:
    return ["runs that diverged leave no word"] if allowed(word, on) != word else []


def _interactions(design: Fraction, blocks: dict[int, Block], alpha: float) -> tuple[Effect, ...]:
    found = []
    for (a, b), *_ in design.pairs:
        i, j = design.factors.index(a), design.factors.index(b)
        by_seed = {seed: _contrast(signs[:, i] * signs[:, j], y) for seed, (signs, y) in blocks.items()}
        d = list(by_seed.values())
        found.append(
            Effect(
                name=product((a, b)),
                aliases=design.aliases((a, b)),
                by_seed=by_seed,
                mean=float(np.mean(d)) if d else math.nan,
                interval=interval(d, alpha),
                mde=detectable(d, alpha / len(design.pairs)),
            )
        )
    return tuple(found)


def _contrast(sign: np.ndarray, finals: np.ndarray) -> float:
    return float(2 * np.mean(sign * finals))


def _run_sd(blocks: dict[int, Block], design: Fraction) -> float:
    """From the spread over seeds of all contrasts, which have the variance 4 s^2 / N each."""
    if len(blocks) < 2:
        return math.nan
    values = np.array([contrasts(design, *block) for block in blocks.values()])
    return float(np.sqrt(values.var(axis=0, ddof=1).mean() * design.num_arms) / 2)


def _lenth(design: Fraction, block: Block, by_seed: dict[str, dict[int, float]], alpha: float) -> tuple[Main, ...]:
    """Of a single seed: intervals by the other contrasts, and no word."""
    values = contrasts(design, *block)
    half = critical(len(values), len(design.factors), alpha) * float(pseudo_error(values[None])[0])
    mains = []
    for name in design.factors:
        mean = next(iter(by_seed[name].values()))
        stands = "stands out from" if abs(mean) > half else "is within the spread of"
        mains.append(
            Main(
                name=name,
                aliases=design.aliases((name,)),
                by_seed=by_seed[name],
                mean=mean,
                interval=(mean - half, mean + half),
                mde=math.inf,
                judgement=None,
                word="inconclusive",
                notes=(f"one seed: {stands} the other contrasts",),
            )
        )
    return tuple(mains)


def _lost(evidence: Evidence, blocks: dict[int, Block]) -> dict[str, list[str]]:
    """Arms that lost a run of the blocks used, with what became of it."""
    names = [evidence.base, *evidence.arms]
    found = {arm: [run.outcome for s, run in evidence.by_arm[arm].items() if s in blocks] for arm in names}
    lost = {arm: [outcome for outcome in outcomes if outcome != "finished"] for arm, outcomes in found.items()}
    return {arm: outcomes for arm, outcomes in lost.items() if outcomes}


def _notes(evidence: Evidence, blocks: dict[int, Block], lost: dict[str, list[str]], design: Fraction) -> list[str]:
    notes = []
    if absent := [seed for seed in evidence.declaration["seeds"] if seed not in blocks]:
        notes.append(f"seeds {', '.join(map(str, absent))} left out: their blocks are not whole")
    if lost:
        runs = Counter(outcome for outcomes in lost.values() for outcome in outcomes)
        told = ", ".join(f"{count} runs {outcome}" for outcome, count in runs.items())
        notes.append(f"{told} ({', '.join(lost)}): least squares on the rest; effects lean on interactions")
    if design.resolution == 3:
        notes.append("resolution III: an effect may be that of the pairs named beside it")
    return notes


def sentence(results: Effects) -> str:
    """The verdict in one plain sentence; names stand between backticks."""
    words = Counter(main.word for main in results.mains)
    so_far = "So far: " if results.provisional else ""
    tally = ", ".join(f"{words[word]} {word}" for word in get_args(Word) if words[word])
    found = [main for main in results.mains if main.word in ("better", "worse")]
    if not found:
        return f"{so_far}No factor is shown to help or to harm (of {len(results.mains)} factors: {tally})."
    best = min(found, key=lambda main: (main.word != "better", -abs(main.mean)))
    near, far = sorted(abs(end) for end in best.interval)
    size = f"{abs(best.mean):.4f} bits per byte [{near:.4f}, {far:.4f}], averaged over the others"
    return f"{so_far}With `{best.name}` it is {best.word} by {size} (of {len(results.mains)} factors: {tally})."


def table(results: Effects) -> Table:
    """The verdicts for a terminal, one row a factor; then interactions that one comparison would call real."""
    out = Table(box=None, pad_edge=False, header_style="dim")
    out.add_column("factor", overflow="fold")
    for name in ("on - off", "p adj.", "detectable"):
        out.add_column(name, justify="right", no_wrap=True)
    out.add_column("verdict", overflow="fold")
    for main in results.mains:
        word = Text("\n".join([main.word, *main.notes]))
        word.stylize(COLOURS[main.word], 0, len(main.word))
        out.add_row(*_cells(main, "bold"), word)
    for effect in [effect for effect in results.interactions if not effect.interval[0] <= 0 <= effect.interval[1]][
        :SHOWN
    ]:
        out.add_row(*_cells(effect, "dim"), Text("exploratory", style="dim"))
    return out


def _cells(effect: Effect, style: str) -> list[Text]:
    name = Text("\n".join([effect.name, *effect.aliases]))
    name.stylize(style, 0, len(effect.name))
    p = effect.p_adjusted if isinstance(effect, Main) else math.nan
    low, high = effect.interval
    mean = f"{effect.mean:+.4f}\n[{low:+.4f}, {high:+.4f}]" if effect.by_seed else "–"
    mde = f"{effect.mde:.4f}\n{len(effect.by_seed)} seeds" if math.isfinite(effect.mde) else "–"
    return [name, Text(mean), Text("–" if math.isnan(p) else f"{p:.2g}"), Text(mde)]


def remarks(results: Effects) -> list[str]:
    """What a reader needs beside the table: the design, its noise, and what limits it."""
    design = results.design
    shape = f"{len(design.factors)} factors in {design.num_arms} arms, resolution {design.resolution}"
    noise = "" if math.isnan(results.run_sd) else f"; one run is known to {results.run_sd:.4f} bits per byte"
    return [f"{shape}: every effect is measured on all arms of {len(results.seeds)} seeds{noise}", *results.notes]
