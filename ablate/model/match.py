"""Models of other architectures made comparable: as large, as dear or as forgetful as one of attention.

`settings.size` describes a dense model of attention and SwiGLU. With `size.match` another architecture
gets the widths at which it has as many parameters (embedding included), as many training FLOPs per token
or as many bytes of state as that one, both in rows of `data.span` tokens:

    size=nano size.match=parameters    model=llama     width 128, hidden 384    1,049,728 parameters
                                       model=mamba2    width 112, hidden 360    1,053,828 parameters

First the width, over those that keep all heads whole, with `hidden` in the declared proportion; then
`hidden` closes what is left. State does not depend on `hidden`, so there the nearest width is the answer.
Depth, heads and everything in `model` stay as declared: what a run is called and compared by
(`ablate.run.identity`) is the declaration, and its solution follows from it.
"""

import bisect
import dataclasses
import functools
import math

import torch

from ablate.model.language import LanguageModel
from ablate.model.parts import FEEDS, SwiGLU
from ablate.run.settings import Model, Settings, SettingsError, Size

UNITS = {"parameters": "parameters", "flops": "FLOPs per token", "state": "bytes of state"}
# Largest relative distance from what is to be matched; widths come in steps of several percent
CLOSE = {"parameters": 0.01, "flops": 0.01, "state": 0.05}
HIDDEN_STEPS = (8, 1)  # multiples of 8 are quick; where they are too coarse, any number
NARROWEST, WIDEST = 8, 32  # the first a width, the second times the declared one


def sized(settings: Settings) -> Size:
    """The size that the model of a run is built with. Raises SettingsError when nothing matches."""
    return _solved(settings.model, settings.size, settings.data.vocabulary, settings.data.span)


@functools.cache
def _solved(model: Model, declared: Size, vocabulary: int, span: int) -> Size:
    reference = dataclasses.replace(model, pattern="A", linear="dense", feed="swiglu", qk_norm=False, options={})
    size = dataclasses.replace(declared, match="none")
    if declared.match == "none" or model == reference:
        return size
    target = _measure(declared.match, reference, size, vocabulary, span)
    measure = functools.partial(_measure, declared.match, model, vocabulary=vocabulary, span=span)
    tried = {candidate: measure(candidate) for candidate in _candidates(model, size, target, measure)}
    for candidate, value in tried.items():
        if abs(value - target) <= CLOSE[declared.match] * target:
            return candidate
    nearest = min(tried, key=lambda candidate: abs(tried[candidate] - target))
    raise SettingsError(
        f"size.match={declared.match}: model.pattern={model.pattern} comes no nearer to the {target:,} "
        f"{UNITS[declared.match]} of attention than {tried[nearest]:,}, at size.width={nearest.width}; "
        "match something else, or change model.latent or model.mamba"
    )


def _measure(what: str, model: Model, size: Size, vocabulary: int, span: int) -> int:
    with torch.device("meta"):
        language = LanguageModel(model, size, vocabulary)
    match what:
        case "parameters":
            return sum(parameter.numel() for parameter in language.parameters())
        case "flops":
            return 3 * language.flops(span)
    return language.state_bytes(span)


def _candidates(model: Model, size: Size, target: int, measure: functools.partial[int]) -> list[Size]:
    """What to try, in this order: the two allowed widths around the target, the nearer first, `hidden` closed."""
    unit = width_unit(model, size)
    widths = range(-(-NARROWEST // unit) * unit, WIDEST * size.width + 1, unit)
    above = bisect.bisect_left(widths, target, key=lambda width: measure(_proportional(model, size, width)))
    around = [widths[i] for i in (above - 1, above) if 0 <= i < len(widths)]
    by_distance = sorted(around, key=lambda width: abs(measure(_proportional(model, size, width)) - target))
    return [closed for width in by_distance for closed in _closed(_proportional(model, size, width), target, measure)]


def _proportional(model: Model, size: Size, width: int) -> Size:
    """Feed-forwards in the declared proportion to the width; one of two matrices gets 3/2 of what SwiGLU has."""
    matrices = FEEDS[model.feed].MATRICES
    hidden = _rounded(size.hidden * width * SwiGLU.MATRICES / (size.width * matrices), HIDDEN_STEPS[0])
    return dataclasses.replace(size, width=width, hidden=hidden)


def _closed(size: Size, target: int, measure: functools.partial[int]) -> list[Size]:
    """`size` with the `hidden` that comes nearest to the target; all costs are linear in it, or do not depend on it."""
    value = measure(size)
    slope = measure(dataclasses.replace(size, hidden=size.hidden + 1)) - value
    if slope == 0:
        return [size]
    exact = size.hidden + (target - value) / slope
    return [dataclasses.replace(size, hidden=_rounded(exact, step)) for step in HIDDEN_STEPS]


def _rounded(value: float, step: int) -> int:
    return max(HIDDEN_STEPS[0], step * round(value / step))


def width_unit(model: Model, size: Size) -> int:
    """Allowed widths are its multiples: heads as many as declared, of an even width; Mamba's heads whole, in groups."""
    unit = 2 * size.heads
    if "M" not in model.pattern:
        return unit
    heads = model.mamba.head_width * model.mamba.groups
    return math.lcm(unit, heads // math.gcd(model.mamba.expand, heads))
