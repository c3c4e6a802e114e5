"""Interrupted after any step and started again, a run of every kind ends with the same bits.

Runs are stopped by an exception between two saves, so that steps are lost and taken again;
`test_run` kills processes instead.
"""

import dataclasses
import random
from typing import Any

import pytest
import torch
from runs import AVERAGINGS, KINDS, elsewhere, interrupt, record_of, train_run
from safetensors.torch import load_file

from ablate.fit import batches, checkpoint
from ablate.run.settings import SettingsError

pytestmark = pytest.mark.slow


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
    assert [row["sums"] for row in ours] == [row["sums"] for row in its]
    ours, its = (record_of(settings).rows("trace") for settings in (disturbed, undisturbed))
    assert ours == its
    first, again = record_of(disturbed).starts()
    (conditions,) = record_of(undisturbed).starts()
    assert first == conditions == again | {"step": 0} != again


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


def test_a_ternary_run_goes_on_only_as_it_began(tiny):
    settings = tiny(model={"linear": "ternary"})
    interrupt(settings, 12)
    other = dataclasses.replace(settings, where=dataclasses.replace(settings.where, micro_tokens=64))
    with pytest.raises(SettingsError, match=r"where.micro_tokens: gives micro_tokens=64, must give 16384"):
        train_run(other)
    assert train_run(settings)["outcome"] == "finished"
