"""What is not as it was written is not believed: one bit of any file of a record, whatever it is."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import LOOK, RESULT, ROW

from ablate.run import files, whole
from ablate.run.ledger import Ledger
from ablate.run.record import NAMED, Record
from ablate.run.settings import Settings, UserError
from ablate.run.study_record import StudyRecord


def flip(path: Path, place: float = 0.5, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[min(int(place * len(content)), len(content) - 1)] ^= 1 << bit
    path.write_bytes(content)


@pytest.fixture
def done(tmp_path: Path) -> Record:
    """A run that is done, with a file of every name."""
    record = Record(tmp_path / "runs" / "a128x4-1024-s0-01234567")
    record.begin(Settings(), "data", {})
    record.append("train", step=1, nats=1.5, **ROW)
    record.start({"step": 0, "origin": "", "threads": 1})
    record.end({"twin": {"of": 1}})
    record.take_back([{"step": 1, "at": 1, "window": [0, 1]}])
    kept = record.weights_after(1)
    kept.parent.mkdir()
    for path in (record.weights, record.packed, kept):
        path.write_bytes(bytes(range(256)))
    record.finish(RESULT | {"sums": {"qa": {"nats": 0.1, "tokens": 3, "bytes": 1e-9}}})
    return record


@pytest.mark.parametrize("value", [{}, [], {"b": [0.1, 1e300, None], 1: "é"}, [1, {"sha": 2}], {"inf": float("inf")}])
def test_a_value_comes_back(tmp_path, value):
    whole.write(tmp_path / "value.json", value)
    assert whole.read(tmp_path / "value.json") == json.loads(json.dumps(value))


def test_every_bit_of_a_value_counts(tmp_path):
    path, value = tmp_path / "value.json", {"loss": 0.123456789, "seeds": [1, 2], "é": None}
    whole.write(path, value)
    written = path.read_bytes()
    for place in range(len(written)):
        for bit in range(8):
            changed = bytearray(written)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            try:
                found = whole.read(path)
            except whole.Damaged:
                continue
            # white space, or the name of the sum: then the value is the one that was written
            assert {key: one for key, one in found.items() if key in value} == value, (place, bit)


@pytest.mark.parametrize("name", [*NAMED, "weights/step-00000001.safetensors", "result.json"])
def test_one_bit_of_a_done_run_is_seen(done, name):
    assert done.damage() is None
    flip(done.folder / name)
    assert (done.damage() or "").startswith(name)
    with pytest.MonkeyPatch.context() as patch:  # nor is a copy believed, which has the damage and no marks
        patch.setattr(whole, "_known", lambda folder: {})
        assert done.damage()


def test_a_file_that_is_gone_or_cut_is_told(done):
    done.weights.unlink()
    assert done.damage() == "weights.safetensors is gone"
    shutil.rmtree(done.folder / "weights")
    os.truncate(done.folder / "metrics.jsonl", 10)
    assert "metrics.jsonl has 10 bytes, not " in (done.damage() or "")


def test_what_was_not_there_when_a_run_was_done_may_come_and_go(done):
    done.keep_rescored({"weights_sha256": "0"})
    (done.folder / "log.txt").write_text("x")
    flip(done.folder / "rescored.json")
    assert done.damage() is None
    assert done.rescored() == {}


@pytest.mark.parametrize("text", ["{}", "null", "[]", "5", '{"outcome": "fini', "\udcff"])
def test_a_result_that_is_none_is_damage(done, text):
    (done.folder / "result.json").write_text(text, errors="surrogateescape")
    assert (done.damage() or "").startswith("result.json")
    with pytest.raises(UserError, match=r"result\.json: "):
        done.result()


def test_a_record_of_an_older_version_is_read_as_it_is(done):
    files.write_json(done.folder / "result.json", RESULT)
    flip(done.weights)
    assert done.damage() is None
    assert done.result() == RESULT


def test_a_damaged_record_is_set_aside_with_a_line(done, capsys):
    for _ in range(2):  # the second time what was set aside before is in the way
        flip(done.weights)
        done.set_aside(done.damage() or "")
        assert not done.folder.exists()
        aside = done.folder.with_name(f".{done.id}.damaged")
        assert aside.exists()
        line = f"{done.folder}: weights.safetensors {whole.CHANGED}; set aside as {aside.name}, and trained again\n"
        assert capsys.readouterr().out == line
        shutil.copytree(aside, done.folder)
        flip(done.weights)
    done.set_aside("x")
    done.set_aside("x")  # another launcher was first


@pytest.mark.parametrize("damage", [flip, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"\xff")])
def test_damaged_settings_of_a_run_that_is_not_done_are_written_again(tmp_path, damage):
    record = Record(tmp_path / "run")
    record.begin(Settings(), "data", {})
    damage(record.folder / "config.yaml")
    with pytest.raises(UserError, match=r"config\.yaml"):
        record.settings()
    record.begin(Settings(), "data", {})
    assert record.settings() == Settings()


PRIOR = {"time": "", "ledger": "", "focus": "qa", "studies": {}, "arms": []}


@pytest.mark.parametrize(("name", "value"), [("prior", PRIOR), ("noise", {"sd": 0.25, "df": 3.0})])
def test_what_nothing_can_make_again_is_kept_twice(tmp_path, name, value, capsys):
    study = StudyRecord(tmp_path / "study")
    files.make_folder(study.folder)
    getattr(study, f"keep_{name}")(value)
    read: Callable[[], object] = getattr(study, name)
    flip(study.folder / f"{name}.json", 0.1)
    assert read() == value
    assert capsys.readouterr().out.endswith(f"{whole.CHANGED}; taken from its copy\n")
    flip(study.folder / f".{name}.json.copy")
    assert read() == value
    assert not capsys.readouterr().out
    (study.folder / f"{name}.json").unlink()
    assert read() is None  # who deletes it means it


def test_a_damaged_row_of_the_ledger_is_taken_from_its_copy(tmp_path):
    ledger = Ledger(tmp_path / "study" / "ledger.jsonl")
    for number in range(3):
        ledger.add("look", number=number, **LOOK)
    rows = ledger.rows()
    assert [row["number"] for row in rows] == [0, 1, 2]
    for place in (0.1, 0.5, 0.9, 0.999):
        flip(ledger.path, place, 2)
        assert ledger.rows() == rows
        assert ledger.whole
        ledger.path.write_bytes(whole.copy_of(ledger.path).read_bytes())
    flip(ledger.path)
    ledger.add("look", number=3, **LOOK)
    assert [row["number"] for row in ledger.rows()] == [0, 1, 2, 3]
    assert ledger.path.read_bytes() == whole.copy_of(ledger.path).read_bytes()


def test_files_of_a_study_that_are_damaged_are_set_aside(tmp_path, capsys):
    study = StudyRecord(tmp_path / "studies" / "mix")
    files.make_folder(study.folder)
    study.promise({"run": {}})
    study.keep_bases([])
    flip(study.folder / "plans.json", 0.99)
    with pytest.raises(UserError, match=r"plans\.json: "):
        study.promised()
    study.mend()
    assert capsys.readouterr().out.count("set aside as .plans.json.damaged, and made again") == 1
    assert study.promised() == {}


def test_a_folder_appears_with_all_that_is_in_it_on_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync", synced.append)
    half, place = tmp_path / ".half", tmp_path / "place"
    (half / "in").mkdir(parents=True)
    (half / "in" / "file").write_text("x")
    files.appear(half, place)
    assert {half / "in", half / "in" / "file", half} == set(synced[:-1])
    assert synced[-1] == tmp_path  # the name, after it was given
    assert (place / "in" / "file").exists()
    synced.clear()
    files.make_folder(tmp_path / "a" / "b")
    assert sorted(synced) == [tmp_path, tmp_path / "a"]


def test_a_private_folder_is_its_owners_alone(tmp_path):
    folder = tmp_path / "slurm"
    folder.mkdir(mode=0o777)
    files.make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_is_damaged_is_said_once(tmp_path):
    record = Record(tmp_path)
    record.append("train", step=1)
    with pytest.raises(UserError) as error:
        record.last_row()
    assert str(error.value) == f"{tmp_path / 'metrics.jsonl'}: damaged, it lacks tokens"
