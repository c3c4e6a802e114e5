"""Rates as they are when the optimizer steps, in whole runs, against the timeline."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from runs import interrupt, record_of, train_run
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ablate.fit.muon import Both
from ablate.fit.optimizer import OPTIMIZERS
from ablate.model.language import build, layer_of
from ablate.plan.timeline import timeline
from ablate.run.settings import Settings

# All that can move a rate, within some twenty steps
PLAN = {
    "tokens": 20_480,
    "schedule": {
        "warmup": 0.3,
        "decay": 0.2,
        "stages": {"later": {"start": 0.6, "peak": 0.5, "weight_decay": 0.25, "warmup": 2, "decay": 0.5, "final": 0.1}},
    },
    "ramp": {"multiples": [1, 2], "starts": [0, 0.2]},
    "optimizer": {"lerac": {"lowest": 0.02, "until": 0.5}},
    "averaging": {"kind": "ema", "start": 0.3, "decay": 0.9},
    "where": {"micro_tokens": 128, "saves": 4},
}

pytestmark = pytest.mark.usefixtures("unprobed")
Taken = list[dict[tuple[int, bool], tuple[float, float]]]


@pytest.fixture
def steps_taken() -> Iterator[Taken]:
    """Of every step of every run within the test: rate and weight decay by (layer, decays)."""
    taken: Taken = []
    parts: list[torch.optim.Optimizer] = []  # of `Both`: they step within its step

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if any(optimizer is part for part in parts):
            return
        if isinstance(optimizer, Both):
            parts.extend(optimizer.parts)
        taken.append({(g["layer"], g["decays"]): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups})

    hook = register_optimizer_step_pre_hook(note)
    yield taken
    hook.remove()


def planned(settings: Settings) -> Taken:
    """By the formulas: the row's rate times the layer's factor, and the row's weight decay for matrices."""
    plan, layers = timeline(settings), settings.size.depth + 2
    curriculum = settings.optimizer.lerac.lowest < 1
    keys = [(layer, decays) for layer in range(layers if curriculum else 1) for decays in (True, False)]
    steps = []
    for row, factors in zip(plan.table, plan.layer_factors, strict=True):
        decay = float(row["weight_decay"])
        steps.append({key: (row["lr"] * factors[key[0]], decay if key[1] else 0.0) for key in keys})
    return steps


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
@pytest.mark.parametrize("lowest", [0.02, 1.0])
def test_every_group_has_the_rates_of_the_timeline_at_every_step(tiny, steps_taken, name, lowest):
    settings = tiny(**PLAN | {"optimizer": {"name": name, "lerac": {"lowest": lowest, "until": 0.5}}})
    expected = planned(settings)
    at = settings.steps * 2 // 3
    interrupt(settings, at)
    interrupted = len(steps_taken)
    train_run(settings)
    resumed = settings.steps - (len(steps_taken) - interrupted)
    assert 0 < resumed < at == interrupted
    assert_rates(steps_taken[:interrupted], expected[:at])
    assert_rates(steps_taken[interrupted:], expected[resumed:])


def assert_rates(taken: Taken, expected: Taken) -> None:
    """Not every layer has both groups: the embedding no vector, the last norm no matrix where the head is tied."""
    assert len(taken) == len(expected)
    for step, (rates, plan) in enumerate(zip(taken, expected, strict=True)):
        assert {key: plan[key] for key in rates} == rates, step
        assert {layer for layer, _ in rates} == {layer for layer, _ in plan}


def test_the_plan_of_these_tests_has_all_that_can_move_a_rate(tiny):
    plan = timeline(tiny(**PLAN))
    assert len(set(plan.table["lr"])) > 8
    assert len(set(plan.table["weight_decay"])) == 2
    assert len(set(plan.table["rows"] * plan.table["length"])) == 2
    assert len({tuple(factors) for factors in plan.layer_factors}) == plan.settings.steps // 2 + 1
    assert 0 < (plan.table["average"] > 0).sum() < len(plan)


@pytest.mark.parametrize("rate", ["lr", "weight_decay"])
def test_a_group_that_departs_from_the_timeline_stops_the_run(tiny, rate):
    def depart(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        optimizer.param_groups[-1][rate] += 1e-9

    settings = tiny(optimizer={"lerac": {"lowest": 0.02, "until": 0.5}})
    hook = register_optimizer_step_pre_hook(depart)
    try:
        with pytest.raises(RuntimeError, match="step 1: rate and weight decay of layer"):
            train_run(settings)
    finally:
        hook.remove()
    assert not record_of(settings).done


def test_lerac_moves_late_layers_less_at_first(tiny):
    """The first step of AdamW moves nearly every value by its rate, whatever the gradient."""
    lerac = {"lowest": 0.01, "until": 0.5}
    settings = tiny(optimizer={"lerac": lerac, "weight_decay": 0.0}, where={"saves": 20})
    plan, vocabulary = timeline(settings), settings.data.vocabulary
    after = load_file(interrupt(settings, 1) / "weights.safetensors")
    for name, begin in build(settings.model, settings.size, vocabulary, settings.seed).named_parameters():
        layer = layer_of(name, settings.size.depth)
        rate = plan.table["lr"][0] * plan.layer_factors[0, layer]
        moved = (after[f"model.{name}"] - begin).abs().max().item()
        assert moved == pytest.approx(rate, rel=0.01), name
