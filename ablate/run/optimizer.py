"""What makes a step of the gradients: the group `optimizer`."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from ablate.run.fields import Count, Mark, Moment, Moves, NonNegative, Positive, strict


@strict
class LeRaC:
    """Learning rate curriculum over layers (arXiv 2205.09180): all meet the common rate at `until`.

    Before, the factor of the rate falls geometrically from 1 at the embedding to `lowest` at the head.
    """

    lowest: Annotated[float, Field(gt=0, le=1)] = 1.0  # first factor of the head's rate; 1: no curriculum
    until: Moment = 0.1  # when all layers have the common rate


@strict
class ZClip:
    """Gradients clipped to what the norms of the steps before let expect (arXiv 2504.02507)."""

    memory: Annotated[float, Field(gt=0, lt=1)] = 0.97  # how slowly mean and variance of the norm forget
    sigma: Positive = 2.5  # deviations above the mean from which on a norm is clipped
    warmup: Annotated[Count, Field(ge=2)] = 25  # first steps, which are clipped as with clipping=norm


@strict
class AdaGC:
    """Each tensor's gradient clipped to what its own norms let expect (arXiv 2502.11034)."""

    memory: Annotated[float, Field(gt=0, lt=1)] = 0.98  # how slowly the mean norm of a tensor forgets
    factor: Positive = 1.05  # times the mean: the largest norm
    warmup: Count = 100  # first steps, which are clipped as with clipping=norm


@strict
class Optimizer:
    """What makes a step of the gradients."""

    # adamw; adamw8bit keeps its two moments in 8 bits; muon takes the matrices of the blocks, adamw the rest; or one
    # of yours (`fit.optimizer.OPTIMIZERS`)
    name: Annotated[
        str,
        Moves("optimizer class", "optimizer betas", "optimizer eps", "optimizer momentum", "optimizer numbers"),
        Moves("types of the optimizer", "update", "group rates", "numbers"),
    ] = "adamw"
    # The peak of the learning rate; `schedule` gives its multiple at each step
    lr: Annotated[NonNegative, Moves("rates", "group rates"), Mark.PLANNED, Mark.CROSSES_LATE] = 3e-3
    weight_decay: Annotated[NonNegative, Moves("rates", "group rates"), Mark.PLANNED] = 0.1  # of matrices alone
    # How slowly the two moments of Adam forget
    betas: Annotated[
        tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]],
        Moves("optimizer betas", "update", "numbers"),
    ] = (0.9, 0.95)
    eps: Annotated[float, Field(gt=0, le=100), Moves("optimizer eps", "update", "numbers")] = (
        1e-8  # added to the root of the second moment
    )
    clip: Annotated[NonNegative, Moves("optimizer clip", "update")] = 1.0  # largest gradient norm; 0: no clipping
    # norm: all gradients together, to `clip`; zclip and adagc: to what those of the steps before let expect, and to
    # `clip` in their first steps, zclip always
    clipping: Annotated[Literal["norm", "zclip", "adagc"], Moves("optimizer clip", "update")] = "norm"
    zclip: Annotated[ZClip, Moves("optimizer clip", "update")] = dataclasses.field(default_factory=ZClip)
    adagc: Annotated[AdaGC, Moves("optimizer clip", "update")] = dataclasses.field(default_factory=AdaGC)
    # Of muon: how slowly its moment forgets
    momentum: Annotated[float, Field(ge=0, lt=1), Moves("optimizer momentum", "update", "numbers")] = 0.95
    # A curriculum gives each layer a group of its own
    lerac: Annotated[
        LeRaC, Moves("decay", "update", "rates", "group rates", "numbers"), Mark.PLANNED, Mark.CROSSES_LATE
    ] = dataclasses.field(default_factory=LeRaC)
