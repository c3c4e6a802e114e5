"""From the plan to the very tokens: windows, devices, validation rows."""

import pytest
import torch

from ablate.data.batches import From, Steps, training_spans, validation_rows
from ablate.data.tokens import prepare_for
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.settings import Settings, UserError


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
        assert batch["tokens"].shape == (len(rows.start_R), rows.length + 1)
        for row, domain, start in zip(batch["tokens"], rows.domain_R, rows.start_R, strict=True):
            stream = corpus.tokens(order.domains[domain], "train")
            assert row.tolist() == stream[start : start + rows.length + 1].tolist()


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_devices_share_out_the_rows_of_a_step(parts, world):
    _, corpus, order = parts()
    whole = Steps(order, corpus)[3]["tokens"].tolist()
    shares = [Steps(order, corpus, rank, world)[3]["tokens"].tolist() for rank in range(world)]
    assert sorted(row for share in shares for row in share) == sorted(whole)
    assert len({len(share) for share in shares}) == 1


def test_resuming_starts_at_a_step_and_keeps_the_length():
    assert list(From(7, 10)) == [7, 8, 9]
    assert len(From(7, 10)) == 10


def test_validation_rows_are_the_same_for_every_run_and_never_trained_on(parts):
    settings, corpus, _ = parts()
    other, same_corpus, _ = parts(seed=5, mixture={"share": 0.9}, tokens=51_200)
    rows, again = validation_rows(corpus, settings), validation_rows(same_corpus, other)
    assert torch.equal(rows["tokens"], again["tokens"])
    spans, span = settings.evaluation.spans, settings.data.span
    assert rows["tokens"].shape == (3 * spans, span + 1)
    assert rows["domain"].tolist() == [0] * spans + [1] * spans + [2] * spans
    held_out = corpus.tokens("code", "validation")
    windows = [held_out[start : start + span + 1].tolist() for start in range(0, len(held_out) - span, span)]
    assert all(row in windows for row in rows["tokens"][spans : 2 * spans].tolist())


def test_more_validation_spans_than_there_are_is_one_line(parts):
    with pytest.raises(UserError, match=r"^evaluation\.spans=10000: domain 'general' has only \d+ spans of 64 tokens"):
        parts(evaluation={"spans": 10_000})
