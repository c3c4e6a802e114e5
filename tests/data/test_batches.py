"""From the plan to the very tokens: windows, devices, validation rows."""

import pickle
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from ablate.data.batches import From, Steps, training_spans, validation_rows
from ablate.data.tokens import held_out, num_parts, prepare_for
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.settings import Evaluation, Settings, UserError


@pytest.fixture
def parts(tiny):
    def make(**changes):
        settings: Settings = tiny(**changes)
        corpus = prepare_for(settings)
        return settings, corpus, Order(timeline(settings), training_spans(corpus, settings))

    return make


def test_a_row_is_the_planned_window_with_the_token_after_it(parts):
    settings, corpus, order = parts()
    steps = Steps(order, corpus)
    assert len(steps) == settings.steps
    for step in (0, 9, 10, 19):
        batch, rows = steps[step], order.step(step)
        assert batch.tokens_BL.shape == batch.targets_BL.shape == (len(rows.start_R), rows.length)
        for *row, domain, start in zip(*batch[:3], rows.start_R, strict=True):
            window = corpus.tokens(order.domains[domain], "train")[start : start + rows.length + 1].tolist()
            assert [part.tolist() for part in row] == [window[:-1], window[1:]]


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_devices_share_out_the_rows_of_a_step(parts, world):
    _, corpus, order = parts()
    whole = Steps(order, corpus)[3].tokens_BL.tolist()
    shares = [Steps(order, corpus, rank, world)[3].tokens_BL.tolist() for rank in range(world)]
    assert sorted(row for share in shares for row in share) == sorted(whole)
    assert len({len(share) for share in shares}) == 1


@pytest.mark.slow
def test_a_loaders_process_that_starts_afresh_reads_the_same_batches(parts, forkserver):
    """Python 3.14 starts processes so. They are told where the text is, and not sent the text itself."""
    _, corpus, order = parts()
    steps = Steps(order, corpus)
    text = sum(corpus.num_tokens(domain, "train") for domain in order.domains)
    assert len(pickle.dumps(steps)) < text / 4
    loader = DataLoader(steps, batch_size=None, sampler=From(7, 12), num_workers=1, multiprocessing_context=forkserver)
    for step, batch in enumerate(loader, 7):
        assert all(torch.equal(part, here) for part, here in zip(batch, steps[step], strict=True))


def test_resuming_starts_at_a_step_and_keeps_the_length():
    assert list(From(7, 10)) == [7, 8, 9]
    assert len(From(7, 10)) == 10


def test_validation_rows_are_the_same_for_every_run_and_never_trained_on(parts):
    settings, corpus, _ = parts()
    other, same_corpus, _ = parts(seed=5, mixture={"share": 0.9}, tokens=51_200)
    rows, again = validation_rows(corpus, settings), validation_rows(same_corpus, other)
    assert all(torch.equal(a, b) for a, b in zip(rows, again, strict=True))
    spans, span = settings.evaluation.spans, settings.data.span
    assert rows.tokens_BL.shape == rows.targets_BL.shape == (3 * spans, span)
    assert rows.domain_B.tolist() == [0] * spans + [1] * spans + [2] * spans


def test_validation_rows_are_evenly_spaced_over_the_held_out_text(parts):
    """Five rows of `code`: whatever whole spans it has, every fifth part of them gives its first."""
    settings, corpus, _ = parts(evaluation={"spans": 5})
    held_out = corpus.tokens("code", "validation").tolist()
    span, rows = settings.data.span, validation_rows(corpus, settings)
    spans = (len(held_out) - 1) // span
    assert spans >= 10  # else evenly spaced ones could be the first ones
    starts = [fifth * spans // 5 * span for fifth in range(5)]
    assert rows.tokens_BL[5:10].tolist() == [held_out[start : start + span] for start in starts]
    assert rows.targets_BL[5:10].tolist() == [held_out[start + 1 : start + span + 1] for start in starts]


def test_parts_of_the_validation_rows_share_none(parts):
    settings, corpus, _ = parts(evaluation={"spans": 5})
    number = min(num_parts(corpus, domain, settings.data.span, 5) for domain in corpus.domains)
    assert number >= 2
    starts = [
        held_out(corpus, "code", settings.data.span, 5, part).tokens_RT[:, :-1].tolist() for part in range(number)
    ]
    assert starts[0] == validation_rows(corpus, settings).tokens_BL[5:10].tolist()
    rows = [tuple(row) for part in starts for row in part]
    assert len(set(rows)) == 5 * number
    last = validation_rows(corpus, replace(settings, evaluation=Evaluation(spans=5, part=number - 1)))
    assert last.tokens_BL[5:10].tolist() == starts[-1]
    with pytest.raises(UserError, match=r"^evaluation\.part=\d+: must be below \d+, the sets of 5 rows that domain"):
        parts(evaluation={"spans": 5, "part": 10_000})


def test_more_validation_spans_than_there_are_is_one_line(parts):
    with pytest.raises(UserError, match=r"^evaluation\.spans=10000: domain 'general' has only \d+ spans of 64 tokens"):
        parts(evaluation={"spans": 10_000})
