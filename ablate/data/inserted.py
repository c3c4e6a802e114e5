"""Rows of a step with the texts that are put into them (`plan.insert`), for who reads them and for who promises them.

    a row      ... the rest of a document <end> another document ...
    with text  <end> the text <end> document ...

A text takes the beginning of its row, as a document lies in the stream: after an end token, and closed by one. What
stood there is not read; the row is of the domain that it was of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np

from ablate.data.tokens import Corpus
from ablate.data.windows import Windows
from ablate.plan import insert
from ablate.plan.order import Order
from ablate.plan.timeline import Timeline
from ablate.run.questions import Question, questions
from ablate.run.settings import SettingsError


@dataclass(frozen=True)
class Inserted:
    """By step: the row in it, and the question whose text it has."""

    asked: tuple[Question, ...]
    tokens: tuple[np.ndarray, ...]  # of each question's text, an end token before and behind it
    by_step: Mapping[int, list[tuple[int, int]]]

    @classmethod
    def of(cls, timeline: Timeline, corpus: Corpus) -> Self:
        """Raises UserError for a table that will not do, a text that is too long, or too few rows."""
        settings = timeline.settings
        wanted, by_step = settings.insert, dict[int, list[tuple[int, int]]]()
        if not wanted.asks:
            return cls((), (), {})
        asked, _ = questions(wanted.path, wanted.sha256, wanted.made)
        names = [one.name for one in asked]
        if unknown := [name for name in wanted.only if name not in names]:
            raise SettingsError(f"insert.only={unknown[0]}: must be one of the questions with a text")
        for step, row, question in insert.places(timeline, len(asked)).tolist():
            if not wanted.only or names[question] in wanted.only:
                by_step.setdefault(step, []).append((row, question))
        found = cls(tuple(asked), tuple(_cut(corpus, one) for one in asked), by_step)
        found._check(timeline)
        return found

    def _check(self, timeline: Timeline) -> None:
        first, end = insert.window(timeline.settings)
        length = int(timeline.table["length"][first:end].min(initial=1 << 62))
        for one, tokens in zip(self.asked, self.tokens, strict=True):
            if len(tokens) > length + 1:
                fits = f"rows of {length} tokens from insert.start on; shorten it, or start where rows are longer"
                raise SettingsError(f"insert: the text of {one.name} has {len(tokens)} tokens: must fit {fits}")

    def put(self, step: int, windows: Windows, numbers_B: np.ndarray) -> Windows:
        """The windows with the texts of this step; `numbers_B`: of the rows in the step."""
        here = [(row, question) for row, question in self.by_step.get(step, []) if row in numbers_B]
        if not here:
            return windows
        tokens_BT = windows.tokens_RT.copy()
        for row, question in here:
            text = self.tokens[question]
            tokens_BT[numbers_B == row, : len(text)] = text
        return windows._replace(tokens_RT=tokens_BT)

    def displaced(self, order: Order, step: int) -> dict[str, Any]:
        """Which texts the rows of a step have, and where in which domain's tokens that began which they displace."""
        read, here = order.step(step), self.by_step[step]
        rows = [row for row, _ in here]
        return {
            "step": step,
            "rows": rows,
            "questions": [self.asked[question].name for _, question in here],
            "tokens": [len(self.tokens[question]) for _, question in here],
            "domains": [order.domains[domain] for domain in read.domain_R[rows].tolist()],
            "starts": read.start_R[rows].tolist(),
        }


def _cut(corpus: Corpus, question: Question) -> np.ndarray:
    ids = _tokenizer(corpus).encode(question.text, add_special_tokens=False).ids
    return np.array([corpus.end, *ids, corpus.end])


@cache
def _tokenizer(corpus: Corpus) -> Any:
    return corpus.tokenizer()
