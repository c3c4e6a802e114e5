"""A gate as its ledger tells it: the incumbent, what is left in the pot, and what became of every idea.

    stream = read(record.ledger.rows())
    stream.incumbent        ("size=nano", "optimizer.lr=6e-3")
    stream.next_stake       what would be bet on an idea now (`statistics.stream`)

An idea holds its stake until it is kept or discarded. One that waits for a retest when another is kept waits in vain:
the question was whether it is better than an incumbent that is no more. Its stake is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ablate.run.ledger import Row
from ablate.run.overrides import key_of
from ablate.verdict.statistics import stream
from ablate.verdict.statistics.stream import Rule, Word

Words = tuple[str, ...]
OPENED = ("number", "stake", "seed", "part", "fresh", "study")  # of an idea, in its first row


@dataclass(frozen=True, kw_only=True)
class Idea:
    """A change of the incumbent; `word` is empty until the first, and after a retest it is `retest`."""

    number: int
    change: Words
    incumbent: Words
    stake: float
    seed: int
    part: int
    fresh: bool
    study: str
    word: Word = ""
    reason: str = ""
    pairs: int = 0
    wealth: float = 1.0
    mean: float | None = None
    again: tuple[float, ...] = ()
    retests: int = 0

    def row(self) -> dict[str, Any]:
        """What the ledger holds of the idea before its first run."""
        told = {name: getattr(self, name) for name in OPENED}
        return told | {"change": list(self.change), "incumbent": list(self.incumbent)}

    @property
    def closed(self) -> bool:
        return self.word in ("keep", "discard")


@dataclass(frozen=True)
class Refused:
    """A change that was none."""

    change: Words
    reason: str


@dataclass(frozen=True)
class Stream:
    """All of a gate; `events`: ideas and what was refused, in the order in which they came."""

    rule: Rule
    base: Words
    unit: str
    events: list[Idea | Refused]

    @cached_property
    def ideas(self) -> list[Idea]:
        return [one for one in self.events if isinstance(one, Idea)]

    @cached_property
    def incumbent(self) -> Words:
        """The base with every change that was kept."""
        words = self.base
        for one in self.ideas:
            words = merged(words, one.change) if one.word == "keep" else words
        return words

    @cached_property
    def pot(self) -> float:
        left = self.rule.alpha - sum(one.stake for one in self.ideas)
        return left + sum(float(stream.given_back(one.stake, one.wealth)) for one in self.ideas if one.closed)

    @property
    def next_number(self) -> int:
        return len(self.ideas) + 1

    @property
    def next_stake(self) -> float:
        return float(stream.stake(self.pot, self.next_number, self.rule))

    def open(self, change: Words) -> Idea | None:
        """The idea of that change that waits for more pairs; None where there is none."""
        waiting = [one for one in self.ideas if not one.closed and one.incumbent == self.incumbent]
        return next((one for one in waiting if one.change == change), None)

    def kept(self, change: Words) -> Idea | None:
        """The idea of that change that was kept, if one was."""
        return next((one for one in self.ideas if one.word == "keep" and one.change == change), None)


def read(rows: Sequence[Row]) -> Stream:
    """Of rows of which the first is `begun`."""
    first, *others = rows
    rule = Rule(alpha=first["alpha"], ideas=first["ideas"], effect=first["effect"])
    events: list[Idea | Refused] = []
    places: dict[int, int] = {}  # of ideas, by number
    for row in others:
        if row["kind"] == "refused":
            events.append(Refused(tuple(row["change"]), row["reason"]))
        elif row["kind"] == "opened":
            places[row["number"]] = len(events)
            events.append(_opened(row))
        else:
            at = places[row["number"]]
            events[at] = _judged(events[at], row)
    return Stream(rule, tuple(first["base"]), first["unit"], events)


def merged(words: Sequence[str], change: Sequence[str]) -> Words:
    """Overrides with others in the place of those of the same keys."""
    new = {key_of(one) for one in change}
    return (*(one for one in words if key_of(one) not in new), *change)


def _opened(row: Row) -> Idea:
    told = {name: row[name] for name in OPENED}
    return Idea(change=tuple(row["change"]), incumbent=tuple(row["incumbent"]), **told)


def _judged(idea: Any, row: Row) -> Idea:
    told = {name: row[name] for name in ("word", "reason", "pairs", "wealth", "mean")}
    again = tuple(row["again"])
    return replace(idea, **told, again=again, retests=idea.retests + (row["word"] == "retest"))
