"""Trouble is where it was planted, and nowhere else."""

import numpy as np
import pytest
from runs import record_of, train_run

from ablate.data.batches import Steps, training_spans
from ablate.data.promised import rows
from ablate.data.tokens import opened
from ablate.plan import trouble
from ablate.plan.digests import START, link, of_rows
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.sweep.worker import alone

PLANTED = {"start": 5, "steps": 2}


def steps_of(settings, rank: int = 0, world: int = 1) -> Steps:
    corpus = opened(alone(settings).corpus)
    return Steps(Order(timeline(settings), training_spans(corpus, settings)), corpus, rank, world)


@pytest.mark.parametrize("kind", trouble.SPOILING)
def test_rows_of_these_steps_are_spoilt_and_no_others(tiny, kind):
    clean, spoilt = steps_of(tiny()), steps_of(tiny(trouble=PLANTED | {"kind": kind}))
    for step in range(20):
        same = (clean[step].tokens_BL == spoilt[step].tokens_BL).float().mean()
        assert same == 1 if step not in (5, 6) else same < 0.6
        assert (clean[step].domain_B == spoilt[step].domain_B).all()
    batch = spoilt[5]
    assert (batch.targets_BL[:, :-1] == batch.tokens_BL[:, 1:]).all()
    assert kind != "repeated" or all(len(row.unique()) == 1 for row in batch.tokens_BL)


def test_rows_of_one_domain(tiny):
    clean, spoilt = steps_of(tiny()), steps_of(tiny(trouble=PLANTED | {"kind": "noise", "domain": "code"}))
    one, two = clean[6], spoilt[6]
    changed = (one.tokens_BL != two.tokens_BL).any(1)
    assert changed.tolist() == (one.domain_B == 1).tolist()


def test_no_number_of_devices_changes_it(tiny):
    settings = tiny(trouble=PLANTED | {"kind": "noise"})
    whole, parts = steps_of(settings)[5], [steps_of(settings, rank, 2)[5] for rank in range(2)]
    for rank, part in enumerate(parts):
        np.testing.assert_array_equal(part.tokens_BL, whole.tokens_BL[rank::2])


def test_the_rate_is_planned_and_realised(tiny):
    settings = tiny(trouble=PLANTED | {"kind": "rate"})
    clean, planted = timeline(tiny()).table["lr"], timeline(settings).table["lr"]
    assert (planted / clean).round(12).tolist() == [30.0 if step in (5, 6) else 1.0 for step in range(20)]
    train_run(settings)
    assert [row["lr"] for row in record_of(settings).rows("train")] == planted.tolist()


@pytest.mark.parametrize("domain", ["", "code"])
def test_spoilt_rows_are_promised_as_they_are_read(tiny, domain):
    """A study of trouble was once void: its rows were not those of the plan."""
    settings = tiny(trouble=PLANTED | {"kind": "noise", "domain": domain})
    steps, head = steps_of(settings), START
    promised = rows(timeline(settings), opened(alone(settings).corpus), range(1, 9))
    for step in range(8):
        batch = steps[step]
        head = link(head, *of_rows(*(part.numpy() for part in (batch.domain_B, batch.tokens_BL, batch.targets_BL))))
        assert promised[step + 1] == head
