"""How domains are combined: the group `mixture`."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from ablate.run.fields import Fraction, Line, Mark, Moment, Weights, strict


@strict
class Stage:
    """A later stage of the mixture, from `start` on."""

    start: Moment = 0.5  # when the stage begins
    weights: Weights = dataclasses.field(default_factory=dict)  # of the domains, from then on


@strict
class Mixture:
    """How the domains are combined: weights from the first step on, then later stages."""

    weights: Weights = dataclasses.field(default_factory=dict)  # by domain; empty: all domains count alike
    share: Fraction | None = None  # weight of data.focus in the first stage; the other domains are scaled to the rest
    stages: dict[str, Stage] = dataclasses.field(default_factory=dict)  # later stages: {late: {start, weights}}
    block: Annotated[int, Field(ge=1, le=2**16)] = 64  # rows with exact counts per domain; a power of two
    # How the weights of a run that begins from another's are computed, of that one's record and the weights above:
    # saturation (domains that still gain get more) or random (as far another way): `plan.adapt`
    adapt: Literal["none", "saturation", "random"] = "none"
    # What the weights were computed from: written with them, once the run before has finished
    adapted: Annotated[Line, Mark.NOT_HASHED] = ""

    @property
    def to_come(self) -> bool:
        """Whether the weights are still to be computed."""
        return self.adapt != "none" and not self.adapted
