"""What is done about spikes of the loss: the group `monitor`, and the steps that a run is told to leave out.

    windows(["120-140", "7-8"]) = [(7, 8), (120, 140)]      spelled([(7, 8), (120, 140)]) = ["7-8", "120-140"]

A step that is left out reads its rows and has its rate, but weights, moments and average stay as they are. Steps are
absolute: the first of a run is step 0, and a window goes from its first step up to its second, without that one.
"""

import dataclasses
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from ablate.run.fields import Mark, NotNegative, strict

Window = tuple[int, int]
SPELLING = re.compile(r"(\d+)-(\d+)")


@strict
class Monitor:
    """Looks at each step's loss and gradient before the step is taken (`fit.monitor`)."""

    # none; skip: a step whose loss or gradient is a spike is left out; rollback: so are the steps before it, which are
    # taken back
    act: Literal["none", "skip", "rollback"] = "none"
    # Steps, of the same stage and row length, that a step is compared with
    window: Annotated[int, Field(ge=16, le=2**16)] = 128
    sigma: Annotated[float, Field(gt=0, le=100)] = (
        6.0  # how far above them a spike lies, in their standard deviations, robustly estimated
    )
    least: Annotated[int, Field(ge=8)] = 64  # of them there are before a step is judged
    margin: NotNegative = 4  # of rollback: steps before the spike that are left out too
    # Share of all steps that may be left out; once that many were, spikes are noted and nothing is done
    limit: Annotated[float, Field(gt=0, le=1)] = 0.01
    # Steps to leave out in any case: 120-140 is from step 120 up to step 140, without that one
    skip: Annotated[list[str], Mark.PLANNED] = dataclasses.field(default_factory=list)


def windows(skip: Iterable[str]) -> list[Window]:
    """Windows in order, those that touch as one. Raises ValueError, naming it, for what is none."""
    found = []
    for text in skip:
        match = SPELLING.fullmatch(text)
        if not match or int(match[1]) >= int(match[2]):
            raise ValueError(text)
        found.append((int(match[1]), int(match[2])))
    return union(found)


def told(monitor: Monitor, more: list[str]) -> Monitor:
    """The same, which leaves out some windows more."""
    return dataclasses.replace(monitor, skip=spelled(windows([*monitor.skip, *more]))) if more else monitor


def union(found: Iterable[Window]) -> list[Window]:
    """The windows in order, those that touch or overlap as one."""
    merged: list[Window] = []
    for first, end in sorted(found):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return merged


def windows_of(steps: Iterable[int]) -> list[Window]:
    """The windows that some steps make."""
    return union((step, step + 1) for step in steps)


def spelled(found: Iterable[Window]) -> list[str]:
    """As `monitor.skip` has them."""
    return [f"{first}-{end}" for first, end in union(found)]
