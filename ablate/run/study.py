"""Which runs are compared, how, and when it is known enough: what a study declares before its first run."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from ablate.run.fields import FileName, Label, NonNegative, NotNegative, Positive, Seed, strict


@strict
class Budget:
    """When a study stops spending on an arm before its seeds are used up (`verdict.race`).

    verdicts: once its verdict against the base is decided, or cannot become `better` any more.
    best: also once it cannot be the best arm; one that is better goes on as long as another may be best.
    search: of mixtures also in the first seed block, where most arms are stopped or never start (`laws.search`).
    """

    race: Literal["none", "verdicts", "best", "search"] = "none"  # which arms are stopped early
    # Whole seed blocks after which arms are judged; those beyond the study's seeds fall away, the last seed is one
    looks: list[Annotated[int, Field(ge=2)]] = dataclasses.field(default_factory=lambda: [2, 3, 5, 8])
    keep: Annotated[float, Field(gt=0.5, lt=1)] = 0.95  # probability that the best arm stays in the race
    futility: Annotated[float, Field(ge=0, lt=0.5)] = 0.05  # an arm as unlikely to become better is given up; 0: never
    # race=search alone: the part of the first seed block's training that may be spent, the base's run among it
    spend: Annotated[float, Field(gt=0, le=1)] = 0.45
    at_once: Annotated[int, Field(ge=1, le=4096)] = 4  # race=search alone: arms in training at a time
    noise: NonNegative = 0.0  # standard deviation of a paired difference known beforehand, in the metric's unit
    noise_df: NonNegative = 0.0  # the degrees of freedom that it is worth; 0: as earlier studies tell (`sweep.wave`)


@strict
class Controls:
    """Runs beside the arms whose outcome is known before the study (`sweep.controls`); 0, 0 and []: none."""

    null_seeds: NotNegative = 1  # of the first seeds: there the base is trained twice, to the same bits
    aa_seeds: Annotated[int, Field(ge=0, le=1000)] = 0  # further seeds of the base
    # Overrides of the base with an effect known in sign, key*=number multiplies; trained on the seeds of the arms,
    # unless every arm is found to differ
    positive: list[str] = dataclasses.field(default_factory=lambda: ["tokens*=0.75"])
    expected: Literal["worse", "better"] = "worse"  # what `positive` is


@strict
class Ladder:
    """The study again at several sizes and rates, each a study of its own (`run.rungs`); no sizes, one rate: none."""

    sizes: list[FileName] = dataclasses.field(default_factory=list)  # of conf/size, from small to large
    tokens_per_parameter: NonNegative = 0.0  # of the base; 0: the study's tokens at every size
    rates: list[Positive] = dataclasses.field(default_factory=lambda: [1.0])  # times optimizer.lr; 1 is one of them
    # Parameters at which effects are foretold; 0: ten times those of the largest size
    target: NotNegative = 0


Overrides = list[str] | dict[str, list[str]]


@strict
class Study:
    """A contrast, declared before its first run: arms are overrides of the base, factor the keys they may change."""

    # Of the folder in outputs/studies; empty: a single run, or a sweep that gets a name of its own
    name: FileName | Literal[""] = ""
    question: str = ""  # what the study asks
    hypothesis: str = ""  # what is expected, and why
    base: Label = "base"  # what the unchanged configuration is called
    factor: list[str] = dataclasses.field(default_factory=list)  # keys or groups that arms may change
    # Overrides of each arm by its name: {fast: ["optimizer.lr=6e-3"]}; with phases, by phase: {fast: {tune: [...]}}
    arms: dict[Label, Overrides] = dataclasses.field(default_factory=dict)
    # Further arms, every combination of one level a factor: {length: {fixed: [], grow: [length=grow]}, ...};
    # levels without overrides are those of the base
    grid: dict[Label, dict[Label, Overrides]] = dataclasses.field(default_factory=dict)
    # Overrides of each phase of every arm, in order: a phase begins with the weights that the one before ended with
    phases: dict[FileName, list[str]] = dataclasses.field(default_factory=dict)
    judge: str = ""  # the phase whose runs are compared; empty: the last one. No phase after it is trained
    seeds: list[Seed] = dataclasses.field(default_factory=lambda: [0, 1, 2])  # every arm is trained on each
    # By seed, steps that all its runs leave out, beside those of monitor.skip: {0: [120-140]}. Where arms left out
    # other steps than the base, ablate report says what to put here
    skips: dict[Seed, list[str]] = dataclasses.field(default_factory=dict)
    metric: str = "macro"  # macro, micro, rest (macro without data.focus), a domain, or one of `scores.metrics`
    margin: Positive = 0.01  # in the metric's unit; smaller differences do not matter
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95  # of intervals and verdicts
    budget: Budget = dataclasses.field(default_factory=Budget)
    ladder: Ladder = dataclasses.field(default_factory=Ladder)
    controls: Controls = dataclasses.field(default_factory=Controls)
