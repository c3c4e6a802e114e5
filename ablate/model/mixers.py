"""The mixers: what moves information between the tokens of a row, by the letter that `model.pattern` names it with.

    A   attention            L   latent attention            M   Mamba-2

A mixer is made from (model, size) and keeps to `Mixer`. One with options of its own has a dataclass `Options`, and is
made from (model, size, options); its options are hashed with all else:

    model.options: {W: {window: 64}}        MIXERS["W"] = Window, with Window.Options(window=64)

Its parameters are drawn by `language.initialise`: matrices normal, vectors 1, smaller where they write to the
residual stream, which is the matrix called `out`. Others have a rule in `INITIAL`, by the parameter's name.

Nothing here loads torch, which takes seconds, before a mixer is made: a wrong letter is refused at once.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ablate.run.parse import fitted
from ablate.run.settings import Mamba, Model, SettingsError, Size, require

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Mixer(Protocol):
    """What every mixer has. B rows, L tokens of a row, D width."""

    def __call__(self, x_BLD: "Tensor") -> "Tensor":
        """y_BLD of the same shape; no token may see a later one."""
        ...

    def flops(self, length: int) -> int:
        """Forward FLOPs per token, in rows of `length`."""
        ...

    def state_bytes(self, length: int) -> int:
        """Bytes that one sequence of `length` tokens keeps at inference."""
        ...

    def kernel(self, device: "torch.device", length: int) -> str:
        """The name of what does the work there, for the record."""
        ...


def attention(model: Model, size: Size) -> Mixer:
    from ablate.model.attention import Attention

    return Attention(model, size)


def latent(model: Model, size: Size) -> Mixer:
    from ablate.model.latent import LatentAttention

    return LatentAttention(model, size)


def mamba(model: Model, size: Size) -> Mixer:
    from ablate.model.mamba import Mamba2

    return Mamba2(model, size)


MIXERS: dict[str, Callable[..., Mixer]] = {"A": attention, "L": latent, "M": mamba}


def mixer(letter: str, model: Model, size: Size) -> Mixer:
    """The mixer of a letter, with its options."""
    options = _options(letter, model)
    return MIXERS[letter](model, size) if options is None else MIXERS[letter](model, size, options)


def _options(letter: str, model: Model) -> Any:
    """The options of a mixer, or None for one without. Raises SettingsError for those that it does not take."""
    kind, given = getattr(MIXERS[letter], "Options", None), model.options.get(letter, {})
    if kind is None:
        return None
    names = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in names:
            raise SettingsError(f"model.options.{letter}.{name}: no such option; there are {', '.join(names)}")
    return fitted(kind, given, f"model.options.{letter}")


def check(model: Model, size: Size) -> None:
    """Raises SettingsError for letters without a mixer, and for options and numbers that a mixer does not take."""
    known = model.pattern != "" and set(model.pattern) <= MIXERS.keys()
    require(known, "model.pattern", repr(model.pattern), f"made of the letters {', '.join(MIXERS)}")
    for letter in sorted(set(model.pattern)):
        _options(letter, model)
        lacks = [name for name in ("flops", "state_bytes", "kernel") if not _has(MIXERS[letter], name)]
        require(not lacks, "model.pattern", repr(letter), f"a mixer with {', '.join(lacks)}, as `model.mixers.Mixer`")
    for letter, options in model.options.items():
        takes = options != {} and letter in model.pattern and hasattr(MIXERS[letter], "Options")
        require(takes, f"model.options.{letter}", options, "options of a letter in model.pattern whose mixer has some")
    fits = "A" in model.pattern or not model.qk_norm
    require(fits, "model.qk_norm", model.qk_norm, f"false for model.pattern={model.pattern}, which has no A")
    if "M" in model.pattern and size.match == "none":  # otherwise the width is solved so that it fits
        _check_mamba(model.mamba, size.width)


def _has(made_by: Callable[..., Mixer], name: str) -> bool:
    return hasattr(made_by, name) or not isinstance(made_by, type)  # a function may make any


def _check_mamba(mamba: Mamba, width: int) -> None:
    inner = mamba.expand * width
    fits = inner % mamba.head_width == 0
    require(fits, "model.mamba.head_width", mamba.head_width, f"a divisor of the inner width {inner}")
    heads = inner // mamba.head_width
    require(heads % mamba.groups == 0, "model.mamba.groups", mamba.groups, f"a divisor of the {heads} heads")
