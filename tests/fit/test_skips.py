"""Steps that a run is told to leave out: read, counted, and not learnt from."""

import pytest
import torch
from runs import KINDS, SEVERAL, STATES, check_resumed, record_of, train_run
from safetensors.torch import load_file

from ablate.fit.module import Pretraining
from ablate.plan.timeline import timeline

SKIPS = {"monitor": {"skip": ["6-8", "12-13"]}}


@pytest.fixture
def taken(monkeypatch) -> list[int]:
    """The steps in which gradients were taken."""
    steps: list[int] = []
    take_step = Pretraining.take_step

    def noting(self, *arguments):
        steps.append(self.trainer.global_step)
        take_step(self, *arguments)

    monkeypatch.setattr(Pretraining, "take_step", noting)
    return steps


def test_told_steps_are_left_out_and_said(tiny, taken, unprobed):
    settings = tiny(**SKIPS)
    result = train_run(settings)
    assert taken == [step for step in range(20) if step not in (6, 7, 12)]
    assert result["outcome"] == "finished"
    assert result["step"] == 20
    assert result["tokens"] == settings.tokens  # read
    skipped = result["skipped"]
    assert (skipped["steps"], skipped["tokens"], skipped["windows"]) == (3, 3 * 512, [[6, 8], [12, 13]])
    assert sum(skipped["domains"].values()) == 3 * 512
    rows = record_of(settings).rows("train")
    assert [row.get("left_out", 0) // 512 for row in rows] == [*[0] * 6, *[1], *[2] * 5, *[3] * 8]
    # neither a loss nor a norm: that of the step before is not known to a run that goes on from here
    assert [row["step"] for row in rows if not {"nats", "grad_norm"} & row.keys()] == [7, 8, 13]
    assert record_of(settings).rows("trace")[-1]["custody"] == ""


def test_a_run_that_was_told_of_nothing_says_nothing(tiny):
    assert "skipped" not in train_run(tiny())


def test_weights_moments_and_average_stay_and_rates_and_rows_go_on(tiny):
    """A rate of nothing, and no decay, moves no weight either, but moments."""
    told = tiny(averaging={"kind": "ema", "start": 0.2}, monitor={"skip": ["4-19"]})
    plain = tiny(averaging={"kind": "ema", "start": 0.2})
    for settings in (told, plain):
        train_run(settings)
    ours, theirs = (record_of(settings) for settings in (told, plain))
    assert [row["lr"] for row in ours.rows("train")] == [row["lr"] for row in theirs.rows("train")]
    for stream in ("rows", "layout", "rates", "interleaving", "shares", "windows"):
        assert ours.rows("trace")[-1][stream] == theirs.rows("trace")[-1][stream]
    assert ours.rows("evaluation")[0]["sums"] == ours.rows("evaluation")[1]["sums"]
    assert all(torch.isfinite(value).all() for value in load_file(ours.weights).values())


@pytest.mark.slow
@pytest.mark.parametrize("kind", STATES)
def test_a_run_that_leaves_steps_out_is_resumed_to_the_bit(tiny, tmp_path, kind):
    check_resumed(tiny(**(KINDS[kind] | SKIPS)), tmp_path / "again")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", SEVERAL)
def test_any_strategy_leaves_them_out(tiny, strategy):
    where = {"strategy": strategy, "devices": 2}
    alone, several = tiny(**SKIPS), tiny(**SKIPS, where=where)
    one, two = (record_of(settings).rows("train") for settings in (alone, several) if train_run(settings))
    assert [row.get("nats") for row in one] == pytest.approx([row.get("nats") for row in two], abs=1e-5)


def test_what_is_shared_with_a_run_that_is_told_nothing_ends_where_steps_are_left_out(tiny):
    plain, told, other = (timeline(tiny(monitor={"skip": skip})) for skip in ([], ["6-8"], ["6-7"]))
    assert plain.head("data") == told.head("data")
    assert [steps for steps in range(21) if plain.key(steps, "") == told.key(steps, "")] == list(range(7))
    assert [steps for steps in range(21) if other.key(steps, "") == told.key(steps, "")] == list(range(8))
