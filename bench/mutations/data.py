"""Mutations of what is read: windows and their order, rows, text, labels, held-out rows."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import numpy as np
import torch

from ablate.data import tokens
from ablate.data.batches import Batch, Steps
from ablate.data.tokens import Corpus
from ablate.fit import conditions, module, run
from ablate.fit.module import Pretraining
from ablate.plan import keyed, mixture, order, timeline
from ablate.plan.order import Order, Rows
from ablate.scores import loss

Change = Callable[..., Any]
Tampering = Callable[[], AbstractContextManager[Any]]


def around(owner: Any, name: str, change: Change) -> Tampering:
    """While in force, `owner.name(...)` is `change(the original, ...)`."""
    original = getattr(owner, name)

    def tampered(*args: Any, **more: Any) -> Any:
        return change(original, *args, **more)

    return lambda: mock.patch.object(owner, name, tampered)


def value(owner: Any, name: str, new: Any) -> Tampering:
    return lambda: mock.patch.object(owner, name, new)


def reading(change: Callable[[Callable[[int], Batch], int], Batch]) -> Tampering:
    """Another batch for a step: change(read, step) with read(step) the right one."""
    return around(
        Steps, "__getitem__", lambda get, self, step: change(lambda t: get(self, min(t, len(self) - 1)), step)
    )


def at(step: int, change: Callable[[Batch], Batch]) -> Tampering:
    """The batch of one step changed."""
    return reading(lambda read, t: change(read(t)) if t == step else read(t))


def placed(change: Callable[[Order, int, Rows], Rows]) -> Tampering:
    return around(order.Order, "step", lambda step, self, t: change(self, t, step(self, t)))


def held_out(change: Callable[[Batch], Batch]) -> Tampering:
    return around(run, "validation_rows", lambda rows, *args: change(rows(*args)))


def targets(change: Callable[[torch.Tensor], torch.Tensor]) -> Tampering:
    """Other labels than the batch has."""

    def tampered(sums: Change, h: torch.Tensor, w: torch.Tensor, labels: torch.Tensor, *rest: Any, **how: Any) -> Any:
        return sums(h, w, change(labels), *rest, **how)

    return around(loss, "loss_sums", tampered)


def streams(change: Callable[[Corpus, str, np.ndarray], np.ndarray], of: str = "train") -> Tampering:
    """Another stream of tokens."""

    def tampered(read: Change, self: Corpus, domain: str, split: str) -> np.ndarray:
        found = read(self, domain, split)
        return change(self, domain, found) if split == of else found

    return around(tokens.Corpus, "tokens", tampered)


def with_windows(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    """The batch of other windows: tokens with the one after the end."""
    windows_BT = change(torch.cat([batch.tokens_BL, batch.targets_BL[:, -1:]], dim=1))
    return batch._replace(tokens_BL=windows_BT[:, :-1], targets_BL=windows_BT[:, 1:])


def one_token(batch: Batch, row: int = 1) -> Batch:
    def change(windows_BT: torch.Tensor) -> torch.Tensor:
        windows_BT[row, 7] = (windows_BT[row, 7] + 1) % 512
        return windows_BT

    return with_windows(batch, change)


def masked(labels: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return torch.where(where, torch.full_like(labels, loss.IGNORED), labels)


def swapped(self: Corpus, domain: str, found: np.ndarray) -> np.ndarray:
    """`code` and `qa` have changed places."""
    other = {"code": "qa", "qa": "code"}.get(domain, domain)
    return np.resize(np.fromfile(self.folder / tokens.shard_name(other, "train"), dtype=found.dtype), len(found))


def first_rows(batch: Batch) -> list[int]:
    return [0, *range(len(batch.domain_B) - 1)]


ORDER = {
    "order shifted by a batch": reading(lambda read, t: read(t + 1)),
    "order shifted by a batch from step 4 on": reading(lambda read, t: read(t + (t >= 4))),
    "a batch left out": reading(lambda read, t: read(t + (t >= 3))),
    "a batch read twice": reading(lambda read, t: read(t - (t >= 5))),
    "two batches exchanged": reading(lambda read, t: read({3: 4, 4: 3}.get(t, t))),
    "order from the end": reading(lambda read, t: read(7 - t)),
    "rows of a batch reversed": at(2, lambda batch: batch.of_rows([*range(len(batch.domain_B))][::-1])),
    "two rows of a batch exchanged": at(5, lambda batch: batch.of_rows([1, 0, *range(2, len(batch.domain_B))])),
    "a row read twice in a batch": at(4, lambda batch: batch.of_rows(first_rows(batch))),
    "a row with another domain's name": at(
        3, lambda batch: batch._replace(domain_B=batch.domain_B.clone().index_fill_(0, torch.tensor([0]), 2))
    ),
    "one token of one row": at(2, one_token),
    "rows begin a token later": placed(lambda self, t, rows: Rows(rows.domain_R, rows.start_R + 1, rows.length)),
    "windows in the order of the file": around(order.keyed, "permute", lambda permute, index, size, key: index),
    "windows permuted by another key": around(
        order.keyed, "permute", lambda permute, index, size, key: permute(index, size, key + 1)
    ),
    "blocks with another key": around(
        mixture.keyed, "key", lambda key, *parts: key(*parts, "other") if parts[1] == "block" else key(*parts)
    ),
    "slots with another key": around(
        mixture.keyed, "key", lambda key, *parts: key(*parts, "other") if parts[1] == "slot" else key(*parts)
    ),
    "the seed counted from one": around(keyed, "key", lambda key, seed, *parts: key(seed + 1, *parts)),
    "the seed as text": around(keyed, "key", lambda key, seed, *parts: key(str(seed), *parts)),
    "epochs counted from one": around(
        keyed, "key", lambda key, *parts: key(*parts[:-1], parts[-1] + 1) if parts[1] == "order" else key(*parts)
    ),
    "a mixture of 20 % more": around(
        timeline.mixture, "stage_weights", lambda weights, s: weights(s) * np.array([1.2, 1.0, 1.0])
    ),
    "a mixture of 50 % more in the last stage": around(
        timeline.mixture, "stage_weights", lambda weights, s: weights(s) * np.array([[1, 1, 1], [1, 1.5, 1]])
    ),
    "a stage of the mixture a step late": around(
        timeline.mixture, "stage_of", lambda stage, s: np.concatenate([[0], stage(s)[:-1]])
    ),
    "blocks of 32 rows": around(order, "draws", lambda draws, rows, block, seed: draws(rows, 32, seed)),
    "growing length a step late": around(
        timeline.length, "row_lengths", lambda lengths, *a: np.concatenate([lengths(*a)[:1], lengths(*a)[:-1]])
    ),
    "growing batch a step late": around(
        timeline.length, "multiples", lambda multiples, s: np.concatenate([multiples(s)[:1], multiples(s)[:-1]])
    ),
    "the last row of each batch dropped": around(
        Pretraining,
        "micro_batches",
        lambda parts, self, batch: parts(self, batch.of_rows([*range(max(1, len(batch.domain_B) - 1))])),
    ),
}
TEXT = {
    "a shard cut short": around(run, "training_spans", lambda spans, *args: [spans(*args)[0] - 10, *spans(*args)[1:]]),
    "a span fewer in one domain": around(
        run, "training_spans", lambda spans, *args: [*spans(*args)[:2], spans(*args)[2] - 1]
    ),
    "two domains exchanged": streams(swapped),
    "a domain that reads held-out text": streams(
        lambda self, domain, found: np.concatenate([self.tokens("qa", "validation")] * 40) if domain == "qa" else found
    ),
    "a shard without its first token": streams(lambda self, domain, found: found[1:]),
    "no token between documents": streams(lambda self, domain, found: np.where(found == self.end, 5, found)),
    "another tokenizer's ids": streams(lambda self, domain, found: ((found.astype(int) * 3) % 509).astype(found.dtype)),
    "another tokenizer file": around(conditions, "sha256_of", lambda sha, path: sha(path)[::-1]),
    "a table of bytes off by one": around(
        run.torch, "from_numpy", lambda from_numpy, array: from_numpy(array) + int(array.dtype == np.int32)
    ),
}
LABELS = {
    "labels shifted once more": targets(lambda labels: labels.roll(-1, 1)),
    "labels not shifted": targets(lambda labels: torch.cat([labels[:, :1], labels[:, :-1]], 1)),
    "the first token of a row not learned": targets(
        lambda labels: masked(labels, torch.arange(labels.shape[1]).expand_as(labels) == 0)
    ),
    "a frequent token not learned": targets(lambda labels: masked(labels, labels < 64)),
    "the second half of rows not learned": targets(
        lambda labels: masked(labels, torch.arange(labels.shape[1]).expand_as(labels) >= labels.shape[1] // 2)
    ),
}
EVALUATION = {
    "held-out rows a span later": streams(lambda self, domain, found: found[64:], of="validation"),
    "one token of a held-out row": held_out(one_token),
    "held-out rows in another order": held_out(lambda rows: rows.of_rows([1, 0, *range(2, len(rows.domain_B))])),
    "held-out rows of the training text": held_out(lambda rows: with_windows(rows, lambda of: of.flip(0))),
    "held-out rows cut in half": held_out(lambda rows: with_windows(rows, lambda of: of[:, :33])),
    "a held-out row fewer": held_out(lambda rows: rows.of_rows([*range(len(rows.domain_B) - 1)])),
    "a row left out when evaluated": around(
        module, "share", lambda share, rows, *a: share(rows.of_rows([*range(max(1, len(rows.domain_B) - 1))]), *a)
    ),
    "held-out names of domains exchanged": held_out(lambda rows: rows._replace(domain_B=rows.domain_B.flip(0))),
}
