"""`ablate COMMAND --help [GROUP]`: the flags, the choices of each group, and every key in words.

    optimizer.lr=0.003   number, at least 0
        The peak of the learning rate; `schedule` gives its multiple at each step

Values are those that the rest of the command line means: `schedule=cosine --help schedule` shows cosine's.
"""

import json
import pydoc
import re
import sys
import textwrap
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ablate.run.describe import Described, describe
from ablate.run.settings import UserError

WIDTH = 80  # columns
ADDED = ("debug", "experiment", "system")  # groups of which nothing is chosen by default
KINDS = {"bool": "true | false", "str": "text", "int": "whole number", "float": "number"}
MOMENTS = (
    "When something begins, and how long it lasts, is a fraction of all steps up to 1, otherwise a count of steps."
)


def show(flags: str, line: Namespace, about: Sequence[str]) -> None:
    """Print, in a pager where there is a terminal, the help of a command that composes settings.

    `flags`: what argparse says. `about`: the groups of settings that matter to the command; empty: all.
    """
    from ablate.console.compose import CONF, groups, values  # Hydra, which nothing else here needs

    line.words = [word for word in line.words if "=" in word]  # power takes names too
    choices, folders = groups(line), [Path(folder) for folder in (line.config_dir, CONF) if folder]
    if line.help:
        name = line.help.lstrip("+").partition("=")[0]
        lines = [*_explained(name, choices.get(name, []), folders), *_keys(values(line), [name])]
        if not lines:
            known = sorted(
                {name for name in choices if "/" not in name} | {one.key for one in describe() if one.is_group}
            )
            raise UserError(f"--help {name}: no such group or key; groups are {', '.join(known)}")
    else:
        lines = [flags, *_overview({name: each for name, each in choices.items() if not about or name in about})]
        lines += [textwrap.fill(MOMENTS, WIDTH), *_keys(values(line), about)]
        if about:
            lines.append("\nAll other keys: ablate train --help")
    pydoc.pager("\n".join(lines)) if sys.stdout.isatty() else print("\n".join(lines))


def _overview(choices: dict[str, list[str]]) -> Iterator[str]:
    """The names of all choices, a paragraph a group."""
    added = ", ".join(ADDED)
    yield f"groups: group=name, for {added} +group=name;\n--help GROUP says what each choice is\n"
    for name, found in choices.items():
        yield textwrap.fill(f"{name}: {', '.join(found)}", WIDTH, initial_indent="  ", subsequent_indent="      ")
    yield ""


def _explained(group: str, choices: list[str], folders: list[Path]) -> Iterator[str]:
    """Each choice of a group with the first sentence of its file."""
    if choices:
        yield f"choices: {'+' if group in ADDED else ''}{group}=NAME"
    for name in choices:
        path = next(path for folder in folders if (path := folder / group / f"{name}.yaml").exists())
        text = f"{name:<16}  {_first_sentence(path)}".rstrip()
        yield textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent=" " * 20)


def _first_sentence(path: Path) -> str:
    """Of the comment that a file of conf/ begins with."""
    text = re.match(r"(?:# @package.*\n)?((?:#.*\n)*)", path.read_text(encoding="utf-8"))
    words = " ".join(line.removeprefix("#").strip() for line in (text[1] if text else "").splitlines())
    return re.split(r"(?<=[a-z)][.]) ", words)[0]


def _keys(values: dict[str, Any], about: Sequence[str]) -> Iterator[str]:
    """Every key below the groups `about`, or every key there is, with its value, what it may be, and its meaning."""
    found = [one for one in describe() if not about or any(f"{one.key}.".startswith(f"{name}.") for name in about)]
    headings = {one.key: f"{one.key}: {one.words}" for one in found if one.is_group}
    for group in dict.fromkeys(["", *headings, *(one.key.rpartition(".")[0] for one in found)]):
        if group in headings:
            yield textwrap.fill(headings[group], WIDTH, initial_indent="\n", subsequent_indent="    ")
        for one in found:
            if not one.is_group and one.key.rpartition(".")[0] == group:
                yield from _key(one, values)


def _key(one: Described, values: dict[str, Any]) -> Iterator[str]:
    value: Any = values
    for name in one.key.split("."):
        value = value[name]
    allowed = re.sub(r"\b(bool|str|int|float)\b", lambda kind: KINDS[kind[0]], one.allowed)
    words = one.words[0].upper() + one.words[1:] if one.words.split()[0].isalpha() else one.words
    yield textwrap.fill(
        f"{one.key}={_spelled(value)}   {allowed}", WIDTH, initial_indent="  ", subsequent_indent=" " * 8
    )
    yield textwrap.fill(words, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _spelled(value: Any) -> str:
    """A value as it is typed on the command line; text with other signs than letters keeps its quotes."""
    if isinstance(value, str) and value:
        return value
    return re.sub(r"'([\w.-]+)'", r"\1", json.dumps(value).replace('"', "'"))
