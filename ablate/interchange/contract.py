"""What every form of `interchange.forms` is given, and what it must have.

A form writes a model to a folder that another program loads, and loads it again as that program does, so that each
export can be compared with what was scored. Modules of forms load their packages inside functions: the command tells
what there is without waiting for any.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from ablate.compress.forms import rounds_inputs
from ablate.run.settings import Settings

if TYPE_CHECKING:
    from ablate.compress.packed import Packed
    from ablate.model.language import LanguageModel


class Leaving(NamedTuple):
    """A model on its way out: in float32, on the CPU, with the weights that the run has recorded."""

    language: "LanguageModel"  # it computes what was scored, rounded inputs and all
    packed: "Packed | None"  # the same weights in few bits, of a run with compress
    span: int  # the longest row that the model was trained on
    end: int  # id of the token that ends a document
    corpus_folder: Path  # tokenizer.json; chat_template.jinja, of text with dialogues
    settings: Settings  # of the run

    @property
    def jumps(self) -> bool:
        """Whether inputs are rounded on the way: then noise of float32 may push one over an edge, a whole step away."""
        return self.settings.model.linear == "ternary" or rounds_inputs(self.settings.compress.to)


class Reader(Protocol):
    """What another program makes of a folder."""

    def logits(self, tokens_T: list[int]) -> np.ndarray:
        """(T, V), float32."""
        ...

    def tokens(self, text: str) -> list[int] | None:
        """Of a text, as training cut it; None for a program that reads no text."""
        ...


class Tolerance(NamedTuple):
    """How much may differ. `of`: a key of `interchange.checked.MEASURES`; at infinity it is told and nothing asked."""

    of: str
    most: float = math.inf


def same(leaving: Leaving, type: str) -> Tolerance:
    """Of a form that says it all, in float32: noise of another order of adding up."""
    return Tolerance("loss", 1e-3) if leaving.jumps else Tolerance("logits", 5e-6)


class Form(NamedTuple):
    """`types`: what `--type` may say, the usual one first; () if there is one.

    `misfit(leaving, type)` says, by name of the mixer or the setting, why a model cannot leave so, and "" if it can. It
    is asked before a file is written. `write(leaving, type, folder)` fills an empty folder. `packages` are those of the
    extra `export` that it cannot do without, by module; the versions of all of them are noted.
    `note(leaving, type)`: what else there is to say of how it was read, a line or "".
    """

    types: tuple[str, ...]
    misfit: Callable[[Leaving, str], str]
    write: Callable[[Leaving, str, Path], None]
    reader: Callable[[Path], Reader]
    tolerance: Callable[[Leaving, str], Tolerance]
    packages: tuple[str, ...] = ()
    note: Callable[[Leaving, str], str] = lambda leaving, type: ""
