"""What a field of the settings says of itself: its type, what it moves, and how it counts.

    lr: Annotated[NonNegative, Moves("rates", "group rates"), Mark.PLANNED] = 3e-3  # the peak; ...

`declared` reads it all in one walk, and every table of names elsewhere is made from it. A group's marks hold for
all keys below it. The comments at a field are the words of `--help` (`ablate.run.describe`).
"""

import dataclasses
import enum
import functools
import typing
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from ablate.run import names


def _whole_steps(moment: float) -> float:
    if moment > 1 and not moment.is_integer():
        raise PydanticCustomError("moment", "Input should be a part of the run up to 1, or a whole number of steps")
    return moment


strict = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))

SEEDS = 2**63  # of them there are
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Moment = Annotated[NonNegative, AfterValidator(_whole_steps)]  # a part of a run up to 1, else a number of its steps
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
Line = Annotated[str, AfterValidator(names.line)]
Label = Annotated[str, AfterValidator(names.label)]
FileName = Annotated[str, AfterValidator(names.file_name)]
Address = Annotated[str, AfterValidator(names.address)]
Project = Annotated[str, AfterValidator(names.project)]
Option = Annotated[str, AfterValidator(names.option)]
Variable = Annotated[str, AfterValidator(names.variable)]
Weights = dict[str, float]


class Moves(frozenset[str]):
    """The streams of a trace (`verdict.validity.streams`) in which two runs may differ that differ in this key."""

    def __new__(cls, *streams: str) -> "Moves":
        return super().__new__(cls, streams)


class Mark(enum.Enum):
    """How a key counts."""

    NOT_HASHED = "recorded, never part of what a run is"
    PLANNED = "moves no weight but by what the timeline says of each step"
    CROSSES_LATE = "the loss before the last decay says little about the order of two arms after it"


@dataclasses.dataclass(frozen=True)
class Declared:
    """What a key, or a group of keys, is declared to be; `metadata` of its own, marks also of its groups."""

    kind: Any
    default: Any
    metadata: tuple[Any, ...]
    moves: frozenset[str]
    marks: frozenset[Mark]

    @property
    def is_group(self) -> bool:
        return dataclasses.is_dataclass(self.kind)


@functools.cache
def declared(cls: Any) -> dict[str, Declared]:
    """Every key of a class of settings by dotted name, groups before what is in them."""
    return _declared(cls, "", frozenset(), frozenset())


def _declared(cls: Any, prefix: str, moves: frozenset[str], marks: frozenset[Mark]) -> dict[str, Declared]:
    found = {}
    default = cls()
    for name, annotation in typing.get_type_hints(cls, include_extras=True).items():
        kind, metadata = annotation, ()
        if typing.get_origin(annotation) is Annotated:
            kind, *metadata = typing.get_args(annotation)
        own = moves.union(*(part for part in metadata if isinstance(part, Moves)))
        all_marks = marks.union(part for part in metadata if isinstance(part, Mark))
        key = prefix + name
        found[key] = Declared(kind, getattr(default, name), tuple(metadata), own, all_marks)
        if found[key].is_group:
            found |= _declared(kind, f"{key}.", own, all_marks)
    return found


NOTHING = Declared(None, None, (), frozenset(), frozenset())


def find(cls: Any, name: str) -> Declared:
    """What the name of a difference is declared as: mixture.weights@0.qa as mixture.weights; or NOTHING."""
    key = name.partition("@")[0]
    while key and key not in declared(cls):
        key = key.rpartition(".")[0]
    return declared(cls)[key] if key else NOTHING


def is_key(cls: Any, name: str) -> bool:
    """Whether the name is that of a key or a group, or of what lies below a key that holds names of the user's own."""
    key = name.partition("@")[0]
    while key and key not in declared(cls):
        key = key.rpartition(".")[0]
    return bool(key) and (name == key or typing.get_origin(declared(cls)[key].kind) is dict)


def of_users(cls: Any) -> list[str]:
    """Keys whose names below are the user's."""
    return [name for name, one in declared(cls).items() if typing.get_origin(one.kind) is dict]


def below(key: str, group: str) -> bool:
    """Whether a key is the group, or stands below it."""
    return f"{key}.".startswith(f"{group}.")


def marked(cls: Any, mark: Mark) -> tuple[str, ...]:
    """The topmost keys and groups that have a mark."""
    keys = [key for key, one in declared(cls).items() if mark in one.marks]
    return tuple(key for key in keys if key.rpartition(".")[0] not in keys)
