"""A step's loss is its nats over its tokens, whatever parts its rows are worked off in."""

import pytest
from runs import record_of

from ablate.data.batches import Batch
from ablate.fit.loss import Sums
from ablate.fit.module import Pretraining
from ablate.fit.run import train_run
from ablate.plan.timeline import timeline
from ablate.settings import Settings

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


@pytest.mark.parametrize("constant", ["tokens", "rows"])
def test_parts_of_a_step_are_the_step(tiny, differences, constant):
    growing = GROWING | {"length": GROWING["length"] | {"constant": constant}}
    table = timeline(tiny(**growing)).table
    assert len({(row["rows"], row["length"]) for row in table}) == 4
    found = differences(**growing)
    print("FOUND", found)
    assert found["nats"] < 1e-5
    assert found["grad_norm"] < 1e-4


def test_a_mean_of_means_is_noticed(differences, monkeypatch):
    """The usual mistake: every part counts alike, also the last, smaller one."""
    losses = Pretraining.losses

    def mean_of_means(self: Pretraining, batch: Batch) -> Sums:
        sums = losses(self, batch)
        row = self.timeline.table[min(self.trainer.global_step, len(self.timeline) - 1)]
        per_part = self.settings.where.micro_tokens // int(row["length"])
        num_parts = -(-int(row["rows"]) // per_part)
        return sums._replace(total=sums.total * (int(row["rows"]) / (num_parts * len(batch["tokens"]))))

    monkeypatch.setattr(Pretraining, "losses", mean_of_means)
    d = differences(**GROWING)
    print("FOUND planted", d)
    assert d["grad_norm"] > 1e-2
