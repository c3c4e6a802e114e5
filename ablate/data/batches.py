"""Steps to batches: the plan says which windows, the memory-mapped shards hold their tokens.

    step t --Order--> (domain, start) of every row --Corpus--> tokens_RT, T = length + 1

Item t of `Steps` is step t, whole: nothing is remembered between items, so a resumed run simply
starts at its step. A device takes every `world`-th row. Validation rows are the same for every run
on the same data: evenly spaced spans of each domain's held-out text.

Shapes: R rows, T tokens of a row with the one after its end (inputs are [:-1], targets [1:]).
"""

from collections.abc import Iterator

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ablate.data.tokens import Corpus, num_spans
from ablate.plan.order import Order
from ablate.run.settings import Settings

Batch = dict[str, Tensor]


class Steps(Dataset):
    """Training steps of one device: item t has `tokens` (R, T) and `domain` (R,), both int64."""

    def __init__(self, order: Order, corpus: Corpus, rank: int = 0, world: int = 1):
        self.order, self.rank, self.world = order, rank, world
        self.streams = [corpus.tokens(domain, "train") for domain in order.domains]

    def __len__(self) -> int:
        return len(self.order.timeline)

    def __getitem__(self, index: int) -> Batch:
        rows = self.order.step(index)
        domain_R, start_R = rows.domain_R[self.rank :: self.world], rows.start_R[self.rank :: self.world]
        pairs = zip(domain_R.tolist(), start_R.tolist(), strict=True)
        tokens_RT = np.stack([self.streams[d][start : start + rows.length + 1] for d, start in pairs])
        return {"tokens": torch.from_numpy(tokens_RT.astype(np.int64)), "domain": torch.from_numpy(domain_R)}


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
    """The held-out rows, domain after domain: `tokens` (domains * spans, span + 1) and `domain`."""
    span, wanted = settings.data.span, settings.evaluation.spans
    rows = []
    for domain in settings.data.domains:
        present = num_spans(corpus.num_tokens(domain, "validation"), span)
        stream = corpus.tokens(domain, "validation")
        starts = np.arange(wanted) * present // wanted * span
        rows += [stream[start : start + span + 1] for start in starts.tolist()]
    domain_R = np.repeat(np.arange(len(settings.data.domains)), wanted)
    return {"tokens": torch.from_numpy(np.stack(rows).astype(np.int64)), "domain": torch.from_numpy(domain_R)}


def training_spans(corpus: Corpus, settings: Settings) -> list[int]:
    """Whole spans of each domain's training text, in the order of `data.domains`."""
    return [num_spans(corpus.num_tokens(domain, "train"), settings.data.span) for domain in settings.data.domains]


class Batches(L.LightningDataModule):
    """The training steps of one run for Lightning, from the step that the trainer has reached."""

    def __init__(self, order: Order, corpus: Corpus, workers: int):
        super().__init__()
        self.order, self.corpus, self.workers = order, corpus, workers

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        steps = Steps(self.order, self.corpus, trainer.global_rank, trainer.world_size)
        sampler = From(trainer.global_step, len(steps))
        pinned = trainer.strategy.root_device.type == "cuda"
        return DataLoader(steps, batch_size=None, sampler=sampler, num_workers=self.workers, pin_memory=pinned)
