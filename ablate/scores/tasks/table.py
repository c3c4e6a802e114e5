"""Kinds of tasks: where the items come from that a model is asked.

A kind has `Options` of its own, and `make(task, options, text, wanted)`: so many items, or fewer where there are no
more, as a function of these alone and equal on every machine. A module of the user's may add one to KINDS.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from ablate.run.evaluate import Task, sha256_of
from ablate.run.parse import fitted
from ablate.run.parts import require_member
from ablate.run.settings import Settings, SettingsError, UserError, require
from ablate.scores.items import Item
from ablate.scores.tasks import continuation, inserted, jsonl, last_word, lm_eval, minimal_pairs, questions, recall
from ablate.scores.tasks.making import Text


class Kind(NamedTuple):
    options: type  # a dataclass: the options that there are, with their defaults
    make: Callable[[Task, Any, Text, int], list[Item]] | None  # None: lm-eval makes the items, and asks them
    reads: Literal["", "domains", "path"] = ""  # the key that says what the items are made of
    check: Callable[[str, Task, Any], None] | None = None  # raises SettingsError for what else will not do


KINDS: dict[str, Kind] = {
    "questions": Kind(questions.Options, questions.make, check=questions.check),
    "continuation": Kind(continuation.Options, continuation.make, "domains"),
    "last_word": Kind(last_word.Options, last_word.make, "domains"),
    "minimal_pairs": Kind(minimal_pairs.Options, minimal_pairs.make, "domains", minimal_pairs.check),
    "recall": Kind(recall.Options, recall.make),
    "inserted": Kind(inserted.Options, inserted.make, "path", inserted.check),
    "jsonl": Kind(jsonl.Options, jsonl.make, "path", jsonl.check),
    "lm_eval": Kind(lm_eval.Options, None, "path", lm_eval.check),
}

PROTOCOLS = ("likelihood", "cloze", "generate", "write", "both")  # those of this package, in `scores.protocols`


class Drawn(NamedTuple):
    """The items of a task. `shots` are solved ones to stand before each; none of them is among the others."""

    shots: list[Item]
    items: list[Item]


class NoItems(UserError):
    """There is too little held-out text to make items of, or none of a domain."""


def drawn(name: str, task: Task, text: Text) -> Drawn:
    """The items of the task called `name`. Raises UserError for a file that will not do, and NoItems."""
    kind, options = KINDS[task.kind], options_of(name, task)
    assert kind.make, f"{task.kind} is asked by scores.harness"
    if task.path and sha256_of(task.path, task.options) != task.sha256:
        raise UserError(
            f"evaluate.tasks.{name}.path={task.path}: was edited since the task was declared; declare it anew"
        )
    for domain in sorted(set(task.domains) - set(text.domains)):
        there = ", ".join(text.domains)
        raise NoItems(f"evaluate.tasks.{name}.domains={domain}: the run has no such text; it has {there}")
    made = kind.make(task, options, text, task.shots + task.items)
    if len(made) <= task.shots:
        texts = f"held-out text of {', '.join(task.domains or text.domains)}"
        where = {"domains": texts, "path": task.path}.get(kind.reads, "kind")
        shots = f", and shots={task.shots} stand before each" if task.shots else ""
        raise NoItems(f"evaluate.tasks.{name}: {task.kind} makes {len(made)} items of its {where}{shots}")
    return Drawn(made[: task.shots], made[task.shots :])


def options_of(name: str, task: Task) -> Any:
    """Raises SettingsError for an option that the kind does not have, or of another type."""
    kind, key = KINDS[task.kind], f"evaluate.tasks.{name}.options"
    names = [field.name for field in dataclasses.fields(kind.options)]
    for option, value in task.options.items():
        if option not in names:
            allowed = f"one of {', '.join(names)}" if names else "left out: the kind has no options"
            raise SettingsError(f"{key}.{option}={value}: must be {allowed}")
    return fitted(kind.options, task.options, key)


def check(settings: Settings) -> None:
    """Raises SettingsError for the first task that cannot be asked; no text is read."""
    for name, task in settings.evaluate.tasks.items():
        key = f"evaluate.tasks.{name}"
        require(re.fullmatch(r"\w[\w.-]*", name) is not None, key, task.kind, "called by letters, digits and _ . -")
        require_member(f"{key}.kind", task.kind, KINDS)
        kind, known = KINDS[task.kind], settings.data.domains
        require(kind.reads == "domains" or not task.domains, f"{key}.domains", task.domains, _empty(task))
        for domain in task.domains:
            allowed = f"one of data.domains: {', '.join(known)}; ~{key} leaves the task out"
            require(domain in known, f"{key}.domains", domain, allowed)
        for protocol in task.protocols:
            if protocol not in PROTOCOLS:
                from ablate.scores import protocols  # torch, for a protocol of the user's own, or a name that is wrong

                require_member(f"{key}.protocols", protocol, protocols.PROTOCOLS)
        require(len(task.protocols) > 0, f"{key}.protocols", task.protocols, "at least one protocol")
        require(kind.reads == "path" or not task.path, f"{key}.path", task.path, _empty(task))
        options = options_of(name, task)
        if kind.check:
            kind.check(key, task, options)


def _empty(task: Task) -> str:
    return f"empty with kind={task.kind}, which does not read it"
