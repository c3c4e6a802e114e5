"""What a run is and where it runs: the dataclasses that every configuration must fit.

Hydra composes plain data; `ablate.run.parse` pours it into these classes and refuses, in one line that
names the key, whatever does not fit: types and ranges as they stand here, the rest in `ablate.run.checks`.
Which mixers, shapes, sources and optimizers there are, say the rooms that have them (`ablate.fit.parts`).

    what    all but where and study: hashed into the run's id (`ablate.run.identity`)
    where   the group `where` and what is marked NOT_HASHED (paths, say): only recorded
    study   which runs are compared, and how: hashed into the study's id, not the run's

The default of a key is what a run without that key does: it never changes, since a key that has its default
is left out of the id (unless it is as old as the first runs). What new runs do is said in conf/.

A moment of the run (`start`, `warmup`, `decay`) is a fraction of all steps when it is at most 1,
otherwise a count of optimizer steps; `steps.steps_of` converts.
"""

import dataclasses
import math
from typing import Annotated, Any, Literal

from pydantic import Field

from ablate.run.compress import Compress
from ablate.run.corpus import Prepare, Processing
from ablate.run.distill import Distill
from ablate.run.evaluate import Evaluate
from ablate.run.fields import (
    Count,
    FileName,
    Fraction,
    Mark,
    Moment,
    Moves,
    NonNegative,
    NotNegative,
    Seed,
    Weights,
    strict,
)
from ablate.run.insert import Insert
from ablate.run.mixture import Mixture
from ablate.run.monitor import Monitor
from ablate.run.optimizer import Optimizer
from ablate.run.preference import Preference
from ablate.run.steps import ramp_steps, steps_of
from ablate.run.study import Study
from ablate.run.trouble import Trouble
from ablate.run.where import Where

# What several keys move: streams of a trace, listed in `verdict.validity.streams`
INITIAL = Moves("initial weights", "initial weights of residual matrices", "initial weights of states")
COMPUTED = Moves("architecture", "function", "update")  # what the model computes, and so what its steps do
READ = Moves("rows", "interleaving")  # which rows of which domain a step reads
# How many steps there are, and so where the fractions of a run lie
BUDGET = Moves(*READ, "layout", "rates", "group rates", "shares")


class UserError(ValueError):
    """Something the user can mend; the message is one line that says what and how."""


class SettingsError(UserError):
    """A configuration that cannot be run; the message names the key, the value and what is allowed."""


def require(fits: bool, key: str, value: object, allowed: str) -> None:
    """Raises SettingsError where a value does not fit."""
    if not fits:
        raise SettingsError(f"{key}={value}: must be {allowed}")


@strict
class Data:
    """What text exists: domains of one source, cut by one tokenizer into spans."""

    source: str = (
        "installed"  # where text comes from: installed, folder, hub, shards, or one of yours (`data.text.SOURCES`)
    )
    # Of source=folder and shards: <root>/<domain>/*; its content counts, its path does not
    root: Annotated[str, Mark.NOT_HASHED] = ""
    # The domains of the text: each is one stream of tokens
    domains: list[FileName] = dataclasses.field(default_factory=lambda: ["general", "code", "science", "qa"])
    # What a domain is called in the source, where it has another name there: {italian: general}; for
    # source=hub a dataset, name[:config][#column]
    sources: Annotated[dict[str, str], Mark.NOT_HASHED] = dataclasses.field(default_factory=dict)
    # The domain whose share a study varies; the metric `rest` leaves it out
    focus: Annotated[str, Mark.NOT_HASHED] = "qa"
    # How far text is processed (`corpus.levels.LEVELS`), by domain: {web: 2, math: 3}, and {all: 2} for those that are
    # not named. A domain without a level is as it is read, but has no document twice. What comes of it counts
    level: Annotated[dict[str, int], Mark.NOT_HASHED] = dataclasses.field(default_factory=dict)
    # Columns of rows that hold text, source, url, licence, where they have other names: {text: content}
    columns: Annotated[dict[str, str], Mark.NOT_HASHED] = dataclasses.field(default_factory=dict)
    # Of documents with parts (rows of prompt and response, dialogues), by domain, whose tokens count: answers, all, or
    # roles with a + between them, {chat: user+assistant}. A domain that is not named counts answers
    counts: Annotated[dict[str, str], Mark.NOT_HASHED] = dataclasses.field(default_factory=dict)
    # Of worked questions (installed: qa, chains; rows of prompt, trace and answer), by domain, what is to be learnt:
    # an entry of `corpus.targets.TARGETS`, {qa: trace_then_answer}. A domain that is not named is text as it is
    target: Annotated[dict[str, str], Mark.NOT_HASHED] = dataclasses.field(default_factory=dict)
    # A chat template for dialogues, a file of Jinja as transformers has it; empty: `corpus/chat.jinja`
    template: Annotated[str, Mark.NOT_HASHED] = ""
    # Rows are of prompt, chosen and rejected, for preference and reward: each fills one span (`data.pairs`)
    pairs: Annotated[bool, Mark.NOT_HASHED] = False
    # A prepared text whose tokenizer and held-out documents are this text's too: a folder of outputs/data. A study sets
    # it for arms of other text
    held_out: Annotated[str, Mark.NOT_HASHED] = ""
    # Of source=shards: whether every byte is looked at before the first run, or samples of files that are too large
    verify: Annotated[Literal["full", "sampled"], Mark.NOT_HASHED] = "full"
    vocabulary: Annotated[int, Field(ge=300, le=2**20)] = 2048  # tokens that the tokenizer knows
    # A tokenizer.json to load, a folder that has one, or a model of the hub; empty: train a byte-level BPE of that
    # vocabulary
    tokenizer: Annotated[str, Mark.NOT_HASHED] = ""
    # Tokens of the longest row, and of every validation row; long rows need another kernel
    span: Annotated[int, Field(ge=8, le=2**24), Moves("kernels")] = 1024
    validation: Annotated[float, Field(gt=0, le=0.5)] = 0.05  # share of the sources held out
    domain_bytes: NotNegative = 0  # text kept per domain, in bytes; 0: all of it

    @property
    def names(self) -> dict[str, str]:
        """What each domain is called in the source; domains of one name divide its documents between them."""
        return {domain: self.sources.get(domain, domain) for domain in self.domains}


@strict
class Length:
    """Row length in tokens: `lengths[i]` holds from `starts[i]` on."""

    lengths: list[Count] = dataclasses.field(default_factory=lambda: [1024])  # in tokens; all divide data.span
    starts: list[Moment] = dataclasses.field(default_factory=lambda: [0.0])  # when each length begins; 0 first
    constant: Literal["tokens", "rows"] = "tokens"  # what every step has the same number of


@strict
class Ramp:
    """A batch that grows: `step_tokens` times `multiples[i]` from `starts[i]` on."""

    multiples: list[Count] = dataclasses.field(default_factory=lambda: [1])  # of step_tokens, one a stage
    # A start is a fraction of the run's tokens when it is at most 1, otherwise a count of optimizer steps
    starts: list[Moment] = dataclasses.field(default_factory=lambda: [0.0])


@strict
class Size:
    """The one dial: how large the model is."""

    width: Annotated[int, Field(ge=8, le=2**17), INITIAL] = 128  # model dimension D
    # Layers. With more of them residual matrices begin smaller, and a curriculum has more rates
    depth: Annotated[
        int, Field(ge=1, le=1024), Moves("initial weights of residual matrices", "decay", "rates", "group rates")
    ] = 4
    heads: Count = 4  # heads of attention, each of width / heads
    kv_heads: Count = 2  # heads of keys and values; a divisor of heads
    hidden: Annotated[int, Field(ge=8, le=2**20)] = 384  # feed-forward width F
    # The numbers above are those of a dense model of attention and SwiGLU, and a model of another architecture gets
    # the widths that give it as many of these; none: they are its own
    match: Annotated[Literal["none", "parameters", "flops", "state"], INITIAL] = "none"


@strict
class Latent:
    """Multi-head latent attention, letter L (DeepSeek-V2, arXiv 2405.04434); a head's width is width / heads."""

    kv_rank: Count = 64  # width of the latent that keys and values are made from
    q_rank: NotNegative = 0  # width of the latent of the queries; 0: none
    rope_width: Annotated[int, Field(ge=2, multiple_of=2)] = 16  # width of the rotary key that all heads share


@strict
class Mamba:
    """Mamba-2, letter M (arXiv 2405.21060); names as in the paper's code."""

    state: Count = 32  # d_state: width of the state of a head
    expand: Count = 2  # inner width / width
    head_width: Count = 32  # headdim: width of a head; divides the inner width
    groups: Count = 1  # ngroups: heads of one group share B and C
    conv: Count = 4  # d_conv: tokens that the convolution sees
    chunk: Count = 64  # rows are worked off in chunks of so many tokens


@strict
class Model:
    """The architecture."""

    # Mixers, one letter a layer, repeated over depth: A attention, L latent attention, M Mamba-2, or one of yours
    # (`model.mixers.MIXERS`)
    pattern: str = "A"
    # Matrices, but embedding and head: ternary (BitNet), or rounded to what `compress` stores, with straight-through
    linear: Annotated[
        Literal["dense", "ternary", "int8", "int4", "int3", "int2", "fp8", "2:4", "2:4-int4"], Moves("eps of norms")
    ] = "dense"
    feed: Literal["swiglu", "relu2"] = "swiglu"  # the feed-forward of every layer
    qk_norm: bool = False  # norm queries and keys of attention
    latent: Latent = dataclasses.field(default_factory=Latent)
    mamba: Annotated[Mamba, Moves("initial weights of states")] = dataclasses.field(default_factory=Mamba)
    # Of a mixer of yours, by its letter: {W: {window: 64}}
    options: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, hash=False)
    norm_eps: Annotated[float, Field(ge=1e-12, le=1e-2), Moves("eps of norms")] = 1e-5  # under RMSNorm's root
    rope_theta: Annotated[float, Field(ge=1, le=1e12), Moves("base of rotation")] = 1e4  # base of rotary positions
    tied: bool = True  # embedding and head are one matrix
    # Standard deviation of matrices and embeddings, times sqrt(width): 0.62 is the usual 0.02 at width
    # 960. One number for all widths; 1 is what Zagreus uses, 0.6 was better in small models here.
    init_scale: Annotated[float, Field(ge=1e-3, le=10), INITIAL] = 0.6


@strict
class Averaging:
    """An average of the weights after every step from `start` on; evaluation and the saved weights are of it."""

    kind: Literal["none", "uniform", "ema"] = "none"  # uniform: their plain mean; ema: exponential
    start: Moment = 0.8  # when the average begins
    decay: Annotated[float, Field(gt=0, le=0.999999)] = 0.99  # of ema: the weight of what was before


@strict
class ScheduleStage:
    """A later stage of the schedule, from `start` on: a schedule of its own, over its own steps."""

    start: Moment = 0.5  # when the stage begins
    peak: NonNegative = 1.0  # times optimizer.lr
    weight_decay: NonNegative = 1.0  # times optimizer.weight_decay
    warmup: Moment = 0.0  # steps of its own in which the rate rises
    decay: Moment = 0.0  # steps of its own in which the rate falls
    shape: str = "linear"  # form of the decay
    final: Fraction = 1.0  # rate of its last step, as a multiple of its peak


@strict
class Schedule:
    """Warmup, plateau, decay. A cosine schedule has no plateau, a constant one no decay.

    Fractions are of the stage's own steps: of all steps when there are no later stages.
    """

    warmup: Moment = 0.05  # steps in which the rate rises to the peak
    decay: Moment = 0.2  # last steps, in which it falls
    shape: str = "linear"  # of the decay: linear, cosine, sqrt, exponential, or one of yours (`plan.schedule.SHAPES`)
    final: Fraction = 0.1  # rate of the last step, as a multiple of the peak
    # Later stages, each a schedule of its own: {second: {start, peak, weight_decay, warmup, decay, shape, final}}
    stages: dict[str, ScheduleStage] = dataclasses.field(default_factory=dict)


@strict
class Evaluation:
    """When and on how much held-out text a run is scored."""

    times: Annotated[int, Field(ge=1, le=100_000)] = (
        10  # evaluations in a run, evenly spaced, the last after the last step
    )
    # Validation rows per domain, each of `data.span` tokens
    spans: Annotated[int, Field(ge=1, le=10**6), Moves("evaluation", "evaluated")] = 4
    # Which set of so many rows: sets 0, 1, ... share no row, as far as the held-out text goes. A gate takes one an idea
    part: Annotated[NotNegative, Moves("evaluation", "evaluated")] = 0


@strict
class Settings:
    """One run, and the study that it belongs to."""

    # Mixtures, lengths and batches all read the same stream of a domain, in other portions: text alone moves it
    data: Annotated[Data, COMPUTED, READ, Moves("text", "evaluation", "windows", "evaluated")] = dataclasses.field(
        default_factory=Data
    )
    mixture: Annotated[Mixture, READ, Mark.PLANNED] = dataclasses.field(default_factory=Mixture)
    length: Annotated[Length, READ, Moves("layout", "kernels"), Mark.PLANNED, Mark.CROSSES_LATE] = dataclasses.field(
        default_factory=Length
    )
    ramp: Annotated[Ramp, BUDGET, Mark.PLANNED, Mark.CROSSES_LATE] = dataclasses.field(default_factory=Ramp)
    size: Annotated[Size, COMPUTED, Moves("kernels", "numbers")] = dataclasses.field(default_factory=Size)
    model: Annotated[Model, COMPUTED, Moves("kernels")] = dataclasses.field(default_factory=Model)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    schedule: Annotated[Schedule, Moves("rates", "group rates"), Mark.PLANNED, Mark.CROSSES_LATE] = dataclasses.field(
        default_factory=Schedule
    )
    averaging: Annotated[Averaging, Moves("shares"), Mark.PLANNED, Mark.CROSSES_LATE] = dataclasses.field(
        default_factory=Averaging
    )
    evaluation: Annotated[Evaluation, Mark.PLANNED] = dataclasses.field(default_factory=Evaluation)
    # Where the first weights come from: none (drawn from the seed), run:<id> or folder:<path>. The text is then cut by
    # the tokenizer of the parent
    start: Annotated[str, INITIAL, READ, Moves("text", "evaluation", "windows", "evaluated", "function", "update")] = (
        "none"
    )
    # Of the whole run, rounded down to whole steps. 0, with a start: nothing is trained, and the weights of the start
    # are scored as they are, or as `compress` makes them
    tokens: Annotated[NotNegative, BUDGET, Mark.PLANNED] = 300_000
    # Per optimizer step, all devices together, before the ramp
    step_tokens: Annotated[int, Field(ge=1, le=2**32), BUDGET, Mark.PLANNED] = 1024
    # How a batch becomes a loss: an entry of `fit.objectives.OBJECTIVES`. Which targets of a row count is told with it
    objective: Annotated[str, Moves("rows", "function", "update")] = "next_token"
    distill: Annotated[Distill, Moves("function", "update")] = dataclasses.field(default_factory=Distill)
    preference: Annotated[Preference, Moves("function", "update")] = dataclasses.field(default_factory=Preference)
    compress: Annotated[Compress, INITIAL, COMPUTED] = dataclasses.field(default_factory=Compress)
    monitor: Annotated[Monitor, Moves("update")] = dataclasses.field(default_factory=Monitor)
    trouble: Annotated[Trouble, Moves("rows", "windows", "rates", "group rates")] = dataclasses.field(
        default_factory=Trouble
    )
    insert: Annotated[Insert, Moves("rows", "windows")] = dataclasses.field(default_factory=Insert)
    # Types of the forward pass; weights and moments stay float32. bf16: what blocks hand on is bfloat16, too
    precision: Annotated[
        Literal["fp32", "bf16-mixed", "bf16"], Moves("types", "types of the optimizer", "function", "update")
    ] = "fp32"
    # Of the initial weights and of the order of rows: runs of one seed are compared in pairs
    seed: Annotated[Seed, INITIAL, READ, Moves("windows", "function", "update", "twin")] = 0
    corpus: Annotated[Processing, Mark.NOT_HASHED] = dataclasses.field(default_factory=Processing)
    prepare: Annotated[Prepare, Mark.NOT_HASHED] = dataclasses.field(default_factory=Prepare)
    evaluate: Annotated[Evaluate, Mark.NOT_HASHED] = dataclasses.field(default_factory=Evaluate)
    where: Annotated[Where, Mark.NOT_HASHED] = dataclasses.field(default_factory=Where)
    study: Annotated[Study, Mark.NOT_HASHED] = dataclasses.field(default_factory=Study)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        if not self.tokens:
            return 0
        return sum(ramp_steps(self.ramp.multiples, self.ramp.starts, self.tokens, self.step_tokens))

    @property
    def mixture_stages(self) -> list[tuple[Moment, Weights]]:
        """(start, weights over all domains, summing to 1) of each stage of the mixture, by start."""
        first = self.mixture.weights or dict.fromkeys(self.data.domains, 1.0)
        if self.mixture.share is not None:
            first = _with_share(first, self.data, self.mixture.share)
        later = sorted(
            ((s.start, s.weights) for s in self.mixture.stages.values()), key=lambda s: steps_of(s[0], self.steps)
        )
        return [(start, _normalised(weights, self.data.domains)) for start, weights in [(0.0, first), *later]]


def _with_share(weights: Weights, data: Data, share: float) -> Weights:
    """`weights` with `share` of the whole for `data.focus`, the others in their old proportions."""
    rest = {domain: weight for domain, weight in weights.items() if domain != data.focus}
    total = math.fsum(rest.values())
    return {data.focus: share} | {domain: weight / total * (1 - share) for domain, weight in rest.items()}


def _normalised(weights: Weights, domains: list[str]) -> Weights:
    # 12 digits and a sum that does not depend on the order: 1:1:2 and .25:.25:.5 have the same identity
    total = math.fsum(weights.values())
    return {domain: round(weights.get(domain, 0.0) / total, 12) for domain in domains}
