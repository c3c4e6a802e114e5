"""What a run is and where it runs: the dataclasses that every configuration must fit.

Hydra composes plain data; `ablate.run.parse` pours it into these classes and refuses, in one line that
names the key, whatever does not fit: types and ranges as they stand here, the rest in `ablate.run.checks`.

    what    data, mixture, length, ramp, size, model, optimizer, schedule, averaging, evaluation,
            tokens, step_tokens, precision, seed: hashed into the run's id (`ablate.run.identity`)
    where   the group `where` and the keys of NOT_HASHED (paths, say): only recorded
    study   which runs are compared, and how: hashed into the study's id, not the run's

A moment of the run (`start`, `warmup`, `decay`) is a fraction of all steps when it is at most 1,
otherwise a count of optimizer steps; `moments.steps_of` converts.
"""

import dataclasses
import math
from typing import Annotated, Literal

from pydantic import Field

from ablate.run.fields import Count, Fraction, Moment, NonNegative, Positive, Weights, strict
from ablate.run.steps import ramp_steps, steps_of
from ablate.run.study import Study
from ablate.run.where import Where

NOT_HASHED = ("where", "study", "data.root", "data.sources", "data.tokenizer", "data.focus")


class UserError(ValueError):
    """Something the user can mend; the message is one line that says what and how."""


class OutOfMemory(UserError):
    """A run needed more memory than there was; beside fewer others it may fit."""


class SettingsError(UserError):
    """A configuration that cannot be run; the message names the key, the value and what is allowed."""


@strict
class Data:
    """What text exists: domains of one source, cut by one tokenizer into spans."""

    source: Literal["installed", "folder", "hub"] = "installed"
    root: str = ""  # of source=folder: <root>/<domain>/*; its content counts, its path does not
    domains: list[str] = dataclasses.field(default_factory=lambda: ["general", "code", "science", "qa"])
    # What a domain is called in the source, where it has another name there: {italian: general}; for
    # source=hub a dataset, name[:config][#column]
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    focus: str = "qa"  # the domain whose share a study varies; the metric `rest` leaves it out
    vocabulary: Annotated[int, Field(ge=300, lt=2**31)] = 2048
    tokenizer: str = ""  # a tokenizer.json to load; empty: train a byte-level BPE of that vocabulary
    span: Annotated[int, Field(ge=8)] = 1024  # tokens: the longest row, and every validation row
    validation: Annotated[float, Field(gt=0, le=0.5)] = 0.05  # share of the sources held out
    domain_bytes: Annotated[int, Field(ge=0)] = 0  # text kept per domain, in bytes; 0: all of it

    @property
    def names(self) -> dict[str, str]:
        """What each domain is called in the source; domains of one name divide its documents between them."""
        return {domain: self.sources.get(domain, domain) for domain in self.domains}


@strict
class Stage:
    """A later stage of the mixture, from `start` on."""

    start: Moment = 0.5
    weights: Weights = dataclasses.field(default_factory=dict)


@strict
class Mixture:
    """How the domains are combined: weights from the first step on, then later stages.

    Without weights all domains count alike. `share` sets the weight of `data.focus` in the first
    stage and scales the other domains to fill the rest.
    """

    weights: Weights = dataclasses.field(default_factory=dict)
    share: Fraction | None = None
    stages: dict[str, Stage] = dataclasses.field(default_factory=dict)
    block: Annotated[int, Field(ge=1, le=2**16)] = 64  # rows with exact counts per domain; a power of two


@strict
class Length:
    """Row length in tokens: `lengths[i]` holds from `starts[i]` on; all divide `data.span`."""

    lengths: list[Count] = dataclasses.field(default_factory=lambda: [1024])
    starts: list[Moment] = dataclasses.field(default_factory=lambda: [0.0])
    constant: Literal["tokens", "rows"] = "tokens"  # what every step has the same number of


@strict
class Ramp:
    """A batch that grows: `step_tokens` times `multiples[i]` from `starts[i]` on.

    A start is a fraction of the run's tokens when it is at most 1, otherwise a count of optimizer steps.
    """

    multiples: list[Count] = dataclasses.field(default_factory=lambda: [1])
    starts: list[Moment] = dataclasses.field(default_factory=lambda: [0.0])


@strict
class Size:
    """The one dial. width: model dimension D; depth: layers; hidden: feed-forward width F.

    With `match` these are the numbers of a dense model of attention and SwiGLU, and a model of another
    architecture gets the widths that give it as many parameters, training FLOPs or bytes of state.
    """

    width: Annotated[int, Field(ge=8)] = 128
    depth: Count = 4
    heads: Count = 4
    kv_heads: Count = 2
    hidden: Annotated[int, Field(ge=8)] = 384
    match: Literal["none", "parameters", "flops", "state"] = "none"


@strict
class Latent:
    """Multi-head latent attention, letter L (DeepSeek-V2, arXiv 2405.04434); a head's width is width / heads."""

    kv_rank: Count = 64  # of the latent that keys and values are made from
    q_rank: Annotated[int, Field(ge=0)] = 0  # of the latent of the queries; 0: none
    rope_width: Annotated[int, Field(ge=2, multiple_of=2)] = 16  # of the rotary key that all heads share


@strict
class Mamba:
    """Mamba-2, letter M (arXiv 2405.21060); names as in the paper's code."""

    state: Count = 32  # d_state
    expand: Count = 2  # inner width / width
    head_width: Count = 32  # headdim; divides the inner width
    groups: Count = 1  # ngroups
    conv: Count = 4  # d_conv
    chunk: Count = 64  # rows are worked off in chunks of so many tokens


@strict
class Model:
    """The architecture. `pattern` is repeated over depth, one letter a layer (`model.language.MIXERS`)."""

    pattern: str = "A"
    linear: Literal["dense", "ternary"] = "dense"  # all but embedding and head
    feed: Literal["swiglu", "relu2"] = "swiglu"
    qk_norm: bool = False
    latent: Latent = dataclasses.field(default_factory=Latent)
    mamba: Mamba = dataclasses.field(default_factory=Mamba)
    norm_eps: Annotated[float, Field(gt=0, le=1e-2)] = 1e-5
    rope_theta: Positive = 10_000.0
    tied: bool = True
    # Standard deviation of matrices and embeddings, times sqrt(width): 0.62 is the usual 0.02 at width
    # 960. One number for all widths; 1 is what Zagreus uses, 0.6 was better in small models here.
    init_scale: Annotated[float, Field(gt=0, le=10)] = 0.6


@strict
class LeRaC:
    """Learning rate curriculum over layers (arXiv 2205.09180): all meet the common rate at `until`.

    Before, the factor of the rate falls geometrically from 1 at the embedding to `lowest` at the head.
    """

    lowest: Annotated[float, Field(gt=0, le=1)] = 1.0  # 1: no curriculum
    until: Moment = 0.1


@strict
class Optimizer:
    """adamw8bit keeps its two moments in 8 bits; muon takes the matrices of the blocks, adamw the rest."""

    name: Literal["adamw", "adamw8bit", "muon"] = "adamw"
    lr: NonNegative = 3e-3  # the peak; `schedule` gives its multiple at each step
    weight_decay: NonNegative = 0.1
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    eps: Positive = 1e-8
    clip: NonNegative = 1.0  # largest gradient norm; 0: no clipping
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95  # of muon
    lerac: LeRaC = dataclasses.field(default_factory=LeRaC)


@strict
class Averaging:
    """An average of the weights after every step from `start` on; evaluation and the saved weights are of it.

    uniform: their plain mean; ema: exponential, `decay` the weight of what was before.
    """

    kind: Literal["none", "uniform", "ema"] = "none"
    start: Moment = 0.8
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.99


Shape = Literal["linear", "cosine", "sqrt", "exponential"]


@strict
class Rewarm:
    """A later stage of the schedule, from `start` on: a schedule of its own, over its own steps."""

    start: Moment = 0.5
    peak: NonNegative = 1.0  # times optimizer.lr
    weight_decay: NonNegative = 1.0  # times optimizer.weight_decay
    warmup: Moment = 0.0
    decay: Moment = 0.0
    shape: Shape = "linear"
    final: Fraction = 1.0


@strict
class Schedule:
    """Warmup, plateau, decay. A cosine schedule has no plateau, a constant one no decay.

    Fractions are of the stage's own steps: of all steps when there are no later stages.
    """

    warmup: Moment = 0.05
    decay: Moment = 0.2
    shape: Shape = "linear"
    final: Fraction = 0.1  # rate of the last step, as a multiple of the peak
    stages: dict[str, Rewarm] = dataclasses.field(default_factory=dict)


@strict
class Evaluation:
    times: Count = 10  # evaluations in a run, evenly spaced, the last after the last step
    spans: Count = 4  # validation rows per domain, each of `data.span` tokens


@strict
class Settings:
    """One run, and the study that it belongs to."""

    data: Data = dataclasses.field(default_factory=Data)
    mixture: Mixture = dataclasses.field(default_factory=Mixture)
    length: Length = dataclasses.field(default_factory=Length)
    ramp: Ramp = dataclasses.field(default_factory=Ramp)
    size: Size = dataclasses.field(default_factory=Size)
    model: Model = dataclasses.field(default_factory=Model)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    schedule: Schedule = dataclasses.field(default_factory=Schedule)
    averaging: Averaging = dataclasses.field(default_factory=Averaging)
    evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)
    tokens: Count = 300_000  # of the whole run, rounded down to whole steps
    step_tokens: Count = 1024  # per optimizer step, all devices together, before the ramp
    precision: Literal["fp32", "bf16-mixed"] = "fp32"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    where: Where = dataclasses.field(default_factory=Where)
    study: Study = dataclasses.field(default_factory=Study)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
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
