"""What batches look like on given weights, and how far one of them stands out from others (`fit.replay`).

Deviations are those of the monitor (`fit.monitor`), which is shown the other batches as if they were steps.

Shapes: B rows, D domains, F features of the monitor.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ablate.data import odd
from ablate.data.batches import Batch, Steps
from ablate.data.tokenizer import pieces
from ablate.fit.monitor import Monitor, rise
from ablate.run import monitor as monitors
from ablate.run.replay import Comparison, Measure, Row, Shares, strength
from ablate.run.settings import Settings

LEAST = 8  # batches to compare with
PHASE = (0.0, 0.0, 0.0)  # of all of them: they are alike


class Seen(NamedTuple):
    """Nats and counted targets of a batch by domain, the norm of its gradient, and nats, targets and bytes by row."""

    step_D2: np.ndarray
    norm: float
    rows_B3: np.ndarray

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.norm) and np.isfinite(self.step_D2).all())


def compared(settings: Settings, ours: Sequence[Seen], theirs: Sequence[Seen], most: float) -> Comparison:
    """The median of some batches with the median of others, and how many deviations of these it lies above.

    `most`: what the deviation of the gradient counts as at most.
    """
    usual = monitors.Monitor(window=max(16, len(theirs)), least=LEAST)  # whatever that of the run was asked for
    monitor = Monitor(dataclasses.replace(settings, monitor=usual))
    for seen in [*theirs, *theirs]:  # twice: the first ones have no trend to be compared with
        if seen.is_finite:
            monitor.take_in(monitor.look(PHASE, seen.step_D2, seen.norm))
    finite = [seen for seen in ours if seen.is_finite]
    if 2 * len(finite) <= len(ours):
        return Comparison(measures=measures(settings, ours, theirs), strength=np.inf)
    z_F = np.median([monitor.look(PHASE, seen.step_D2, seen.norm).z_F for seen in finite], axis=0)
    return Comparison(measures=measures(settings, finite, theirs, z_F), strength=strength(*rise(z_F), most))


def measures(
    settings: Settings, ours: Sequence[Seen], theirs: Sequence[Seen], z_F: np.ndarray | None = None
) -> list[Measure]:
    """Loss, gradient and loss by domain, but for domains of which there is nothing."""
    names = ["loss", "gradient norm", *settings.data.domains]
    z = z_F if z_F is not None else np.full(len(names), np.nan)
    found = zip(names, _medians(ours), _medians(theirs), z.tolist(), strict=True)
    measures = [Measure(name=name, one=one, other=other, z=deviation) for name, one, other, deviation in found]
    there = np.sum([seen.step_D2[:, 1] for seen in ours], axis=0) > 0
    return [*measures[:2], *(one for one, is_there in zip(measures[2:], there, strict=True) if is_there)]


def _medians(batches: Sequence[Seen]) -> list[float]:
    """By feature: nats of each target, and the norm of the gradient."""
    found = []
    for step_D2, norm, _ in batches:
        nats_D, counted_D = step_D2.T
        by_domain = np.where(counted_D > 0, nats_D / np.maximum(counted_D, 1), np.nan)
        found.append([nats_D.sum() / max(counted_D.sum(), 1), norm, *by_domain])
    there = ~np.isnan(found).all(axis=0)
    medians = np.full(len(found[0]), np.nan)
    medians[there] = np.nanmedian(np.array(found)[:, there], axis=0)
    return medians.tolist()


def rows_of(steps: Steps, step: int, suspect: Seen, usual: Sequence[Measure]) -> list[Row]:
    """The rows of a step, first those whose loss lies highest above what is usual in their domain."""
    batch, plan, domains = steps[step], steps.order.step(step), steps.order.domains
    level = {one.name: one.other for one in usual}
    found = []
    for number, (tokens, text) in enumerate(_texts(steps, batch)):
        domain, nats, counted = domains[plan.domain_R[number]], *suspect.rows_B3[number, :2].tolist()
        row = Row(
            domain=domain,
            start=int(plan.start_R[number]),
            nats=nats / max(counted, 1),
            odd=odd.odd(text),
            repeated=odd.repeated(tokens),
            text=odd.shown(text),
        )
        found.append(row)
    return sorted(found, key=lambda row: level[row.domain] - row.nats)


def shares_of(steps: Steps, which: Sequence[int]) -> Shares:
    """Of the rows of some steps."""
    found = [(odd.odd(text), odd.repeated(tokens)) for step in which for tokens, text in _texts(steps, steps[step])]
    mean = np.mean(found, axis=0).tolist()
    return Shares(odd=mean[0], repeated=mean[1])


def _texts(steps: Steps, batch: Batch) -> list[tuple[list[int], bytes]]:
    """Tokens and bytes of each row."""
    corpus = steps.corpus
    named = pieces(corpus.tokenizer(), len(corpus.bytes_per_token))
    return [(tokens, b"".join(named[token] for token in tokens)) for tokens in batch.tokens_BL.tolist()]
