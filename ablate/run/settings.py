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

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from ablate.run import checks
from ablate.run.steps import ramp_steps, steps_of

NOT_HASHED = ("where", "study", "data.root", "data.sources", "data.tokenizer", "data.focus")

strict = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))

Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Moment = NonNegative
Weights = dict[str, float]


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
class Slurm:
    """What a run asks of a Slurm cluster; empty or 0: what the cluster gives by default."""

    partition: str = ""
    account: str = ""
    minutes: Count = 60  # time limit of one try; a run that needs more is requeued and resumes
    cpus: Annotated[int, Field(ge=0)] = 0  # per process
    gpus: Annotated[int, Field(ge=0)] = 0  # per node
    memory_gb: Annotated[int, Field(ge=0)] = 0  # per node
    at_once: Annotated[int, Field(ge=0)] = 0  # tasks of one array that run together
    options: dict[str, str] = dataclasses.field(default_factory=dict)  # further ones of sbatch


@strict
class Where:
    """Where and how a run is carried out: recorded, never part of what the run is."""

    outputs: Annotated[str, Field(min_length=1)] = "outputs"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    strategy: Literal["single", "ddp", "fsdp", "zero1", "zero2", "zero3"] = "single"
    devices: Count = 1  # processes per node
    nodes: Count = 1
    micro_tokens: Count = 16_384  # tokens per forward pass and device; a larger step is accumulated
    data_workers: Annotated[int, Field(ge=0)] = 0
    executor: Literal["local", "slurm"] = "local"  # who carries out the runs of a sweep
    workers: Annotated[int, Field(ge=0)] = 0  # runs trained at once in a sweep; 0: as many as the GPUs or cores hold
    runs_per_device: Count = 1  # runs of a sweep that share one GPU
    stall_minutes: NonNegative = (
        0.0  # without a step, after which a run is hung (the first may take thrice that); 0: never
    )
    trunks: bool = True  # equal beginnings of runs are trained once
    threads: Annotated[int, Field(ge=0)] = 1  # per process; 0: all cores
    compile: bool = False
    recompute: bool = False  # gradient checkpointing: blocks are computed anew in the backward pass
    deterministic: bool = True
    saves: Count = 8  # checkpoints in a run, evenly spaced
    retries: Annotated[int, Field(ge=0)] = 1  # further tries of a run that was killed, hung or out of memory
    wandb: Literal["online", "offline", "off"] = "offline"
    wandb_project: str = "ablate"
    progress: bool = True
    profile: Literal["off", "simple", "pytorch"] = "off"  # written to the run's folder
    peak_tflops: NonNegative = 0.0  # of the device, for MFU; 0: measured
    dry_run: bool = False  # print the plan of the study and stop
    slurm: Slurm = dataclasses.field(default_factory=Slurm)
    arm: str = ""  # of the study; set by the launcher
    replicate: Annotated[int, Field(ge=0)] = 0  # above 0: the same run once more, in a folder of its own, alone


@strict
class Budget:
    """When a study stops spending on an arm before its seeds are used up (`verdict.race`).

    verdicts: once its verdict against the base is decided, or cannot become `better` any more.
    best: also once it cannot be the best arm; one that is better goes on as long as another may be best.
    """

    race: Literal["none", "verdicts", "best"] = "none"
    # Whole seed blocks after which arms are judged; those beyond the study's seeds fall away, the last seed is one
    looks: list[Annotated[int, Field(ge=2)]] = dataclasses.field(default_factory=lambda: [2, 3, 5, 8])
    keep: Annotated[float, Field(gt=0.5, lt=1)] = 0.95  # probability that the best arm stays in the race
    futility: Annotated[float, Field(ge=0, lt=0.5)] = 0.05  # an arm as unlikely to become better is given up; 0: never
    # Parts of a run after which arms may leave within the first seed block; for race=best alone
    rungs: list[Annotated[float, Field(gt=0, lt=1)]] = dataclasses.field(default_factory=list)
    noise: NonNegative = 0.0  # standard deviation of a paired difference known beforehand, bits per byte
    noise_df: NonNegative = 0.0  # the degrees of freedom that it is worth; 0: as earlier studies tell (`sweep.prior`)


@strict
class Controls:
    """Runs beside the arms whose outcome is known before the study (`sweep.controls`); 0, 0 and []: none."""

    null_seeds: Annotated[int, Field(ge=0)] = 1  # of the first seeds: there the base is trained twice, to the same bits
    aa_seeds: Annotated[int, Field(ge=0)] = 0  # further seeds of the base
    # Overrides of the base with an effect known in sign, key*=number multiplies; trained on the seeds of the arms,
    # unless every arm is found to differ
    positive: list[str] = dataclasses.field(default_factory=lambda: ["tokens*=0.75"])
    expected: Literal["worse", "better"] = "worse"  # what `positive` is


@strict
class Study:
    """A contrast, declared before its first run: arms are overrides of the base, factor the keys they may change."""

    name: str = ""
    question: str = ""
    hypothesis: str = ""
    base: str = "base"  # what the unchanged configuration is called
    factor: list[str] = dataclasses.field(default_factory=list)
    arms: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    # Further arms, every combination of one level a factor: {length: {fixed: [], grow: [length=grow]}, ...};
    # levels without overrides are those of the base
    grid: dict[str, dict[str, list[str]]] = dataclasses.field(default_factory=dict)
    seeds: list[Annotated[int, Field(ge=0)]] = dataclasses.field(default_factory=lambda: [0, 1, 2])
    metric: str = "macro"  # macro, micro, rest (macro without data.focus) or a domain: bits per byte
    margin: Positive = 0.01  # bits per byte; smaller differences do not matter
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    budget: Budget = dataclasses.field(default_factory=Budget)
    controls: Controls = dataclasses.field(default_factory=Controls)


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

    def __post_init__(self) -> None:
        checks.check(self)

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
