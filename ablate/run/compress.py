"""What becomes of the weights of the start: the group `compress` of the settings."""

import dataclasses
from typing import Annotated

from pydantic import Field

from ablate.run.fields import Count, NonNegative, NotNegative, strict

NONE = "none"


@strict
class Compress:
    """With tokens=0: the weights of the start, made smaller (`compress.smaller`). A run of these settings reads rows of
    its training text, as its mixture asks for them and its seed draws them, and never a held-out one."""

    to: str = NONE  # an entry of `compress.forms.FORMATS`: int8, int4, int3, fp8, 2:4, 2:4-int4, int4-fp8, ...
    method: str = "round"  # an entry of `compress.methods.METHODS`: round, gptq, awq, magnitude, wanda, sparsegpt
    group: NotNegative = 64  # weights in a row that share a scale; 0: the whole row
    symmetric: bool = True  # false: a zero of its own for each group of integers
    # Matrices that stay, by name or pattern: blocks.0.*, *.feed.down
    keep: list[str] = dataclasses.field(default_factory=lambda: ["embedding", "head"])
    # Bits a weight, scales and all, that the matrices have on average, each in the integers that serve it best, with
    # to=int4 or int4-fp8; 0: all have what `to` says
    bits: NonNegative = 0.0
    rows: Annotated[Count, Field(le=2**16)] = 128  # of data.span tokens, which methods that look at text are shown
