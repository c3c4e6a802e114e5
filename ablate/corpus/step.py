"""A step: documents in, documents out, and why the others went.

    flow      batch by batch, in any process:   look(round, documents, told) -> a note      of steps that need the whole
              all notes, in order:              decide(round, notes, told)   -> told        corpus; once a round
              batch by batch, in any process:   apply(documents, told, first) -> results

A step is a pure function of its documents and its `key`: no clock, no order of arrival, no random state. What `look`,
`decide` and `apply` give must be picklable, and a note small: all of them are in memory at once. Every document has an
`id`, which stays while it is changed; those made of it have ids of their own, and name it among their `parents`.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from ablate.corpus.document import Document


class Measured(NamedTuple):
    """What a rule found in a document: it goes if `value` is beyond `bound`."""

    rule: str  # such as "repetition.lines"
    value: float
    bound: float
    evidence: str = ""  # the text that tells, as short as can be judged

    @property
    def reached(self) -> float:
        """How near the bound: 0 far off, 1 at it. Of a lower bound (`value` must not be below) give negated numbers."""
        if self.bound < 0:
            return self.bound / self.value if self.value else math.inf
        return self.value / self.bound if self.bound else float(self.value > 0)


class Result(NamedTuple):
    """What became of one document."""

    documents: Sequence[Document]  # the document itself, changed, or those made of it; none: it is removed
    removed: Measured | None = None  # why there is none
    near: Sequence[Measured] = ()  # rules that the document passed, those worth a look: the nearest to their bound
    noted: dict[str, float] = {}  # counts to be summed in the report: {"masked.email": 2}  # noqa: RUF012


class Step(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def rounds(self) -> int:
        """How often it looks at all documents before it decides; 0: they are judged one by one."""
        ...

    def key(self) -> dict[str, Any]:
        """Everything that decides what it does, plain JSON: name, version, thresholds, digests of files, models."""
        ...

    def look(self, round: int, documents: Sequence[Document], told: Any) -> Any: ...

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> Any: ...

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        """One result a document, in order. `first`: the number of the first of them, counted over all parts as `look`
        saw them; of no use to a step without rounds."""
        ...
