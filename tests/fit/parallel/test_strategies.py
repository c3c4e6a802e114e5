"""However a model is spread over processes, it is the same model: losses, checkpoints, records."""

import functools
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from runs import SEVERAL, asked_to_stop, losses, needs_deepspeed, record_of, train_run
from safetensors.torch import load_file

from ablate.data.batches import Batch
from ablate.data.windows import IGNORED, Windows
from ablate.fit import checkpoint, saver
from ablate.fit.module import Pretraining, share
from ablate.fit.parallel import processes, strategy, zero
from ablate.run import checkpoints, failures
from ablate.run.failures import RanksFailed
from ablate.run.record import Record
from ablate.run.settings import Settings, SettingsError
from ablate.run.where import Slurm, Where

pytestmark = pytest.mark.slow

SPREAD = ["ddp", "fsdp", *(pytest.param(name, marks=needs_deepspeed) for name in strategy.ZERO)]
STEPS, HALF, KEPT = 20, 10, 5


@pytest.fixture(scope="session")
def halves(spread: Callable[..., Settings], forkserver: Any) -> Callable[[str], Record]:
    """halves("zero3"): the record of the run stopped in the middle, with its checkpoint; trained once."""
    done: dict[str, Record] = {}

    def half(name: str) -> Record:
        if name not in done:
            settings = spread(name)
            with processes.free_port() as port:
                ranks = [
                    forkserver.Process(target=train_half, args=(settings, rank, port))
                    for rank in range(settings.where.devices)
                ]
                for process in ranks:
                    process.start()
                for process in ranks:
                    process.join()
            assert [process.exitcode for process in ranks] == [128 + signal.SIGTERM] * len(ranks)
            done[name] = record_of(settings)
        return done[name]

    return half


def train_half(settings: Settings, rank: int, port: int) -> None:
    """One process of a run that is asked to stop after HALF steps."""
    os.environ.update(strategy.rank_environment(rank, settings.where, port))
    after_batch = saver.Saver.on_train_batch_end

    def asked(one: saver.Saver, trainer: Any, *others: Any, **named: Any) -> None:
        if trainer.global_step == HALF:
            one.ask_at = HALF  # so quick a run would agree later
            one.signal = signal.SIGTERM if rank == settings.where.devices - 1 else None
        after_batch(one, trainer, *others, **named)

    saver.Saver.on_train_batch_end = asked
    train_run(settings)


def resumed(half: Record, settings: Settings) -> Record:
    """The second half of a run that another strategy began."""
    record = record_of(settings)
    shutil.copytree(half.folder, record.folder)
    train_run(settings)
    return record


def saved_tensors(folder: Path) -> list[dict[Any, torch.Tensor]]:
    """Weights and moments by name."""
    found = checkpoint.SafetensorsIO().load_checkpoint(folder)
    (optimizer,) = found["optimizer_states"]
    moments = {(key, name): one for key, state in optimizer["state"].items() for name, one in state.items()}
    return [found["state_dict"], moments]


def assert_agree(record: Record, whole: Record, steps: range) -> None:
    rows = {row["step"]: row for row in record.rows("train")}
    expected = {row["step"]: row for row in whole.rows("train")}
    assert list(expected) == list(range(1, STEPS + 1))
    assert rows.keys() >= set(steps)
    for step in steps:
        assert rows[step]["nats"] == pytest.approx(expected[step]["nats"], abs=1e-4)
        assert rows[step]["grad_norm"] == pytest.approx(expected[step]["grad_norm"], rel=1e-3)
        assert rows[step]["domain_tokens"] == expected[step]["domain_tokens"]
    evaluations = {row["step"]: losses(row) for row in whole.rows("evaluation")}
    for row in record.rows("evaluation"):
        assert losses(row) == pytest.approx(evaluations[row["step"]], abs=1e-4)


@pytest.mark.parametrize("name", SPREAD)
def test_losses_and_checkpoints_are_those_of_one_process(name, halves, whole):
    half, one = halves(name), halves("single")
    assert_agree(half, whole, range(1, HALF + 1))
    (folder,), (expected,) = checkpoints.saved(half.checkpoints), checkpoints.saved(one.checkpoints)
    for tensors, wanted in zip(saved_tensors(folder), saved_tensors(expected), strict=True):
        assert tensors.keys() == wanted.keys()
        for key, tensor in tensors.items():
            torch.testing.assert_close(tensor, wanted[key], rtol=1e-3, atol=1e-5)
    kept, wanted = (load_file(record.weights_after(KEPT)) for record in (half, one))
    assert half.kept() == {KEPT: checkpoint.sha256(kept)}
    for key, tensor in kept.items():
        torch.testing.assert_close(tensor, wanted[key], rtol=1e-3, atol=1e-5)
    meta, wanted = (json.loads((path / "trainer.json").read_text()) for path in (folder, expected))
    assert meta["optimizers"] == wanted["optimizers"]
    assert meta["global_step"] == wanted["global_step"] == HALF


@pytest.mark.parametrize("name", SPREAD)
def test_one_process_goes_on_from_the_checkpoint_of_any(name, halves, whole, spread):
    record = resumed(halves(name), spread("single"))
    assert_agree(record, whole, range(1, STEPS + 1))


@pytest.mark.parametrize("name", SPREAD)
def test_any_goes_on_from_the_checkpoint_of_one_process(name, halves, whole, spread):
    record = resumed(halves("single"), spread(name))
    assert_agree(record, whole, range(1, STEPS + 1))
    weights, wanted = load_file(record.weights), load_file(whole.weights)
    assert {key: tensor.shape for key, tensor in weights.items()} == {k: tensor.shape for k, tensor in wanted.items()}
    for key, tensor in weights.items():
        torch.testing.assert_close(tensor, wanted[key], rtol=1e-3, atol=1e-4)
    assert (record.result() or {})["weights_sha256"] == checkpoint.sha256(weights)


# Each once before and once after another: what all write is alike, as the tests above show
PAIRS = [("ddp", "fsdp"), ("fsdp", "ddp")]
PAIRS_OF_ZERO = [("fsdp", "zero3"), ("zero3", "zero1"), ("zero1", "zero2"), ("zero2", "fsdp")]


@pytest.mark.parametrize(
    ("first", "second"), [*PAIRS, *(pytest.param(*pair, marks=needs_deepspeed) for pair in PAIRS_OF_ZERO)]
)
def test_each_goes_on_from_the_checkpoint_of_another(first, second, halves, whole, spread):
    record = resumed(halves(first), spread(second))
    assert_agree(record, whole, range(1, STEPS + 1))


SHORT = {"tokens": 5120, "model": {"tied": False}}


@pytest.fixture(scope="session")
def short(spread: Callable[..., Settings]) -> Callable[[str], list[float]]:
    """short("fp32"): losses of half a run on one process, with a head of its own."""

    @functools.cache
    def losses(precision: str) -> list[float]:
        train_run(settings := spread("single", precision=precision, **SHORT))
        return [row["nats"] for row in record_of(settings).rows("train")]

    return losses


@pytest.mark.parametrize("name", SPREAD)
def test_mixed_precision_is_that_of_one_process_and_keeps_weights_in_full(name, spread, short):
    train_run(settings := spread(name, precision="bf16-mixed", **SHORT))
    record = record_of(settings)
    losses = [row["nats"] for row in record.rows("train")]
    assert losses == pytest.approx(short("bf16-mixed"), abs=5e-3)
    assert losses != pytest.approx(short("fp32"), abs=1e-4)  # its rounding is seen
    assert all(tensor.dtype == torch.float32 for tensor in load_file(record.weights).values())


@pytest.mark.parametrize("name", ["ddp", *(pytest.param(name, marks=needs_deepspeed) for name in ("zero1", "zero2"))])
def test_an_average_is_that_of_one_process(name, spread):
    averaging = {"averaging": {"kind": "ema", "start": 0.3, "decay": 0.8}, **SHORT}
    alone, together = (train_run(spread(one, **averaging)) for one in ("single", name))
    raw = train_run(spread("single", **SHORT))
    assert losses(together) == pytest.approx(losses(alone), abs=1e-4)
    assert losses(together) != pytest.approx(losses(raw), abs=1e-3)


@pytest.mark.parametrize("name", SEVERAL)
def test_a_gradient_that_is_not_finite_stops_all_with_the_reason(name, spread):
    result = train_run(spread(name, optimizer={"lr": 1e30, "clip": 0}))
    assert result["outcome"] == "diverged"
    assert "gradient norm" in result["reason"] or "loss is" in result["reason"]


def test_asked_to_stop_all_processes_save(spread, forkserver):
    settings = spread("fsdp", tokens=512_000, where={"saves": 1})
    record, code = asked_to_stop(settings, forkserver, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert (record.failure() or {})["outcome"] == "interrupted"
    assert checkpoints.newest(record.checkpoints)


def test_a_process_that_comes_late_to_a_checkpoint_saves_with_the_others(spread, whole):
    settings = spread("ddp", where={"saves": 4})
    processes.together(train_late, 2, settings)
    assert_agree(record_of(settings), whole, range(1, STEPS + 1))


def train_late(settings: Settings, rank: int, port: int) -> None:
    """One process of a run whose second always finds a checkpoint that the first has written already."""
    os.environ.update(strategy.rank_environment(rank, settings.where, port))
    save = saver.Saver.save

    def late(self: saver.Saver, trainer: Any) -> Path:
        while rank == 1 and not self._path(trainer.global_step).exists():
            time.sleep(0.01)
        return save(self, trainer)

    saver.Saver.save = late
    train_run(settings)


def test_a_process_that_does_not_stop_is_killed(forkserver, monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 0.5)
    is_deaf = forkserver.Event()
    ranks = [forkserver.Process(target=target, args=(is_deaf,)) for target in (deaf, fails)]
    for process in ranks:
        process.start()
    ranks[1].join()
    processes._terminate(ranks)
    processes._join(ranks)
    assert [process.exitcode for process in ranks] == [-signal.SIGKILL, 1]


def deaf(is_deaf: Event) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    is_deaf.set()
    time.sleep(600)


def fails(is_deaf: Event) -> None:
    is_deaf.wait()
    raise SystemExit(1)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_shares_are_of_one_size_and_count_each_row_once(world):
    rows = Batch.of(Windows(np.arange(35).reshape(7, 5), None), np.arange(7) % 3)
    shares = [share(rows, rank, world) for rank in range(world)]
    assert len({part.tokens_BL.shape for part in shares}) == 1
    together = Batch(*(torch.cat(parts) for parts in zip(*shares, strict=True)))
    counted = together.of_rows((together.targets_BL != IGNORED).all(1))
    order = counted.tokens_BL[:, 0].argsort()
    assert all(torch.equal(part, whole) for part, whole in zip(counted.of_rows(order), rows, strict=True))
    assert (together.targets_BL == IGNORED).sum() == 4 * (-7 % world)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"where": {"strategy": "single", "devices": 2}}, "where.devices=2"),
        ({"where": {"strategy": "fsdp", "devices": 3}}, "where.devices=3"),
        ({"where": {"strategy": "fsdp"}, "optimizer": {"name": "muon"}}, "optimizer.name=muon"),
        ({"where": {"strategy": "fsdp"}, "averaging": {"kind": "ema"}}, "averaging.kind=ema"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line(tiny, changes, message):
    with pytest.raises(SettingsError, match=message) as refused:
        strategy.check(tiny(**changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Where(threads=3), 3),
        (Where(threads=0), 8),
        (Where(threads=0, strategy="ddp", devices=4), 2),
        (Where(threads=0, strategy="ddp", devices=64), 1),
        (Where(threads=0, strategy="ddp", devices=4, executor="slurm", slurm=Slurm(cpus=6)), 6),
    ],
)
def test_processes_of_one_machine_share_its_cores(where, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    assert strategy.threads(where) == expected


def test_a_process_does_not_wait_for_ever(spread, monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 0.5)
    settings = spread("fsdp", where={"wait_minutes": 0.5})
    with pytest.raises(RanksFailed) as raised:
        processes.together(train_alone, 2, settings)
    assert raised.value.codes == [1, None]
    assert (record_of(settings).failure() or {})["outcome"] == "hung"


def train_alone(settings: Settings, rank: int, port: int) -> None:
    """One process of a run whose second stands still, and keeps its connections, after the first step."""
    os.environ.update(strategy.rank_environment(rank, settings.where, port))
    take_step = Pretraining.take_step

    def stands_still(module: Pretraining, *arguments: Any) -> None:
        if rank == 1 and module.trainer.global_step == 1:
            time.sleep(600)
        take_step(module, *arguments)

    mock.patch.object(Pretraining, "take_step", stands_still).start()
    with failures.noting(record_of(settings)):
        train_run(settings)


def test_a_strategy_without_its_package_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(zero, "installed", lambda: False)
    with pytest.raises(SettingsError, match="pip install"):
        strategy.check(tiny(where={"strategy": "zero2"}))
