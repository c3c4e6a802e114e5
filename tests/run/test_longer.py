"""A longer run takes the steps of the run that it extends, to the bit, and then more."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from runs import STAGED, elsewhere, record_of, train_run

from ablate import runs
from ablate.plan.timeline import timeline
from ablate.run import lookup
from ablate.run.longer import longer
from ablate.run.settings import UserError
from ablate.sweep.worker import alone, train

LERAC = {"optimizer": {"lerac": {"lowest": 0.01, "until": 0.4}}}
KINDS = {
    "plain": {},
    "no decay": {"schedule": {"decay": 0.0}},
    "one step of warmup": {"schedule": {"warmup": 0.05}},
    "stages, ramp and mixture": STAGED,
    "a second length after one step": {"length": {"lengths": [32, 64], "starts": [0, 0.05]}},
    "a larger batch after one step": {"ramp": {"multiples": [1, 2], "starts": [0, 0.05]}},
    "curriculum": LERAC,
    "average": {"averaging": {"kind": "ema", "start": 0.05, "decay": 0.8}},
    "extended before": {"schedule": {"stages": {"extended": {"start": 0.5}}}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_steps_are_those_of_the_run(tiny, kind):
    settings = tiny(**KINDS[kind])
    before, after = timeline(settings), timeline(longer(settings, ["tokens=30000"]))
    steps = len(before)
    assert len(after) > steps
    assert after.head("data") == before.head("data")
    np.testing.assert_array_equal(after.moves.rows(0, steps), before.moves.rows(0, steps))
    np.testing.assert_array_equal(after.table["lr"][steps:], before.table["lr"][-1])
    np.testing.assert_array_equal(after.table["weight_decay"][steps:], before.table["weight_decay"][-1])


def test_what_comes_then_is_a_stage_like_any_other(tiny):
    settings = tiny(schedule={"decay": 0.0, "final": 0.0})
    found = longer(settings, ["tokens=2e4", "schedule.stages.extended.decay=0.5", "schedule.stages.extended.final=0"])
    rates = timeline(found).table["lr"]
    assert rates[-1] == 0
    assert rates[settings.steps] == settings.optimizer.lr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r"tokens=\.\.\.: must be given, above the 10,240"),
        (["tokens=5000"], r"tokens=5000: must be a number above the 10,240"),
        (["tokens"], r"tokens: must be a setting and its value, key=value"),
        (["tokens=20000", "lr=3"], r"lr: no such setting; did you mean optimizer.lr\?"),
    ],
)
def test_mistakes(tiny, words, message):
    with pytest.raises(UserError, match=message):
        longer(tiny(), words)


def test_a_rate_of_zero_goes_nowhere(tiny):
    settings = tiny(schedule={"final": 0.0})
    with pytest.raises(UserError, match=r"ended at 0: give schedule.stages.extended.peak"):
        longer(settings, ["tokens=20000"])
    assert (
        longer(settings, ["tokens=20000", "schedule.stages.extended.peak=0.5"]).schedule.stages["extended"].peak == 0.5
    )


def test_the_command_goes_on_from_the_last_state_to_the_same_weights(tiny, tmp_path, capsys):
    settings = tiny(tokens=4096, where={"keep_last": True}, averaging={"kind": "ema", "start": 0.5, "decay": 0.8})
    train(alone(settings))
    first = record_of(settings)
    outputs = settings.where.outputs
    runs.main(["extend", first.id, "tokens=6144", "--outputs", outputs])
    shown = capsys.readouterr().out
    [second] = [record for record in lookup.runs(outputs) if record.id != first.id]
    assert f"{second.id} goes on from step 8 of 8 of {first.id}" in shown
    assert "was not kept" not in shown
    result = second.result() or {}
    assert result["grown_from"]["step"] == 8
    assert result["grown_from"]["run"] == first.id
    other = elsewhere(dataclasses.replace(second.settings(), where=settings.where), tmp_path / "other")
    assert train_run(other)["weights_sha256"] == result["weights_sha256"]
    assert record_of(other).rows("train")[-1]["nats"] == second.rows("train")[-1]["nats"]
    assert not list(first.folder.glob("checkpoints*"))


def test_without_its_last_state_the_command_says_so_and_trains_from_further_back(tiny, capsys):
    settings = tiny(tokens=4096, schedule={"decay": 0.0})
    train(alone(settings))
    first = record_of(settings)
    runs.main(["extend", first.id, "tokens=6144", "--outputs", settings.where.outputs])
    assert "the last state of that run was not kept; where.keep_last=true keeps it" in capsys.readouterr().out
    assert len(lookup.runs(settings.where.outputs)) == 2


def test_a_run_never_starts_from_its_own_end(tiny):
    """It would take no step and evaluate nothing."""
    settings = tiny(tokens=2048, where={"keep_last": True})
    result = train(alone(settings))
    record = record_of(settings)
    (record.folder / "result.json").unlink()
    again = train(alone(settings))
    assert again["weights_sha256"] == result["weights_sha256"]
    assert again["sums"] == result["sums"]
    trunks = Path(settings.where.outputs, "trunks").glob("[!.]*/trunk.json")
    assert settings.steps in {json.loads(trunk.read_text())["step"] for trunk in trunks}
