"""Finished runs go to an object store and come back; what comes back damaged is trained again, what is gone is told."""

import dataclasses
import threading
from pathlib import Path

import fsspec
import pytest
from tiny import RESULT

from ablate.data.tokens import opened
from ablate.run import store as stores
from ablate.run import whole
from ablate.run.identity import record_name
from ablate.run.record import Record, run_record
from ablate.run.settings import SettingsError, UserError
from ablate.sweep import conduct, worker
from ablate.sweep import study as studies
from ablate.sweep.worker import Task, alone, look_up, train

TEXT = "0" * 16
SUMS = {"nats": 1.0, "tokens": 1, "bytes": 1}


@pytest.fixture
def store(tmp_path) -> str:
    (tmp_path / "store").mkdir()
    return f"file://{tmp_path}/store"


@pytest.fixture
def task(tiny, tmp_path, store):
    """task(machine): the same run there."""
    return lambda machine, store=store: alone(tiny(where={"outputs": str(tmp_path / machine), "store": store}))


@pytest.fixture
def record(tiny, tmp_path):
    """record(machine): the same run there, as if it had not begun."""
    settings = tiny()
    return lambda machine: run_record(tmp_path / machine, record_name(settings, TEXT))


@pytest.fixture
def done(tiny, record):
    """done(machine): the same run there, as if that had trained it; `changes`: of settings, but not of the id."""

    def of(machine: str, text: str = TEXT, **changes: object) -> Record:
        settings, found = tiny(**changes), record(machine)
        found.begin(settings, text, {"host": machine})
        found.weights.write_bytes(b"weights")
        found.finish(RESULT | {"sums": {domain: SUMS for domain in settings.data.domains}})
        return found

    return of


def copies(tmp_path: Path) -> list[Record]:
    """Those in the store, one of each machine that has put the run."""
    return [Record(path.parent) for path in sorted(Path(tmp_path, "store").rglob("result.json"))]


def test_another_machine_fetches_what_one_has_trained(task, tmp_path, monkeypatch):
    first = task("one")
    result = train(first)
    assert [one.damage() for one in copies(tmp_path)] == [None]
    monkeypatch.setattr(worker, "_train_claimed", None)  # training would call it
    second = task("two")
    assert train(second) == result
    assert second.record.damage() is None
    assert second.record.weights.read_bytes() == first.record.weights.read_bytes()
    assert not (second.record.folder / stores.FETCHED).exists()
    assert len(copies(tmp_path)) == 1  # what was fetched is not put once more


def test_what_comes_back_damaged_is_trained_and_put_anew(task, tmp_path, capsys):
    first = task("one")
    result = train(first)
    path = copies(tmp_path)[0].weights
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    second = task("two")
    assert train(second)["weights_sha256"] == result["weights_sha256"]
    assert f"weights.safetensors {whole.CHANGED}" in capsys.readouterr().out
    assert stores.fetch(run_record(tmp_path / "three", second.record.id), second.settings.where.store)


def test_a_run_that_is_done_is_put_where_it_is_missing(task, tmp_path):
    train(task("one", store=""))
    assert not copies(tmp_path)
    train(task("one"))
    assert len(copies(tmp_path)) == 1


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "result.json", "weights.safetensors"])
def test_what_is_cut_short_there_is_not_fetched(done, record, store, tmp_path, name, capsys):
    one = done("one")
    one.append("step", step=1)
    one.finish(one.result() or {})
    stores.put([one], store)
    path = copies(tmp_path)[0].folder / name
    path.write_bytes(path.read_bytes()[:-2])
    assert not stores.fetch(record("two"), store)
    assert name in capsys.readouterr().out
    stores.put([one], store)  # as after a kill
    assert stores.fetch(record("two"), store)


@pytest.mark.parametrize("other", [{"seed": 1}, {"text": "1" * 16}])
def test_another_run_under_this_id_is_not_fetched(done, record, store, other, capsys):
    stores.put([done("one", **other)], store)
    assert not stores.fetch(record("two"), store)
    assert "it is another run, a32x2-32to64-s" in capsys.readouterr().out


def test_two_machines_that_put_a_run_at_once_leave_two_copies(done, record, store, tmp_path, monkeypatch):
    system = type(fsspec.filesystem("file"))
    put_file, turn = system.put_file, threading.Barrier(2)

    def in_turn(self, source: str, to: str) -> None:
        turn.wait(timeout=10)  # file by file
        put_file(self, source, to)

    monkeypatch.setattr(system, "put_file", in_turn)
    threads = [threading.Thread(target=stores.put, args=([done(name)], store)) for name in ("one", "another")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.damage() for one in copies(tmp_path)] == [None, None]
    assert stores.fetch(record("two"), store)


def test_only_what_belongs_to_a_run_is_fetched(done, record, store, tmp_path):
    stores.put([done("one")], store)
    (there,) = copies(tmp_path)
    for name in ("claim.json", "log.txt", "more/big.bin", "scores/task.jsonl"):
        (there.folder / name).parent.mkdir(exist_ok=True)
        (there.folder / name).write_text("x")
    (there.folder / "scores" / "link.jsonl").symlink_to(tmp_path)
    found = record("two")
    assert stores.fetch(found, store)
    left = {path.relative_to(found.folder).as_posix() for path in found.folder.rglob("*") if path.is_file()}
    assert left == {"config.yaml", "environment.json", "result.json", "scores/task.jsonl", "weights.safetensors"}


@pytest.mark.parametrize("name", ["../../../evil", "/evil", "claim.json", "scores/.."])
def test_a_result_that_names_other_files_is_not_fetched(done, record, store, tmp_path, name):
    stores.put([done("one")], store)
    (there,) = copies(tmp_path)
    result = whole.read(there.folder / "result.json")
    result["files"][name] = {"size": 0, "sha256": "0" * 64}
    whole.write(there.folder / "result.json", result)
    assert not stores.fetch(record("two"), store)


def test_a_store_that_is_lost_on_the_way_stops_no_run(task, tmp_path, capsys):
    one = task("one")
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").write_text("")
    assert train(one)["outcome"] == "finished"
    said = capsys.readouterr().out
    assert f"not fetched: where.store={one.settings.where.store}: " in said
    assert f"not stored: where.store={one.settings.where.store}: " in said


def test_processes_of_one_run_are_told_of_a_fetched_one(done, record, store, tiny, tmp_path):
    stores.put([done("one")], store)
    told = Task(tiny(where={"store": store}), tmp_path, record("two"))
    assert look_up(told)
    assert not look_up(Task(tiny(), tmp_path, record("three")))


@pytest.mark.parametrize("store", ["s4://bucket/lab", "nothing://", "file:///no/such/folder"])
def test_a_store_that_is_not_there_is_one_line_before_anything_is_trained(task, store):
    with pytest.raises(UserError, match=f"where.store={store}: .+") as raised:
        task("one", store=store)
    assert "\n" not in str(raised.value)


def test_a_study_asks_for_its_store_before_it_begins(task, tiny, tmp_path):
    one = task("one", store="")
    settings = tiny(where={"outputs": str(tmp_path / "one"), "store": "file:///no/such/folder"})
    study = dataclasses.replace(settings.study, base="base", seeds=[0])
    plan = studies.Plan(study, [studies.Arm("base", settings, {}, opened(one.corpus))])
    with pytest.raises(UserError, match=r"where\.store=file:///no/such/folder"):
        conduct.begin(plan)


@pytest.mark.parametrize("address", ["s3:/bucket", "lab", "~/lab", " ", "ftp://me:secret@host/lab"])
def test_a_store_is_an_address_without_a_password(tiny, address):
    with pytest.raises(SettingsError, match=r"where\.store=.*: must be an address"):
        tiny(where={"store": address})
