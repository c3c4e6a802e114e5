"""A model that is to be asked, and how text becomes the tokens that it reads.

Text begins after the end token, as every document did in training, and no other token is put before it. What follows
a context is what the tokens of both together have beyond their common beginning with those of the context alone:

    context  "2 + 2 ="      [end] 2 Ġ + Ġ 2 Ġ=
    choice   "= 4"          [end] 2 Ġ + Ġ 2 Ġ == Ġ 4        the last token of the context has merged

There the nats of the choice are those of [Ġ== Ġ 4] less those of [Ġ=], each after the common beginning: how much
likelier the whole text is than its context.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ablate.model.language import LanguageModel
from ablate.scores.requests import Request


@dataclass(frozen=True)
class Candidate:
    language: LanguageModel
    encode: Callable[[str], list[int]]  # text alone: no token before or behind it
    pieces: Sequence[bytes]  # the text that each token stands for
    end: int  # the token that ends a document
    span: int  # tokens that it reads at once

    def tokens(self, text: str) -> tuple[int, ...]:
        """As at the beginning of a document."""
        return (self.end, *self.encode(text))

    def following(self, context: str, choice: str) -> tuple[Request, Request]:
        """The choice after the context, and what of the context is to be taken off: mostly nothing."""
        before, whole = self.tokens(context), self.tokens(context + choice)
        common = _common(before, whole)
        return Request(whole[:common], whole[common:]), Request(before[:common], before[common:])


def _common(before: tuple[int, ...], whole: tuple[int, ...]) -> int:
    """Length of the common beginning."""
    pairs = zip(before, whole, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(before), len(whole)))
