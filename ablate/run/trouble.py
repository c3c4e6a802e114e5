"""Trouble that is planted in a run, to see what finds it: the group `trouble` of the settings."""

from typing import Annotated, Literal

from pydantic import Field

from ablate.run.fields import Count, Moment, Positive, strict


@strict
class Trouble:
    """From `start` on, for `steps` steps. A pure function of the step, as all that a run reads."""

    # none; noise: tokens drawn at random; repeated: one token throughout; corrupt: every second token a stray byte;
    # rate: the learning rate times `factor`
    kind: Literal["none", "noise", "repeated", "corrupt", "rate"] = "none"
    start: Moment = 0.5  # when it begins
    steps: Annotated[Count, Field(le=2**16)] = 1  # that have it
    domain: str = ""  # whose rows are spoilt; empty: all rows
    factor: Positive = 30.0  # of kind=rate
