"""Averages of the weights: which weights they are of, how exactly, and that training never sees them."""

from pathlib import Path

import pytest
import torch
from runs import record_of, train_run
from safetensors.torch import load_file
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from ablate.data.batches import validation_rows
from ablate.data.tokens import prepare
from ablate.fit import module
from ablate.fit.averaging import Average
from ablate.fit.objectives import NextToken
from ablate.model.language import build
from ablate.run.settings import Settings, SettingsError

UNIFORM = {"kind": "uniform", "start": 0.6}
EMA = {"kind": "ema", "start": 0.5, "decay": 0.8}


class Remembering(Average):
    """Keeps the raw weights after every step."""

    steps: list[dict[str, torch.Tensor]]

    def update(self, model: nn.Module, share: float, bad: torch.Tensor | None = None) -> None:
        Remembering.steps.append({name: weights.detach().clone() for name, weights in model.named_parameters()})
        super().update(model, share, bad)


@pytest.fixture
def raw(monkeypatch, unprobed) -> list[dict[str, torch.Tensor]]:
    """The raw weights after every step of the runs of a test."""
    Remembering.steps = []
    monkeypatch.setattr(module, "Average", Remembering)
    return Remembering.steps


def worst(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest difference, relative to the largest value of its tensor."""
    assert found.keys() == expected.keys()
    return max(float((found[n].double() - expected[n]).abs().max() / expected[n].abs().max()) for n in found)


@pytest.mark.slow
def test_uniform_is_the_plain_mean_of_the_weights_from_start_on(tiny, raw):
    train_run(settings := tiny(averaging=UNIFORM))
    start = round(0.6 * settings.steps)
    mean = {name: torch.stack([w[name].double() for w in raw[start:]]).mean(0) for name in raw[0]}
    saved = load_file(record_of(settings).weights)
    assert len(raw) == settings.steps
    assert worst(saved, mean) < 1e-6
    assert worst(saved, {name: weights.double() for name, weights in raw[-1].items()}) > 1e-3


def test_ema_is_the_exponential_mean(tiny, raw):
    train_run(settings := tiny(averaging=EMA))
    start = round(0.5 * settings.steps)
    mean = {name: weights.double() for name, weights in raw[start].items()}
    for weights in raw[start + 1 :]:
        mean = {name: 0.8 * mean[name] + 0.2 * weights[name].double() for name in mean}
    assert worst(load_file(record_of(settings).weights), mean) < 1e-6


def losses(settings: Settings, weights: dict[str, torch.Tensor]) -> dict[str, float]:
    """Validation nats per token by domain, without trainer or module."""
    corpus = prepare(settings.data, Path(settings.where.outputs))
    model = build(settings.model, settings.size, settings.data.vocabulary, seed=0)
    model.load_state_dict(weights)
    rows, domains = validation_rows(corpus, settings), settings.data.domains
    with torch.no_grad():
        sums = NextToken(settings)(model, rows, torch.from_numpy(corpus.bytes_per_token), len(domains))
    return dict(zip(domains, (sums.nats_S / sums.tokens_S).tolist(), strict=True))


@pytest.mark.parametrize("averaging", [UNIFORM, EMA], ids=["uniform", "ema"])
def test_evaluations_are_of_the_average_once_there_is_one(tiny, raw, averaging):
    train_run(settings := tiny(averaging=averaging))
    record = record_of(settings)
    first, *_, last = [
        {domain: sums["nats"] / sums["tokens"] for domain, sums in row["sums"].items()}
        for row in record.rows("evaluation")
    ]
    step = record.rows("evaluation")[0]["step"]
    saved = load_file(record.weights)
    assert first == pytest.approx(losses(settings, raw[step - 1]), abs=1e-5)
    assert last == pytest.approx(losses(settings, saved), abs=1e-5)
    assert last != pytest.approx(losses(settings, raw[-1]), abs=1e-4)


@pytest.mark.parametrize("averaging", [UNIFORM, EMA], ids=["uniform", "ema"])
def test_training_goes_on_with_the_raw_weights(tiny, raw, averaging):
    rows = []
    for wanted in ({"kind": "none"}, averaging):
        train_run(settings := tiny(averaging=wanted))
        rows.append([(row["nats"], row["lr"], row["grad_norm"]) for row in record_of(settings).rows("train")])
    assert rows[0] == rows[1]
    plain, averaged = raw[: settings.steps], raw[settings.steps :]
    assert all(torch.equal(plain[-1][name], averaged[-1][name]) for name in plain[-1])


class InFloat32(Average):
    """The obvious way, which loses small steps."""

    def update(self, model: nn.Module, share: float, bad: torch.Tensor | None = None) -> None:
        for name, weights in model.named_parameters():
            mean = self.mean.get(name, torch.zeros_like(weights))
            self.mean[name] = mean + share * (weights.detach() - mean)


@pytest.mark.parametrize(("average", "right"), [(Average(), True), (InFloat32(), False)], ids=["ours", "float32"])
def test_a_long_mean_does_not_lose_small_steps(average, right):
    """Weights that drift by a thousandth in 20,000 steps: the mean is half way, to the rounding of float32."""
    model, steps = nn.Linear(1, 50, bias=False), 20_000
    with torch.no_grad():
        begin = torch.linspace(0.5, 2, 50)[:, None]
        total = torch.zeros(50, 1, dtype=torch.float64)
        for step in range(steps):
            model.weight.copy_(begin * (1 + 1e-3 * step / steps))
            total += model.weight
            average.update(model, 1 / (step + 1))
        average.put_into(model)
    error = ((model.weight - total / steps).abs() / begin).max()
    assert (error < 1e-7) == right


def test_the_raw_weights_come_back_bit_for_bit_whatever_happens_meanwhile():
    model, average = nn.Linear(7, 5), Average()
    average.update(model, 1)
    with torch.no_grad():
        model.weight.add_(torch.rand(5, 7))
    raw = model.weight.detach().clone()

    def stopped() -> None:
        with average.in_place_of_weights(model):
            assert torch.equal(model.weight.double(), average.mean["weight"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert torch.equal(model.weight, raw)


def test_it_works_on_parts_of_parameters():
    """As `fully_shard` leaves them: elementwise, whatever part there is."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        model, average = nn.Linear(7, 5), Average()
        weights = [torch.rand(5, 7) for _ in range(3)]
        fully_shard(model)
        assert isinstance(model.weight, DTensor)
        with torch.no_grad():
            for step, weight in enumerate(weights):
                model.weight.copy_(distribute_tensor(weight, model.weight.device_mesh, model.weight.placements))
                average.update(model, 1 / (step + 1))
        with average.in_place_of_weights(model):
            torch.testing.assert_close(DTensor.full_tensor(model.weight), torch.stack(weights).mean(0))
        assert torch.equal(DTensor.full_tensor(model.weight), weights[-1])
    finally:
        torch.distributed.destroy_process_group()


REFUSED = {
    "across a mixture stage": (
        {"averaging": UNIFORM, "mixture": {"stages": {"late": {"start": 0.9, "weights": {"qa": 1}}}}},
        r"averaging.start=0.6: must be at or after mixture.stages.late.start=0.9",
    ),
    "across a new rate": (
        {"averaging": UNIFORM, "schedule": {"stages": {"again": {"start": 0.7}}}},
        r"averaging.start=0.6: must be at or after schedule.stages.again.start=0.7",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_averaged_is_refused(tiny, case):
    changes, line = REFUSED[case]
    with pytest.raises(SettingsError, match=line):
        tiny(**changes)


def test_an_exponential_mean_may_cross_a_switch_of_phase(tiny):
    stages = {"late": {"start": 0.9, "weights": {"qa": 1}}}
    assert tiny(averaging=EMA, mixture={"stages": stages}).averaging.kind == "ema"
