import json
import multiprocessing
import resource
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import DECLARATION, RESULT, ROW

from ablate.run import machine, whole
from ablate.run.files import make_folder, write_atomically
from ablate.run.mixture import Mixture, Stage
from ablate.run.optimizer import Optimizer
from ablate.run.parse import settings_of
from ablate.run.record import Record, run_record
from ablate.run.settings import Schedule, Settings, Study, UserError
from ablate.run.study_record import StudyRecord, study_record


@pytest.fixture
def record(tmp_path) -> Record:
    return run_record(tmp_path, "a128x4-1024-s0-01234567")


def begin(record: Record, settings: Settings | None = None, rows: int | None = None) -> Record:
    record.begin(settings or Settings(), "data", {"gpu": None}, rows)
    return record


@contextmanager
def full_disk(free: int = 64):
    """No file can grow beyond `free` bytes; writing more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def refused(*parts: object):
    with pytest.raises(UserError) as error:
        yield
    assert len(str(error.value).splitlines()) == 1
    for part in parts:
        assert str(part) in str(error.value)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
named = texts.filter(lambda name: name.isprintable() and name.strip() == name != "")
rates = st.floats(1e-9, 1e3)


@given(question=texts, arms=st.dictionaries(named, st.lists(texts, max_size=2), max_size=2), lr=rates, weight=rates)
def test_settings_come_back_as_they_were(tmp_path_factory, question, arms, lr, weight):
    settings = Settings(
        optimizer=Optimizer(lr=lr, betas=(0.0, 0.5)),
        schedule=Schedule(warmup=40),
        mixture=Mixture(share=0.25, stages={"late": Stage(start=0.5, weights={"qa": weight})}),
        study=Study(question=question, arms=arms),
        seed=2**63 - 1,
    )
    folder = tmp_path_factory.mktemp("record")
    assert begin(Record(folder), settings).settings() == settings


@pytest.mark.parametrize("text", ["???", "${oc.env:HOME}", "yes", "1e5", "null", "2024-01-01", "a: b\n- c", "é\u2028"])
def test_text_that_reads_like_something_else_comes_back(record, text):
    settings = Settings(study=Study(question=text))
    assert begin(record, settings).settings() == settings


def test_result_is_what_makes_a_run_done(record):
    assert not record.done
    begin(record)
    record.append("train", step=0, **ROW)
    record.fail("crashed", "out of memory")
    assert not record.done
    assert record.result() is None
    assert record.failure() == {"outcome": "crashed", "reason": "out of memory"}
    record.finish(RESULT | {"nats": 1.5})
    assert record.done
    assert record.result() == RESULT | {"nats": 1.5}
    assert record.failure() is None


def test_done_run_does_not_fail_afterwards(record):
    begin(record).finish(RESULT)
    record.fail("crashed", "too late")
    assert record.failure() is None


def test_run_can_fail_before_it_begins(record):
    record.fail("killed", "before its first line")
    assert record.failure() == {"outcome": "killed", "reason": "before its first line"}


def test_next_try_drops_the_failure_and_keeps_the_rows_that_it_goes_on_from(record):
    begin(record).append("train", step=0, **ROW)
    rows = (record.folder / "metrics.jsonl").stat().st_size
    record.append("train", step=1, **ROW)
    record.fail("crashed", "once")
    assert begin(record, rows=rows).failure() is None
    assert [row["step"] for row in record.rows("train")] == [0]
    assert begin(record).rows("train") == []


def test_environment_names_data_and_machine(record):
    environment = begin(record).environment()
    assert environment["data"] == "data"
    assert environment["gpu"] is None
    assert environment["packages"]["numpy"]
    assert {"commit", "python", "cores"} <= environment.keys()


def test_an_installed_package_has_no_commit_of_the_project_around_it(tmp_path, monkeypatch):
    installed = tmp_path / ".venv" / "site-packages" / "ablate" / "run"
    installed.mkdir(parents=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "--quiet"], [*who, "commit", "--quiet", "--allow-empty", "--message", "mine"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(machine, "__file__", str(installed / "machine.py"))
    assert machine.environment()["commit"] is None


@given(st.lists(st.tuples(st.sampled_from(["train", "evaluation"]), st.integers(0, 5)), max_size=12))
def test_rows_are_by_step_and_the_later_of_two_counts(tmp_path_factory, events):
    record = Record(tmp_path_factory.mktemp("record"))
    for number, (kind, step) in enumerate(events):
        record.append(kind, step=step, number=number, **ROW)
    for kind in ("train", "evaluation"):
        last = {step: number for number, (k, step) in enumerate(events) if k == kind}
        assert record.rows(kind) == [{"kind": kind, "step": s, "number": last[s]} | ROW for s in sorted(last)]


@pytest.mark.parametrize("left", [1, 10, 30])
def test_row_cut_short_is_dropped_and_cut_off_by_the_next_try(record, left):
    begin(record)
    record.append("train", step=0, nats=1.0, **ROW)
    record.append("train", step=1, nats=0.5, **ROW)
    path = record.folder / "metrics.jsonl"
    whole, text = path.read_bytes().index(b"\n") + 1, path.read_bytes()
    path.write_bytes(text[: whole + left])
    assert [row["step"] for row in record.rows("train")] == [0]
    begin(record, rows=whole)
    assert path.read_bytes() == text[:whole]
    record.append("train", step=1, nats=0.25, **ROW)
    assert [row["nats"] for row in record.rows("train")] == [1.0, 0.25]


def test_first_row_cut_short_leaves_none(record):
    begin(record)
    (record.folder / "metrics.jsonl").write_text('{"kind": "tr')
    assert record.rows("train") == []
    begin(record)
    assert (record.folder / "metrics.jsonl").read_text() == ""


def _write_forever(path: Path, texts: list[str]) -> None:
    while True:
        for text in texts:
            write_atomically(path, text)


def test_file_is_whole_whenever_its_writer_is_killed(tmp_path):
    path, texts = tmp_path / "result.json", [letter * 2_000_000 for letter in "ab"]
    write_atomically(path, texts[0])
    for number in range(12):
        writer = multiprocessing.get_context("fork").Process(target=_write_forever, args=(path, texts))
        writer.start()
        time.sleep(0.01 + 0.003 * number)
        writer.kill()
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        assert path.read_text() in texts


def test_full_disk_keeps_the_old_file_and_is_one_line(tmp_path):
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with full_disk(), refused("cannot write", path):
        write_atomically(path, "new" * 100)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_one_line_for_a_row_too(record):
    begin(record)
    record.append("train", step=0, **ROW)
    with full_disk(), refused("cannot write", "metrics.jsonl"):
        record.append("train", step=1, text="x" * 100)
    assert [row["step"] for row in record.rows("train")] == [0]


def test_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with refused("cannot write", tmp_path / "file"):
        begin(Record(tmp_path / "file" / "run"))
    with refused("cannot write", tmp_path / "file"):
        make_folder(tmp_path / "file")


def test_file_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "file" / "result.json", tmp_path / "absent" / "result.json"):
        with refused("cannot write", target):
            write_atomically(target, "text")
    with refused("cannot write", tmp_path / "absent"):
        Record(tmp_path / "absent").append("train", step=0)


def test_study_reads_what_was_written_and_finds_its_runs(tmp_path):
    study = study_record(tmp_path, "mix")
    study.write(DECLARATION | {"runs": {"base": {0: "a", 1: "b"}, "more": {0: "c"}}})
    run_record(tmp_path, "b").fail("killed", "")
    run_record(tmp_path, "c").folder.mkdir()
    run_record(tmp_path, "c").finish(RESULT)
    found = list(study.records())
    assert [(arm, seed, record.id) for arm, seed, record in found] == [
        ("base", 0, "a"),
        ("base", 1, "b"),
        ("more", 0, "c"),
    ]
    assert [record.done for *_, record in found] == [False, False, True]
    written = json.loads((tmp_path / "studies" / "mix" / "study.json").read_text())
    assert written == study.read() | {"sha256": whole.digest(study.read())}


def test_missing_study_names_those_present(tmp_path):
    with refused("'mix'", tmp_path / "studies", "none was started yet"):
        study_record(tmp_path, "mix").read()
    for name in ("mix_sweep", "grow"):
        study_record(tmp_path, name).write(DECLARATION)
    with refused("'mix'", "present: grow, mix_sweep"):
        list(StudyRecord(tmp_path / "studies" / "mix").records())


DAMAGED = {
    "study.json": ('{"name": "mix", "arms"', "study.json: damaged, Expecting"),
    "race.json": ("", "race.json: damaged, Expecting value"),
    "a declaration of nothing": ("[]", "study.json: damaged, []: must be a valid dictionary"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_study_is_one_line(tmp_path, what):
    text, said = DAMAGED[what]
    study = study_record(tmp_path, "mix")
    study.write(DECLARATION)
    (study.folder / (what if "." in what else "study.json")).write_text(text)
    with refused(said):
        study.read(), study.decisions()


def test_a_damaged_row_within_the_metrics_is_one_line(record):
    begin(record).append("train", step=1)
    with (record.folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "tr\n')
    with refused("metrics.jsonl: damaged"):
        record.rows("train")


def test_a_run_begins_again_from_when_it_takes_steps_back_until_its_next_step(record):
    make_folder(record.folder)
    seen = [record.begins_again]
    for act in (record.beat, lambda: record.take_back([{"step": 3}]), record.beat):
        time.sleep(0.02)  # clocks of files are coarse
        act()
        seen.append(record.begins_again)
    assert seen == [False, False, True, False]


def test_a_key_that_is_gone_is_left_out_where_it_did_nothing():
    path, tree = Path("config.yaml"), {"study": {"budget": {"rungs": [], "keep": 0.9}}, "tokens": 10_240}
    found = settings_of(path, tree)
    assert (found.study.budget.keep, found.tokens) == (0.9, 10_240)
    assert tree["study"]["budget"]["rungs"] == []  # what was read stays as it was
    with pytest.raises(UserError, match=r"config.yaml: study.budget.rungs"):
        settings_of(path, {"study": {"budget": {"rungs": [0.5]}}})
