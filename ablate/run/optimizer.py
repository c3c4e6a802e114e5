"""What makes a step of the gradients: the group `optimizer`."""

import dataclasses
from typing import Annotated

from pydantic import Field

from ablate.run.fields import Mark, Moment, Moves, NonNegative, Positive, strict


@strict
class LeRaC:
    """Learning rate curriculum over layers (arXiv 2205.09180): all meet the common rate at `until`.

    Before, the factor of the rate falls geometrically from 1 at the embedding to `lowest` at the head.
    """

    lowest: Annotated[float, Field(gt=0, le=1)] = 1.0  # first factor of the head's rate; 1: no curriculum
    until: Moment = 0.1  # when all layers have the common rate


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
    eps: Annotated[Positive, Moves("optimizer eps", "update", "numbers")] = (
        1e-8  # added to the root of the second moment
    )
    clip: Annotated[NonNegative, Moves("optimizer clip", "update")] = 1.0  # largest gradient norm; 0: no clipping
    # Of muon: how slowly its moment forgets
    momentum: Annotated[float, Field(ge=0, lt=1), Moves("optimizer momentum", "update", "numbers")] = 0.95
    # A curriculum gives each layer a group of its own
    lerac: Annotated[
        LeRaC, Moves("decay", "update", "rates", "group rates", "numbers"), Mark.PLANNED, Mark.CROSSES_LATE
    ] = dataclasses.field(default_factory=LeRaC)
