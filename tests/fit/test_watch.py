"""What a run tells while it goes on."""

import re

import numpy as np
import pytest
import torch
from runs import record_of, train_run

from ablate.data.batches import Batch
from ablate.data.windows import Windows
from ablate.fit.parallel import strategy
from ablate.fit.watch import Smoothed, Watch, losses_by_row, sums_by_domain
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.record import Record
from ablate.run.settings import SettingsError
from ablate.scores.metrics import Scope, metric_of

WEIGHTS = np.array([0.5, 0.5])
NOTHING = Batch.of(Windows(np.zeros((1, 2)), None), np.zeros(1, int))


def test_rows_of_one_domain_at_a_time_do_not_look_like_divergence():
    """Steps of one row each, of an easy and a hard domain by turns: 4.5 and 6.8 nats, which never change."""
    smoothed, told = Smoothed(2, horizon=5), []
    for step in range(12):
        tokens_D = np.array([64.0, 0.0]) if step % 2 else np.array([0.0, 64.0])
        smoothed.add(tokens_D * np.array([4.5, 6.8]), tokens_D, 1)
        told.append(smoothed.loss(WEIGHTS))
    assert told[0] == pytest.approx(6.8)  # only this domain is known yet
    assert told[1:] == pytest.approx([5.65] * 11)


def test_the_mean_is_exponential_and_right_from_its_first_step():
    """After a step of 8 and one of 2 nats at horizon h: (8 e^(-1/h) + 2) / (e^(-1/h) + 1), not a mean with 0."""
    smoothed, tokens_D = Smoothed(1, horizon=2), np.array([10.0])
    smoothed.add(8 * tokens_D, tokens_D, 1)
    assert smoothed.loss(np.ones(1)) == pytest.approx(8)
    assert smoothed.covered == 1
    smoothed.add(2 * tokens_D, tokens_D, 1)
    assert smoothed.loss(np.ones(1)) == pytest.approx((8 * np.exp(-0.5) + 2) / (np.exp(-0.5) + 1))
    smoothed.add(5 * tokens_D, tokens_D, 10)  # what was before fades with the steps, not with the times it was told
    assert smoothed.covered == 2
    before = np.array([8 * np.exp(-0.5) + 2, np.exp(-0.5) + 1]) * np.exp(-5)
    assert smoothed.loss(np.ones(1)) == pytest.approx((before[0] + 5) / (before[1] + 1))


def test_nothing_is_told_of_a_loss_while_nothing_has_counted():
    """Rows of prompts alone, and then of a domain that the mixture has left."""
    smoothed = Smoothed(2, horizon=5)
    smoothed.add(np.zeros(2), np.zeros(2), 1)
    assert smoothed.loss(WEIGHTS) is None
    smoothed.add(np.array([20.0, 0.0]), np.array([10.0, 0.0]), 1)
    assert smoothed.loss(np.array([0.0, 1.0])) is None
    assert smoothed.loss(WEIGHTS) == pytest.approx(2)


def test_sums_and_rows_stand_under_their_own_domain(tiny):
    """Two domains of two rows each: nats, counted targets and bytes."""
    settings = tiny(data={"domains": ["code", "qa"]})
    rows_R3 = torch.tensor([[1.0, 4, 9], [2, 4, 7], [5, 3, 8], [6, 3, 6]])
    sums = sums_by_domain(torch.stack([rows_R3[:2].sum(0), rows_R3[2:].sum(0)]), settings.data.domains)
    assert sums == {"code": {"nats": 3, "tokens": 8, "bytes": 16}, "qa": {"nats": 11, "tokens": 6, "bytes": 14}}
    found = losses_by_row(rows_R3, settings)
    assert found == {"code": {"nats": [1, 2], "bytes": [9, 7]}, "qa": {"nats": [5, 6], "bytes": [8, 6]}}


def test_the_mixture_asked_for_weighs_by_tokens(tiny, tmp_path):
    """`general` alone, then `qa` alone in steps of three times the tokens: 1/4 and 3/4, as is then read."""
    late = {"start": 0.5, "weights": {"qa": 1}}
    mixture = {"weights": {"general": 1}, "stages": {"late": late}}
    settings = tiny(tokens=8192, mixture=mixture, ramp={"multiples": [1, 3], "starts": [0, 4]})
    watch = Watch(settings, Order(timeline(settings), [100, 100, 100]), NOTHING, Record(tmp_path))
    assert watch.timeline.table["rows"].tolist() == [16] * 4 + [24] * 4
    watch.last_step = len(watch.timeline)
    mixture = watch.summary()["mixture"]
    assert mixture["asked"] == mixture["realised"] == {"general": 0.25, "code": 0, "qa": 0.75}


def test_a_run_prints_its_smoothed_loss_and_every_evaluation_in_the_studys_metric(tiny, capsys):
    train_run(settings := tiny(where={"progress": True}, study={"metric": "rest"}))
    lines = capsys.readouterr().out.splitlines()
    metric, scope = metric_of("rest", settings.data.domains), Scope(settings.data.domains, settings.data.focus)
    told = [
        f"step {row['step']}/20  held-out rest {metric.read(row, scope):.4f} bits per byte"
        for row in record_of(settings).rows("evaluation")
    ]
    assert [line for line in lines if "held-out rest" in line] == told
    losses = [line for line in lines if "loss" in line]
    assert len(losses) == 10
    assert all(
        re.fullmatch(r"step \d+/20  loss \d\.\d{3} nats/token over 2 steps  [\d,]+ tokens/s", line) for line in losses
    )


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("clip", [0, 0.1])
def test_gradient_norms_by_layer_make_up_the_norm_and_move_no_weight(tiny, tmp_path, optimizer, clip):
    changes = {"tokens": 2048, "optimizer": {"name": optimizer, "clip": clip}}
    plain = train_run(tiny(**changes))
    settings = tiny(**changes, where={"gradient_norms": True, "outputs": str(tmp_path / "other")})
    assert train_run(settings)["weights_sha256"] == plain["weights_sha256"]
    for row in record_of(settings).rows("train"):
        assert list(row["gradient_norms"]) == ["embedding", "block 0", "block 1", "end"]
        assert min(row["gradient_norms"].values()) > 0
        assert np.hypot.reduce([*row["gradient_norms"].values()]) == pytest.approx(row["grad_norm"], rel=1e-4)
    assert "gradient_norms" not in record_of(tiny(**changes)).rows("train")[0]


@pytest.mark.slow
def test_gradient_norms_of_one_process_and_of_parts_on_two_agree(tiny, tmp_path):
    found = []
    for name, devices in (("single", 1), ("fsdp", 2)):
        where = {"strategy": name, "devices": devices, "device": "cpu", "outputs": str(tmp_path / name)}
        train_run(settings := tiny(tokens=1024, where=where | {"gradient_norms": True}))
        found.append(record_of(settings).rows("train")[0]["gradient_norms"])
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_gradient_norms_are_refused_where_they_cannot_be_had(tiny):
    with pytest.raises(SettingsError, match=r"^where\.gradient_norms=true: must be false: DeepSpeed"):
        strategy.check(tiny(where={"strategy": "zero1", "devices": 2, "gradient_norms": True}))
