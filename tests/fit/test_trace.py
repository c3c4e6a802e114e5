"""What a run notes of what it took in: exact, before it is too late, and without touching the training."""

import dataclasses
from unittest import mock

import lightning as L
import numpy as np
import pytest
import torch
from runs import Interruption, elsewhere, interrupt, record_of, train_run
from safetensors.torch import load_file

from ablate.data.batches import Steps, training_spans
from ablate.data.tokens import prepare
from ablate.fit import checkpoint, probe, run
from ablate.fit.conditions import executed
from ablate.fit.trace import Windows
from ablate.plan.digests import PLANNED, START, link, planned
from ablate.plan.order import Order
from ablate.plan.timeline import timeline

SHORT = {"tokens": 4096, "evaluation": {"times": 2}}


def test_what_was_planned_is_what_is_noted(tiny):
    settings = tiny(optimizer={"lerac": {"lowest": 0.1, "until": 0.5}}, averaging={"kind": "ema", "start": 0.3})
    train_run(settings)
    rows = {row["step"]: row for row in record_of(settings).rows("trace")}
    for step, digests in planned(timeline(settings), rows).items():
        assert {name: rows[step][name] for name in PLANNED} == digests


def test_the_rows_noted_are_those_of_the_data(tiny):
    settings = tiny(**SHORT)
    train_run(settings)
    corpus = prepare(settings.data, record_of(settings).folder.parent.parent)
    steps = Steps(Order(timeline(settings), training_spans(corpus, settings)), corpus)
    head = START
    for step, row in enumerate(record_of(settings).rows("trace")):
        tokens_BL, targets_BL, domain_B = (part.int().numpy() for part in steps[step])
        head = link(head, domain_B.tobytes() + tokens_BL.tobytes() + targets_BL.tobytes())
        assert row["rows"] == head


@pytest.mark.parametrize("stride", [1, 2])
def test_a_domains_windows_do_not_depend_on_how_they_are_cut(stride):
    tokens, marks = np.arange(100, 164), []
    for length in (4, 8, 16):
        windows, found = Windows(), {}
        for start in range(0, 64, length):
            found |= windows.read(tokens[start : start + length], 16, stride)
        marks.append(found)
    assert marks[0] == marks[1] == marks[2]
    assert list(marks[0]) == [str(count) for count in range(stride, 5, stride)]


@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "muon"])
def test_training_is_the_same_without_it(tiny, tmp_path, name):
    settings = tiny(**SHORT, optimizer={"name": name}, averaging={"kind": "ema", "start": 0.3})
    other = elsewhere(settings, tmp_path / "untraced")
    with mock.patch.object(run, "Trace", return_value=L.Callback()):
        untraced = train_run(other)
    assert train_run(settings)["weights_sha256"] == untraced["weights_sha256"]
    rows = [[row["sums"] for row in record_of(one).rows("evaluation")] for one in (settings, other)]
    assert rows[0] == rows[1]


@pytest.mark.slow
@pytest.mark.parametrize("where", [{"micro_tokens": 64}, {"recompute": True}, {"data_workers": 1}])
def test_ways_of_carrying_a_run_out_leave_the_same_trace(tiny, tmp_path, where):
    settings, other = tiny(**SHORT), tiny(**SHORT, where=where | {"outputs": str(tmp_path / "other")})
    train_run(settings)
    train_run(other)
    assert record_of(settings).rows("trace") == record_of(other).rows("trace")
    ours, theirs = (record_of(one).starts()[0] for one in (settings, other))
    assert {name for name in ours if ours[name] != theirs[name]} <= {"split"}


def test_conditions_are_noted_before_the_first_step(tiny):
    settings = tiny(**SHORT)

    def stop(*_: object) -> None:
        raise Interruption

    with (
        mock.patch.object(run.Pretraining, "micro_batches", stop),
        mock.patch.object(probe, "possible", return_value=False),
        pytest.raises(Interruption),
    ):
        train_run(settings)
    assert [start["step"] for start in record_of(settings).starts()] == [0]
    assert record_of(settings).rows("trace") == []


def test_the_probe_is_of_the_initial_weights_and_leaves_the_others_alone(tiny):
    settings = tiny()
    left = load_file(interrupt(settings, 12) / "weights.safetensors")
    seen = {}
    on_train_start = checkpoint.Saver.on_train_start

    def look(self: checkpoint.Saver, trainer: L.Trainer, module: L.LightningModule) -> None:
        on_train_start(self, trainer, module)
        seen.update({name: value.clone() for name, value in module.state_dict().items()})

    with mock.patch.object(checkpoint.Saver, "on_train_start", look):
        train_run(settings)
    assert left.keys() == seen.keys()
    assert all(torch.equal(left[name], seen[name]) for name in left)
    first, again = record_of(settings).starts()
    assert first["step"] == 0 < again["step"]
    assert first["probe"] == again["probe"] != {}


def test_a_try_of_which_nothing_was_kept_is_forgotten(tiny):
    settings = tiny(where={"saves": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Saver, "on_train_batch_end", mock.Mock(side_effect=Interruption))
        with pytest.raises(Interruption):
            train_run(settings)
    train_run(dataclasses.replace(settings))
    assert [start["step"] for start in record_of(settings).starts()] == [0]


def test_only_what_is_executed_counts_as_code():
    source = '"""Why."""\n\ndef f(x):\n    """What."""\n    return x + 1\n'
    assert executed(source) == executed("# comment\ndef f(x):\n    return x + 1\n")
    assert executed(source) != executed(source.replace("+ 1", "+ 2"))
