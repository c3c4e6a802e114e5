"""What a run notes of what it took in: exact, before it is too late, and without touching the training."""

import copy
import dataclasses
from typing import Any
from unittest import mock

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from runs import Interruption, elsewhere, interrupt, record_of, train_run
from safetensors.torch import load_file

from ablate.data import batches
from ablate.data.batches import Steps, training_spans
from ablate.data.tokens import prepare, prepare_for
from ablate.fit import probe, run, saver
from ablate.fit.averaging import Average
from ablate.fit.conditions import executed
from ablate.fit.custody import Custody
from ablate.fit.optimizer import OPTIMIZERS
from ablate.fit.trace import Windows
from ablate.plan.digests import PLANNED, START, link, planned
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.record import plain
from ablate.run.study_record import study_record

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
        tokens_BL, targets_BL, domain_B = (part.int().numpy() for part in steps[step][:3])
        head = link(head, domain_B.tobytes() + tokens_BL.tobytes() + targets_BL.tobytes())
        assert row["rows"] == head


def windows_of(tokens: np.ndarray, pieces: list[tuple[int, int]], size: int) -> dict[str, str]:
    """What is noted of a stream read in pieces (begin, length)."""
    windows, found = Windows(), {}
    for begin, length in pieces:
        found |= windows.read(np.array([begin]), tokens[None, begin : begin + length], size)
    return found


@pytest.mark.parametrize("size", [16, 32])
def test_a_domains_windows_do_not_depend_on_how_they_are_cut(size):
    tokens = np.arange(100, 164)
    four, eight, sixteen = (
        windows_of(tokens, [(begin, length) for begin in range(0, 64, length)], size) for length in (4, 8, 16)
    )
    backwards = windows_of(tokens, [(begin, 8) for begin in range(56, -1, -8)], size)
    assert four == eight == sixteen == backwards
    assert list(four) == [f"{begin}-{begin + size}" for begin in range(0, 64, size)]


def test_windows_after_rows_have_grown_are_those_of_rows_that_have_not():
    """The part in which four tokens are skipped is not noted; those before and after it are."""
    tokens = np.arange(100, 164)
    grown = windows_of(tokens, [(0, 4), (4, 4), (8, 4), (16, 8), (24, 8)], 8)
    whole = windows_of(tokens, [(begin, 8) for begin in range(0, 32, 8)], 8)
    assert grown == {key: whole[key] for key in ("0-8", "16-24", "24-32")}


@pytest.mark.parametrize("wrong", [[1, 0, 2, 3], [0, 0, 2, 3], [0, 1, 2, 4]])
def test_other_tokens_at_a_place_are_another_window(wrong):
    assert windows_of(np.array(wrong), [(0, 4)], 4) != windows_of(np.arange(4), [(0, 4)], 4)


def test_the_sum_of_a_part_is_that_of_64_bits_for_each_token(monkeypatch):
    """By whole numbers of Python, however many rows are looked at together."""
    tokens = np.random.default_rng(0).integers(0, 2**17, (5, 8)).astype(np.int32)

    def mixed(place: int, token: int) -> int:
        x = (place * 0x9E3779B97F4A7C15 + token) % 2**64
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    places = [3_000_000_000_000, 80, 16, 40, 8]
    whole = [
        sum(mixed(begin + n, int(token)) for n, token in enumerate(row))
        for begin, row in zip(places, tokens, strict=True)
    ]
    for together in (1, 16, 2**14):
        monkeypatch.setattr("ablate.fit.trace.MIXED_TOKENS", together)
        found = Windows().read(np.array(places), tokens, 8)
        assert list(found.values()) == [f"{one % 2**64:016x}" for one in whole]


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
    on_train_start = saver.Saver.on_train_start

    def look(self: saver.Saver, trainer: L.Trainer, module: L.LightningModule) -> None:
        on_train_start(self, trainer, module)
        seen.update({name: value.clone() for name, value in module.state_dict().items()})

    with mock.patch.object(saver.Saver, "on_train_start", look):
        train_run(settings)
    assert left.keys() == seen.keys()
    assert all(torch.equal(left[name], seen[name]) for name in left)
    first, again = record_of(settings).starts()
    assert first["step"] == 0 < again["step"]
    assert first["probe"] == again["probe"] != {}
    assert first["twin"] == again["twin"] == {"of": first["twin"]["of"]} | first["probe"]  # a lone run is its own base


def hidden_decay(module: run.Pretraining) -> None:
    for parameter in module.model.parameters():
        parameter.data.mul_(1 - 1e-3)


def moments_reset(module: run.Pretraining) -> None:
    for values in module.trainer.optimizers[0].state.values():
        values["exp_avg"] = torch.zeros_like(values["exp_avg"])


def clamped(module: run.Pretraining) -> None:
    module.model.embedding.weight.clamp_(-0.1, 0.1)


@pytest.mark.parametrize("change", [hidden_decay, moments_reset, clamped])
def test_what_writes_the_state_between_two_steps_is_noted(tiny, change):
    settings = tiny(**SHORT)
    train = run.Pretraining.training_step

    def tampered(self: run.Pretraining, batch: batches.Batch, number: int) -> None:
        train(self, batch, number)
        if self.trainer.global_step == 3:
            with torch.no_grad():
                change(self)

    with mock.patch.object(run.Pretraining, "training_step", tampered):
        train_run(settings)
    noted = [row["custody"] for row in record_of(settings).rows("trace")]
    assert noted[:3] == [""] * 3
    assert set(noted[3:]) == {"something but a step changed weights, moments or average after step 3"}


def test_a_step_that_changes_nothing_is_noted(tiny):
    settings = tiny(**SHORT)
    update = run.Pretraining.step

    def skipped(self: run.Pretraining, optimizer: LightningOptimizer) -> torch.Tensor:
        if getattr(self.trainer, "global_step", 0) != 2 or not isinstance(optimizer, LightningOptimizer):
            return update(self, optimizer)
        kept = copy.deepcopy(optimizer.optimizer.state_dict()), copy.deepcopy(self.model.state_dict())
        norm = update(self, optimizer)
        optimizer.optimizer.load_state_dict(kept[0])
        self.model.load_state_dict(kept[1])
        return norm

    with mock.patch.object(run.Pretraining, "step", skipped):
        train_run(settings)
    assert record_of(settings).rows("trace")[-1]["custody"] != ""


def test_the_end_is_like_the_beginning_and_leaves_the_weights_alone(tiny, tmp_path):
    settings = tiny(**SHORT)
    other = elsewhere(settings, tmp_path / "unasked")
    with mock.patch.object(probe, "possible", return_value=False):
        unasked = train_run(other)
    assert record_of(other).ended() == {}
    assert train_run(settings)["weights_sha256"] == unasked["weights_sha256"]
    record = record_of(settings)
    ended = record.ended()
    assert ended["twin"] == record.starts()[0]["twin"]
    assert ended["last step"]["done"] == ended["last step"]["again"]


def test_a_hook_hung_on_what_is_trained_is_seen_at_the_end(tiny):
    settings = tiny(**SHORT)
    train = run.Pretraining.training_step

    def tampered(self: run.Pretraining, batch: batches.Batch, number: int) -> None:
        train(self, batch, number)
        if self.trainer.global_step == 3:
            self.model.blocks[0].register_forward_hook(lambda _module, _inputs, output: output * 1.001)

    with mock.patch.object(run.Pretraining, "training_step", tampered):
        train_run(settings)
    last = record_of(settings).ended()["last step"]
    assert last["done"] != last["again"]


def test_a_part_that_drops_out_is_like_itself_at_the_end(tiny):
    settings = tiny(**SHORT)
    make = run.Pretraining.__init__

    def dropping(self: run.Pretraining, *rest, **more) -> None:
        make(self, *rest, **more)
        self.model.blocks[0].register_forward_hook(lambda block, _inputs, y: torch.dropout(y, 0.1, block.training))

    with mock.patch.object(run.Pretraining, "__init__", dropping):
        train_run(settings)
    last = record_of(settings).ended()["last step"]
    assert last["done"] == last["again"]


def test_an_optimizer_that_keeps_no_state_may_come_to_rest(tiny):
    """A last rate of 0 changes nothing where nothing but weights is kept."""
    settings = tiny(**SHORT, optimizer={"name": "plain"}, schedule={"final": 0.0})
    with mock.patch.dict(OPTIMIZERS, {"plain": lambda groups, settings: torch.optim.SGD(groups, lr=settings.lr)}):
        train_run(settings)
        record = record_of(settings)
    assert {row["custody"] for row in record.rows("trace")} == {""}


def test_what_a_callback_of_ones_own_evaluates_is_not_the_held_out_text(tiny):
    settings = tiny(**SHORT)

    class Curious(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any, **_: Any) -> None:
            batch = rest[1]
            assert isinstance(pl_module, run.Pretraining)
            pl_module.evaluate(batch.of_rows([0]), lambda: None)

    with mock.patch("ablate.fit.callbacks.own", return_value=[Curious()]):
        train_run(settings)
    record = record_of(settings)
    rows = [row["evaluated"] for row in record.rows("trace") if "evaluated" in row]
    assert rows == [record.starts()[0]["evaluation"]] * 2


def test_an_average_is_watched_where_its_weights_are(tiny):
    """A checkpoint is read on the CPU; numbers on two devices cannot be compared."""
    settings = tiny(**SHORT, averaging={"kind": "ema", "start": 0.2}, where={"saves": 4})
    interrupt(settings, 6)
    done = []
    moved, watched = (mock.Mock(side_effect=lambda *_, word=word: done.append(word)) for word in ("moved", "watched"))
    with mock.patch.object(Average, "to", moved), mock.patch.object(Custody, "begin", watched):
        train_run(settings)
    assert done[:2] == ["moved", "watched"]


def test_the_base_of_a_study_is_asked_in_every_run(tiny):
    """Whatever the arm changes: its twin has the bits of the base's, of that seed."""
    base, arm = (
        tiny(**SHORT, study={"name": "s"}),
        tiny(**SHORT, study={"name": "s"}, size={"depth": 3}, precision="bf16-mixed"),
    )
    ids = [record_of(one).id for one in (base, arm)]
    what = {name: value for name, value in plain(base).items() if name not in ("where", "study")}
    bases = [{"runs": ids, "settings": what, "fingerprint": prepare_for(base).fingerprint}]
    study_record(base.where.outputs, "s").folder.mkdir(parents=True)
    study_record(base.where.outputs, "s").keep_bases(bases)
    for one in (base, arm):
        train_run(one)
    ours, theirs = (record_of(one).starts()[0] for one in (arm, base))
    assert ours["twin"] == theirs["twin"]
    assert ours["probe"] != theirs["probe"]
    assert record_of(arm).ended()["twin"] == record_of(base).ended()["twin"] == theirs["twin"]


def test_a_try_of_which_nothing_was_kept_is_forgotten(tiny):
    settings = tiny(where={"saves": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saver.Saver, "on_train_batch_end", mock.Mock(side_effect=Interruption))
        with pytest.raises(Interruption):
            train_run(settings)
    train_run(dataclasses.replace(settings))
    assert [start["step"] for start in record_of(settings).starts()] == [0]


def test_only_what_is_executed_counts_as_code():
    source = '"""Why."""\n\ndef f(x):\n    """What."""\n    return x + 1\n'
    assert executed(source) == executed("# comment\ndef f(x):\n    return x + 1\n")
    assert executed(source) != executed(source.replace("+ 1", "+ 2"))
