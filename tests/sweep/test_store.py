"""Finished runs go to an object store and come back; what comes back damaged is trained again, what is gone is told."""

from pathlib import Path

import pytest

from ablate.run.record import Record
from ablate.run.settings import UserError
from ablate.sweep import worker
from ablate.sweep.worker import Task, alone, train


@pytest.fixture
def task(tiny, tmp_path):
    """{machine: the same run there}"""

    def of(machine: str, store: str = f"file://{tmp_path}/store") -> Task:
        return alone(tiny(where={"outputs": str(tmp_path / machine), "store": store}))

    return of


def stored(tmp_path: Path, run: str) -> Record:
    return Record(tmp_path / "store" / "runs" / run)


def test_another_machine_fetches_what_one_has_trained(task, tmp_path, monkeypatch):
    first = task("one")
    result = train(first)
    assert stored(tmp_path, first.record.id).damage() is None
    monkeypatch.setattr(worker, "_train_claimed", None)  # training would call it
    second = task("two")
    assert train(second) == result
    assert second.record.damage() is None
    assert second.record.weights.read_bytes() == first.record.weights.read_bytes()
    assert not list((tmp_path / "two").glob(".fetched-*"))


@pytest.mark.parametrize("name", ["weights.safetensors", "metrics.jsonl", "result.json"])
def test_what_comes_back_damaged_is_trained(task, tmp_path, name, capsys):
    first = task("one")
    result = train(first)
    path = stored(tmp_path, first.record.id).folder / name
    path.write_bytes(path.read_bytes()[:-2])
    again = train(task("two"))
    assert again["weights_sha256"] == result["weights_sha256"]
    assert f"not fetched: file://{tmp_path}/store: {first.record.id}: " in capsys.readouterr().out


def test_a_record_that_is_not_whole_there_is_not_fetched(task, tmp_path):
    first = task("one")
    train(first)
    (stored(tmp_path, first.record.id).folder / "result.json").unlink()  # the last to be put
    second = task("two")
    assert train(second)["outcome"] == "finished"
    assert stored(tmp_path, first.record.id).damage() is None  # put anew


def test_a_run_that_is_done_is_put_where_it_is_missing(task, tmp_path):
    train(task("one", store=""))
    assert not (tmp_path / "store").exists()
    first = task("one")
    train(first)
    assert stored(tmp_path, first.record.id).done


@pytest.mark.parametrize("store", ["s4://bucket/lab", "nothing://"])
def test_a_store_that_nobody_knows_is_one_line(task, store):
    with pytest.raises(UserError, match=f"where.store={store}: .+") as raised:
        train(task("one", store=store))
    assert "\n" not in str(raised.value)
