"""Interrupted after any step and started again, a run of every kind ends with the same bits.

Runs are stopped by an exception between two saves, so that steps are lost and taken again;
`test_run` kills processes instead.
"""

import random
from typing import Any

import pytest
import torch
from runs import elsewhere, interrupt, record_of
from safetensors.torch import load_file

from ablate.data import batches
from ablate.fit import checkpoint
from ablate.fit.optimizer import OPTIMIZERS
from ablate.fit.run import train_run

AVERAGINGS = {
    "uniform": {"kind": "uniform", "start": 0.2},
    "ema": {"kind": "ema", "start": 0.2, "decay": 0.8},
}
STAGED = {
    "schedule": {"warmup": 0.2, "stages": {"again": {"start": 0.4, "peak": 0.5, "warmup": 0.2, "decay": 0.5}}},
    "ramp": {"multiples": [1, 2], "starts": [0, 0.3]},
    "mixture": {"stages": {"late": {"start": 0.6, "weights": {"qa": 1}}}},
}
KINDS = {
    "attention": {},
    "latent attention": {"model": {"pattern": "L"}},
    "mamba": {"model": {"pattern": "M"}},
    "hybrid": {"model": {"pattern": "MMMA"}, "size": {"depth": 4}},
    "ternary": {"model": {"linear": "ternary"}},
    "squared relu": {"model": {"feed": "relu2"}},
    "normed queries and keys": {"model": {"qk_norm": True}},
    "bf16": {"precision": "bf16-mixed"},
    "recomputed and accumulated": {"where": {"recompute": True, "micro_tokens": 128}},
    "lerac": {"optimizer": {"lerac": {"lowest": 0.01, "until": 0.8}}},
    "stages and ramp": STAGED,
    "all at once": STAGED
    | {
        "model": {"pattern": "LM", "linear": "ternary"},
        "precision": "bf16-mixed",
        "optimizer": {"lerac": {"lowest": 0.01, "until": 0.8}},
        "averaging": {"kind": "ema", "start": 0.2, "decay": 0.8},
    },
}
KINDS |= {name: {"optimizer": {"name": name}} for name in OPTIMIZERS if name != "adamw"}
KINDS |= {f"average, {name}": {"averaging": averaging} for name, averaging in AVERAGINGS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_and_resumed_it_ends_with_the_same_weights(tiny, tmp_path, kind):
    undisturbed = tiny(**KINDS[kind])
    expected = train_run(undisturbed)
    disturbed = elsewhere(undisturbed, tmp_path / "disturbed")
    at = random.Random(kind).randrange(undisturbed.steps // 2, undisturbed.steps)
    interrupt(disturbed, at)
    found = train_run(disturbed)
    assert found["outcome"] == expected["outcome"] == "finished"
    assert found["weights_sha256"] == expected["weights_sha256"]
    ours, its = (record_of(settings).rows("evaluation") for settings in (disturbed, undisturbed))
    assert [row["bpb"] for row in ours] == [row["bpb"] for row in its]


@pytest.mark.parametrize("averaging", AVERAGINGS)
def test_a_checkpoint_holds_the_raw_weights_and_their_average(tiny, tmp_path, averaging):
    plain, averaged = tiny(), tiny(averaging=AVERAGINGS[averaging])
    weights, average = [], {}
    for number, settings in enumerate((plain, averaged)):
        left = interrupt(elsewhere(settings, tmp_path / str(number)), 15)
        weights.append(load_file(left / "weights.safetensors"))
        average = load_file(left / "average.safetensors") if number else {}
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert {tensor.dtype for tensor in average.values()} == {torch.float64}
    assert not any(torch.equal(tensor.float(), weights[1][f"model.{name}"]) for name, tensor in average.items())


def without_moments(state: dict[str, Any]) -> None:
    for values in state["optimizer_states"][0]["state"].values():
        values["exp_avg"].zero_()


def without_average(state: dict[str, Any]) -> None:
    for mean in state["average"].values():
        mean.zero_()


@pytest.mark.parametrize("forget", [without_moments, without_average])
def test_a_resume_that_forgets_is_noticed(tiny, tmp_path, monkeypatch, forget):
    """What the tests above compare does depend on all that a checkpoint holds."""
    undisturbed = tiny(averaging=AVERAGINGS["uniform"])
    disturbed = elsewhere(undisturbed, tmp_path / "disturbed")
    interrupt(disturbed, 15)
    load = checkpoint.SafetensorsIO.load_checkpoint

    def forgetful(*args: Any, **more: Any) -> dict[str, Any]:
        state = load(*args, **more)
        forget(state)
        return state

    monkeypatch.setattr(checkpoint.SafetensorsIO, "load_checkpoint", forgetful)
    assert train_run(disturbed)["weights_sha256"] != train_run(undisturbed)["weights_sha256"]


def test_a_resume_that_reads_other_rows_is_noticed(tiny, monkeypatch):
    settings = tiny(mixture={"stages": {"late": {"start": 0.5, "weights": {"qa": 1}}}})
    interrupt(settings, 15)
    monkeypatch.setattr(batches, "From", lambda first, total: range(total))
    with pytest.raises(RuntimeError, match=r"^step 15: .* tokens of .*planned"):
        train_run(settings)
