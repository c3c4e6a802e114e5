"""Steps to batches: the plan says which windows, the memory-mapped shards hold their tokens.

    step t --Order--> (domain, start) of every row --Corpus--> windows_BT --Batch.of--> tokens, targets, domain

Item t of `Steps` is step t, whole: nothing is remembered between items, so a resumed run simply
starts at its step. A device takes every `world`-th row. Validation rows are the same for every run
on the same data: evenly spaced spans of each domain's held-out text.

Shapes: B rows, L tokens of a row, T = L + 1 tokens of the window that a row is cut from, K numbers beside a row.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ablate.data.inserted import Inserted
from ablate.data.tokens import Corpus, held_out, num_spans
from ablate.data.troubled import troubled
from ablate.data.windows import Stream, Windows
from ablate.plan.order import Order
from ablate.run.settings import Settings


class Batch(NamedTuple):
    """Rows with what they are to predict, all int64. `targets_BL[b, t]` is the target at the token (b, t);
    `IGNORED` where none counts. `domain_B` is an index into `data.domains`. `beside_BK` is what the objective knows of
    a row besides, float64: K is 0 for most (`Beside`)."""

    tokens_BL: Tensor
    targets_BL: Tensor
    domain_B: Tensor
    beside_BK: Tensor

    @classmethod
    def of(cls, windows: Windows, domain_B: np.ndarray, beside_BK: np.ndarray | None = None) -> Self:
        """Every token predicts the next one, where that counts; the last token of a window is a target only."""
        windows_BT = torch.from_numpy(windows.tokens_RT.astype(np.int64))
        targets_BL = windows_BT[:, 1:] if windows.marks_RT is None else torch.from_numpy(windows.targets_RL)
        beside = np.empty((len(domain_B), 0)) if beside_BK is None else beside_BK
        return cls(windows_BT[:, :-1], targets_BL, torch.from_numpy(domain_B), torch.from_numpy(beside))  # views

    def halves(self) -> Self:
        """Both halves of every row as rows, of which none knows of the other."""
        half = self.tokens_BL.shape[1] // 2
        tokens, targets = (part[:, : 2 * half].reshape(-1, half) for part in (self.tokens_BL, self.targets_BL))
        beside = self.beside_BK.reshape(len(tokens), self.beside_BK.shape[1] // 2)
        return type(self)(tokens, targets, self.domain_B.repeat_interleave(2), beside)

    def of_rows(self, which: Any) -> Self:
        """Some of the rows: a slice, a list of numbers or a mask."""
        return type(self)(*(part[which] for part in self))

    def parts(self, rows: int) -> list[Self]:
        """All rows in order, `rows` at a time."""
        return [type(self)(*part) for part in zip(*(whole.split(rows) for whole in self), strict=True)]

    def to(self, device: torch.device) -> Self:
        return type(self)(*(part.to(device) for part in self))


Beside = Sequence[np.ndarray]  # by domain, of every whole span of its training text: (spans, K)


class Steps(Dataset):
    """Training steps of one device: item t is the batch of step t. `beside`: what the objective knows besides."""

    def __init__(self, order: Order, corpus: Corpus, rank: int = 0, world: int = 1, beside: Beside = ()):
        self.order, self.corpus, self.rank, self.world, self.beside = order, corpus, rank, world, beside

    @cached_property
    def streams(self) -> list[Stream]:
        """Opened where rows are read: sent to a loader's process, mapped files would be sent with all their tokens."""
        objective = self.order.timeline.settings.objective
        return [Stream.of(self.corpus, domain, "train", objective) for domain in self.order.domains]

    @cached_property
    def inserted(self) -> Inserted:
        return Inserted.of(self.order.timeline, self.corpus)

    def __len__(self) -> int:
        return len(self.order.timeline)

    def __getitem__(self, index: int) -> Batch:
        rows = self.order.step(index)
        domain_B, start_B = rows.domain_R[self.rank :: self.world], rows.start_R[self.rank :: self.world]
        windows = Windows.of(self.streams, domain_B, start_B, rows.length)
        numbers_B = self.rank + self.world * np.arange(len(domain_B))
        windows = troubled(self.order.timeline.settings, self.corpus, index, windows, domain_B, numbers_B)
        windows = self.inserted.put(index, windows, numbers_B)
        if not self.beside:
            return Batch.of(windows, domain_B)
        places = zip(domain_B.tolist(), (start_B // self.order.span).tolist(), strict=True)
        return Batch.of(windows, domain_B, np.stack([self.beside[domain][span] for domain, span in places]))


class From(Sampler[int]):
    """Steps first, first + 1, ... to the end. Its length stays that of the whole run: Lightning counts
    the batches of earlier starts as fetched."""

    def __init__(self, first: int, total: int):
        self.first, self.total = first, total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.total))

    def __len__(self) -> int:
        return self.total


def validation_rows(corpus: Corpus, settings: Settings) -> Batch:
    """The held-out rows, domain after domain: `evaluation.spans` of each, evenly spaced over its held-out text."""
    domains, wanted, part = settings.data.domains, settings.evaluation.spans, settings.evaluation.part
    found = [
        Batch.of(held_out(corpus, domain, settings.data.span, wanted, part), np.full(wanted, number))
        for number, domain in enumerate(domains)
    ]
    return Batch(*(torch.cat(part) for part in zip(*found, strict=True)))


def training_spans(corpus: Corpus, settings: Settings) -> list[int]:
    """Whole spans of each domain's training text, in the order of `data.domains`."""
    return [num_spans(corpus.num_tokens(domain, "train"), settings.data.span) for domain in settings.data.domains]
