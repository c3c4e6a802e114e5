"""Checkpoints that were damaged: none is believed, and the run ends with the bits that it has undisturbed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from runs import elsewhere, interrupt, record_of, train_run

from ablate.fit import checkpoint, saver
from ablate.run import checkpoints
from ablate.run.record import Record
from ablate.run.settings import Settings, UserError


def flipped(path: Path, place: float = 0.7, bit: int = 3) -> None:
    """One bit of a file, somewhere in it."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture(scope="module")
def left(shared_tiny: Callable[..., Settings]) -> Path:
    """What a run leaves that is interrupted after its second checkpoint."""
    interrupt(settings := shared_tiny(), 15)
    return record_of(settings).folder


@pytest.fixture(scope="module")
def expected(shared_tiny: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the weights that the run has undisturbed."""
    return train_run(elsewhere(shared_tiny(), tmp_path_factory.mktemp("undisturbed")))["weights_sha256"]


@pytest.fixture
def stopped(tiny: Callable[..., Settings], tmp_path: Path, left: Path) -> Callable[[], tuple[Settings, Record]]:
    """A run with two checkpoints, interrupted after the second."""

    def make() -> tuple[Settings, Record]:
        settings = elsewhere(tiny(), tmp_path / "disturbed")
        record = record_of(settings)
        shutil.copytree(left, record.folder, dirs_exist_ok=True)
        return settings, record

    return make


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flipped, cut, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "trainer.json"])
def test_a_run_goes_on_from_the_checkpoint_before_one_that_is_damaged(expected, stopped, capfd, name, damage):
    settings, record = stopped()
    before, last = checkpoints.saved(record.checkpoints)
    damage(last / name)
    assert checkpoints.newest(record.checkpoints) == before
    assert train_run(settings)["weights_sha256"] == expected
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "removed" in line]
    assert line.startswith(f"{last}: ")
    assert name in line
    assert line.endswith(f"the run goes on from step {checkpoints.step_of(before)}")
    assert [start["step"] for start in record.starts()] == [0, checkpoints.step_of(before)]
    assert record.rows("train") == sorted(record.rows("train"), key=lambda row: row["step"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["metrics.jsonl", "starts.json"])
def test_a_run_begins_anew_when_what_it_noted_is_damaged(expected, stopped, capfd, name):
    settings, record = stopped()
    flipped(record.folder / name, 0.1)
    assert checkpoints.newest(record.checkpoints) is None
    assert train_run(settings)["weights_sha256"] == expected
    assert capfd.readouterr().out.count("removed, and the run begins anew") == 2
    assert [start["step"] for start in record.starts()] == [0]


def test_rows_past_the_checkpoint_are_written_again(stopped):
    settings, record = stopped()
    rows = record.folder / "metrics.jsonl"
    noted = checkpoints.rows_size(checkpoints.saved(record.checkpoints)[-1])
    assert noted < rows.stat().st_size
    with rows.open("ab") as file:
        file.write(b'{"kind": "train", "step": 15, \xff')  # cut short, and damaged
    train_run(settings)
    steps = [json.loads(line)["step"] for line in rows.read_text().splitlines() if '"kind": "train"' in line]
    assert steps == list(range(1, settings.steps + 1))


def test_what_is_no_whole_checkpoint_is_none(stopped):
    _, record = stopped()
    before, last = checkpoints.saved(record.checkpoints)
    (record.checkpoints / "step-abc").mkdir()
    (record.checkpoints / "step-00000015").mkdir()
    assert record.saved_step == 15  # by its name alone
    assert checkpoints.newest(record.checkpoints) == last
    assert checkpoints.newest(record.checkpoints, until=checkpoints.step_of(last) - 1) == before
    assert checkpoints.newest(record.checkpoints, until=1) is None
    shutil.rmtree(record.checkpoints)
    assert checkpoints.newest(record.checkpoints) is None


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.97])
@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "trainer.json"])
def test_any_bit_of_a_checkpoint_counts(stopped, name, place):
    _, record = stopped()
    last = checkpoints.newest(record.checkpoints)
    assert last
    whole = (last / name).read_bytes()
    for bit in range(8):
        flipped(last / name, place, bit)
        assert checkpoints.wrong(last), bit
        (last / name).write_bytes(whole)
    assert checkpoints.wrong(last) is None


def test_weights_of_another_model_are_one_line():
    with pytest.raises(UserError, match=r"not of these settings: .* size mismatch") as stop:
        checkpoint.put(torch.nn.Linear(2, 3), torch.nn.Linear(3, 3).state_dict())
    assert "\n" not in str(stop.value)


@pytest.mark.parametrize(("seconds", "asked"), [(0.001, [1, 2, 27, 52]), (0.5, [1, 2, 6, 10]), (9.0, [1, 2, 3, 4])])
def test_processes_agree_on_a_stop_every_few_seconds(tmp_path, monkeypatch, seconds, asked):
    """After so many steps, by the mean of all processes: one of two is told, and both find it at the same step."""
    one, clock, steps = saver.Saver(tmp_path, saver.Due(every=10**6)), iter(range(10**6)), []
    monkeypatch.setattr(saver.time, "monotonic", lambda: next(clock) * seconds)

    def both(mine: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "sum"
        steps.append(trainer.global_step)
        return mine + torch.tensor([float(len(steps) == len(asked)), mine[1].item(), 0.0])

    spread = SimpleNamespace(reduce=both, root_device=torch.device("cpu"))
    trainer = SimpleNamespace(global_step=0, world_size=2, strategy=spread, is_global_zero=True)
    stops = []
    for trainer.global_step in range(1, asked[-1] + 1):
        # pyrefly: ignore[bad-argument-type]
        stops.append(one._all_stop(trainer))
    assert steps == asked
    assert stops == [False] * (asked[-1] - 1) + [True]


def test_by_the_clock_a_checkpoint_is_due_where_the_next_row_ends(monkeypatch):
    now = 0.0
    monkeypatch.setattr(saver.time, "monotonic", lambda: now)
    due = saver.Due(every=100, rows=5, seconds=60)
    due.saved()
    now = 59.0
    assert not due.by_clock()
    now = 60.0
    assert due.by_clock()
    assert not due.at(15)  # nobody has told all processes
    due.asked = True
    assert [step for step in range(11, 21) if due.at(step)] == [15, 20]
    due.saved()
    assert not due.by_clock()
    assert [step for step in range(1, 201) if due.at(step)] == [100, 200]
    assert not saver.Due(every=100).by_clock()


def test_a_run_saves_by_the_clock_and_keeps_the_last_ones(tiny, monkeypatch):
    seen, drop = [], saver.Saver._drop

    def noted(one: saver.Saver, step: int) -> None:
        drop(one, step)
        seen.append([checkpoints.step_of(path) for path in checkpoints.saved(one.folder)])

    monkeypatch.setattr(saver.Saver, "_drop", noted)
    train_run(tiny(where={"saves": 1, "save_minutes": 1e-9, "checkpoints": 3}))
    assert seen == [list(range(max(1, step - 2), step + 1)) for step in range(1, 20)]
