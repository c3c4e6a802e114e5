"""A step's loss is its nats over its counted targets, wherever those lie; what the loss leaves out is noticed."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import record_of, train_run
from torch import nn

from ablate.data.batches import Batch, Steps, training_spans
from ablate.data.tokens import prepare
from ablate.data.windows import IGNORED
from ablate.fit.parallel import strategy
from ablate.fit.parallel.processes import free_port
from ablate.model.language import build
from ablate.page.drawing import run_curves
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.identity import run_id
from ablate.run.settings import Settings, SettingsError
from ablate.scores import loss
from ablate.scores.metrics import Scope, metric_of
from ablate.sweep.worker import alone

GET_ITEM = Steps.__getitem__


def masked(self: Steps, index: int) -> Batch:
    """The batch with few targets left, the more the later a row stands in the step: no two parts count alike."""
    batch = GET_ITEM(self, index)
    targets_BL = batch.targets_BL.clone()
    for row, number in zip(targets_BL, range(self.rank, self.world * len(targets_BL), self.world), strict=True):
        row[: -1 - number] = IGNORED
    return batch._replace(targets_BL=targets_BL)


def train_masked(settings: Settings, rank: int, port: int) -> None:
    """One process of a run on such batches."""
    os.environ.update(strategy.rank_environment(rank, settings.where, port))
    Steps.__getitem__ = masked
    train_run(settings)


WHERE = [
    {"devices": 1},
    {"devices": 1, "micro_tokens": 64},  # two rows of 32 at a time
    {"devices": 1, "micro_tokens": 160},  # five, then the rest
    {"devices": 2, "micro_tokens": 32, "strategy": "ddp"},
    {"devices": 2, "micro_tokens": 160, "strategy": "fsdp"},
]


@pytest.mark.slow
@pytest.mark.parametrize("where", WHERE)
def test_the_gradient_is_that_of_the_mean_over_counted_targets(tiny, monkeypatch, forkserver, where):
    """The norm before the first step against torch's own mean, which leaves out what is ignored."""
    settings, devices = tiny(tokens=1024, where=where | {"device": "cpu"}), range(where["devices"])
    with free_port() as port:
        ranks = [forkserver.Process(target=train_masked, args=(settings, rank, port)) for rank in devices]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
    assert [process.exitcode for process in ranks] == [0] * len(ranks)
    monkeypatch.setattr(Steps, "__getitem__", masked)
    first = record_of(settings).rows("train")[0]
    corpus = prepare(settings.data, Path(settings.where.outputs))
    batch = Steps(Order(timeline(settings), training_spans(corpus, settings)), corpus)[0]
    counted = (batch.targets_BL != IGNORED).sum()
    assert counted == sum(range(1, 17))  # of 16 rows: 1, 2, ... 16
    model = build(settings.model, settings.size, settings.data.vocabulary, settings.seed)
    mean = nn.functional.cross_entropy(model.logits(batch.tokens_BL).flatten(0, 1), batch.targets_BL.flatten())
    gradients = torch.autograd.grad(mean, list(model.parameters()))
    norm = torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients]))
    assert first["nats"] == pytest.approx(float(mean), rel=1e-5)
    assert first["grad_norm"] == pytest.approx(float(norm), rel=1e-4)


def test_a_target_left_out_of_the_loss_stops_the_run(tiny, monkeypatch):
    def all_but_one(hidden, head, targets_BL, *rest, **how):
        targets_BL = targets_BL.clone()
        targets_BL[0, 0] = IGNORED
        return loss_sums(hidden, head, targets_BL, *rest, **how)

    loss_sums = loss.loss_sums
    monkeypatch.setattr(loss, "loss_sums", all_but_one)
    with pytest.raises(RuntimeError, match=r"^step 1: \d+ targets of \w+ are in the loss, learnt \d+"):
        train_run(tiny())


def test_a_row_of_which_nothing_counted_says_nothing_of_a_loss(tiny, monkeypatch):
    """Every second step is of prompts alone."""

    def by_turns(steps: Steps, step: int) -> Batch:
        batch = GET_ITEM(steps, step)
        return batch if step % 2 else batch._replace(targets_BL=torch.full_like(batch.targets_BL, IGNORED))

    monkeypatch.setattr(Steps, "__getitem__", by_turns)
    train_run(settings := tiny())
    record = record_of(settings)
    assert [("nats" in row, row["grad_norm"] > 0) for row in record.rows("train")] == [(False,) * 2, (True,) * 2] * 10
    curves = run_curves.draw(
        {"run": record}, metric_of("rest", settings.data.domains), Scope(settings.data.domains, "qa")
    )
    assert np.size(curves.axes[1].lines[0].get_xdata()) == 10


def test_rows_of_another_domain_than_planned_stop_the_run(tiny, monkeypatch):
    def renamed(steps: Steps, step: int) -> Batch:
        batch = GET_ITEM(steps, step)
        return batch._replace(domain_B=batch.domain_B.clone().fill_(0))

    monkeypatch.setattr(Steps, "__getitem__", renamed)
    with pytest.raises(RuntimeError, match=r"^step 1: 512 tokens of general were read, planned \d+"):
        train_run(tiny())


def test_an_unknown_objective_is_refused_before_anything_is_written(tiny):
    settings = tiny(objective="next_word")
    known = "next_token, answers, distill, preference, reward"
    with pytest.raises(SettingsError, match=rf"^objective=next_word: must be one of {known}$"):
        alone(settings)
    assert not (Path(settings.where.outputs) / "runs").exists()


def test_the_objective_is_in_the_identity_when_it_is_not_next_token(tiny):
    assert run_id(tiny(objective="other"), "data") != run_id(tiny(), "data")


def test_answers_of_which_all_counts_are_next_token(tiny):
    """Bit for bit: text without parts, under the one objective and the other."""
    one, other = (train_run(tiny(objective=name, tokens=1024)) for name in ("next_token", "answers"))
    assert one["weights_sha256"] == other["weights_sha256"]
