"""What every setting is called, may be and means, for `--help`: read from the fields and the comments beside them.

tokens    int, at least 1    300000    of the whole run, rounded down to whole steps
"""

import ast
import dataclasses
import inspect
import io
import tokenize
import typing
from typing import Annotated, Any, Literal, NamedTuple

from pydantic.fields import FieldInfo

from ablate.run.fields import declared
from ablate.run.settings import Settings

BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "multiple_of": "a multiple of"}


class Described(NamedTuple):
    """One setting, or a group of settings; a group allows and defaults to nothing of its own."""

    key: str
    allowed: str
    default: Any
    words: str

    @property
    def is_group(self) -> bool:
        return not self.allowed


def describe() -> list[Described]:
    """Every setting and every group, in the order of the classes."""
    found = []
    words = {"": _comments(Settings)}
    for key, one in declared(Settings).items():
        group, _, name = key.rpartition(".")
        if one.is_group:
            words[key] = _comments(one.kind)
            found.append(Described(key, "", None, (inspect.getdoc(one.kind) or "").split("\n")[0]))
        else:
            found.append(Described(key, _allowed(one.kind, one.metadata), one.default, words[group][name]))
    return found


def _comments(cls: Any) -> dict[str, str]:
    """The comment of every field: the lines above it, or behind it."""
    source = inspect.getsource(cls)
    comments = {
        token.start[0]: token.string.removeprefix("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    lines = source.splitlines()
    found = {}
    for field in ast.parse(source).body[0].body:  # pyrefly: ignore
        if isinstance(field, ast.AnnAssign):
            first = field.lineno
            while lines[first - 2].lstrip().startswith("#"):
                first -= 1
            above = [comments[line] for line in range(first, field.lineno)]
            behind = [comments[line] for line in range(field.lineno, (field.end_lineno or 0) + 1) if line in comments]
            found[ast.unparse(field.target)] = " ".join([*above, *behind])
    return found


def _allowed(kind: Any, metadata: tuple[Any, ...] = ()) -> str:
    """The type in words, with its bounds."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _allowed(parts[0], parts[1:])
    if origin is Literal:
        return " | ".join(str(choice) for choice in parts)
    if origin in (list, tuple):
        return f"list of {_allowed(parts[0])}"
    if origin is dict:
        return f"{{name: {_allowed(parts[1])}}}"
    if dataclasses.is_dataclass(kind):
        return ", ".join(field.name for field in dataclasses.fields(kind))
    if parts:  # one of several types
        return " or ".join("null" if part is type(None) else _allowed(part) for part in parts)
    limits = [limit for part in metadata if isinstance(part, FieldInfo) for limit in part.metadata]
    bounds = [
        f"{word} {getattr(limit, name)}" for limit in limits for name, word in BOUNDS.items() if hasattr(limit, name)
    ]
    return ", ".join([kind.__name__, *bounds])
