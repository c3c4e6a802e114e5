"""A step's loss is its nats over its tokens, whatever parts its rows are worked off in."""

from pathlib import Path

import pytest
import torch
from runs import record_of, train_run
from torch import Tensor, nn

from ablate.data.batches import Batch, Steps, training_spans
from ablate.data.tokens import prepare
from ablate.fit.module import Pretraining
from ablate.model.language import build
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.settings import Settings
from ablate.scores.loss import Sums

# Rows grow from 32 to 64 tokens while the batch grows from 512 to 1536, not at the same steps
GROWING = {
    "length": {"lengths": [32, 64], "starts": [0, 0.3]},
    "ramp": {"multiples": [1, 2, 3], "starts": [0, 0.3, 0.7]},
    "tokens": 20_480,
}


def rows(settings: Settings) -> list[dict]:
    train_run(settings)
    return record_of(settings).rows("train")


@pytest.fixture
def differences(tiny, tmp_path):
    """differences(**changes): largest relative ones of loss and gradient norm between whole steps and uneven parts."""

    def measure(**changes) -> dict[str, float]:
        whole = rows(tiny(**changes))
        # 5 rows of 32 tokens or 2 of 64, which divides no step: the last part is always smaller
        parts = rows(tiny(**changes, where={"micro_tokens": 160, "outputs": str(tmp_path / "parts")}))
        pairs = list(zip(whole, parts, strict=True))
        return {name: max(abs(a[name] - b[name]) / a[name] for a, b in pairs) for name in ("nats", "grad_norm")}

    return measure


@pytest.mark.slow
@pytest.mark.parametrize("constant", ["tokens", "rows"])
def test_parts_of_a_step_are_the_step(tiny, differences, constant):
    growing = GROWING | {"length": GROWING["length"] | {"constant": constant}}
    table = timeline(tiny(**growing)).table
    assert len({(row["rows"], row["length"]) for row in table}) == 4
    found = differences(**growing)
    assert found["nats"] < 1e-5
    assert found["grad_norm"] < 1e-4


@pytest.mark.parametrize("multiple", [1, 3])
@pytest.mark.parametrize("micro_tokens", [160, 16_384])
def test_the_gradient_is_that_of_the_mean_over_all_tokens(tiny, multiple, micro_tokens):
    """The norm before the first step, against torch's own mean over the same rows."""
    settings = tiny(ramp={"multiples": [multiple]}, where={"micro_tokens": micro_tokens})
    first = rows(settings)[0]
    corpus = prepare(settings.data, Path(settings.where.outputs))
    steps = Steps(Order(timeline(settings), training_spans(corpus, settings)), corpus)
    tokens_BL, targets_BL, *_ = steps[0]
    model = build(settings.model, settings.size, settings.data.vocabulary, settings.seed)
    assert targets_BL.numel() == multiple * settings.step_tokens
    mean = nn.functional.cross_entropy(model.logits(tokens_BL).flatten(0, 1), targets_BL.flatten())
    gradients = torch.autograd.grad(mean, list(model.parameters()))
    norm = torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients]))
    assert first["grad_norm"] == pytest.approx(float(norm), rel=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("unprobed")  # its steps are not of this plan
def test_a_mean_of_means_is_noticed(differences, monkeypatch):
    """The usual mistake: every part counts alike, also the last, smaller one."""
    losses = Pretraining.losses

    def mean_of_means(self: Pretraining, batch: Batch, into: Tensor) -> Sums:
        sums = losses(self, batch, into)
        row = self.timeline.table[min(self.trainer.global_step, len(self.timeline) - 1)]
        per_part = self.settings.where.micro_tokens // int(row["length"])
        num_parts = -(-int(row["rows"]) // per_part)
        return sums._replace(total=sums.total * (int(row["rows"]) / (num_parts * len(batch.tokens_BL))))

    monkeypatch.setattr(Pretraining, "losses", mean_of_means)
    d = differences(**GROWING)
    assert d["grad_norm"] > 1e-2
