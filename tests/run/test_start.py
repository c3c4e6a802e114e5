"""`start` says which weights a run begins with; its id knows them by their sha256 alone."""

import pytest
from tiny import RESULT

from ablate.run.identity import canonical, difference, run_id
from ablate.run.lineage import lineage
from ablate.run.parse import from_config
from ablate.run.record import Record
from ablate.run.settings import Settings, SettingsError
from ablate.run.start import Start, parse

A, B = "a" * 64, "b" * 64


def settings(start: str, **changes: object) -> Settings:
    return from_config({"start": start, **changes})


def test_none_is_no_part_of_the_id():
    assert "start" not in canonical(settings("none"))
    assert run_id(settings("none"), "data") == run_id(from_config({}), "data")


def test_the_id_follows_the_weights_and_neither_name_nor_path():
    first = run_id(settings(f"run:one@{A}"), "data")
    assert first == run_id(settings(f"run:other@{A}"), "data") == run_id(settings(f"folder:/x/y z@{A}"), "data")
    assert first != run_id(settings(f"run:one@{B}"), "data")
    assert first != run_id(settings("none"), "data")
    assert difference(settings("none"), settings(f"run:one@{A}")) == {"start": ("none", A)}


def test_what_stands_in_a_start():
    assert parse("none") is None
    assert parse("run:a64x2") == Start("run", "a64x2")
    assert parse(f"folder:models/a@b@{A}") == Start("folder", "models/a@b", A)
    assert str(parse(f"run:a64x2@{A}")) == f"run:a64x2@{A}"


@pytest.mark.parametrize("start", ["", "a64x2", "run:", "folder", "hub:x", "None"])
def test_anything_else_is_refused(start):
    with pytest.raises(SettingsError, match=f"^start={start}: must be none, run:<id"):
        settings(start)


def test_an_id_needs_a_parent_that_was_looked_up():
    with pytest.raises(AssertionError, match="start=run:one has not been looked up"):
        run_id(settings("run:one"), "data")


@pytest.fixture
def run(tmp_path):
    """run("name", start="none"): the record of a run that ended with the weights sha256 of that letter."""

    def make(name: str, sha256: str, **changes: object) -> Record:
        record = Record(tmp_path / "runs" / name)
        record.begin(from_config(changes), "data", {})
        record.finish(RESULT | {"weights_sha256": sha256})
        return record

    return make


def test_lineage_says_what_each_phase_changed(run):
    first = run("first", A, tokens=20_000)
    second = run("second", B, tokens=10_000, start=f"run:first@{A}", optimizer={"lr": 0.001})
    third = run("third", "c" * 64, tokens=10_000, start=f"run:second@{B}")
    links = lineage(third)
    assert [link.name for link in links] == ["first", "second", "third"]
    assert [link.changed for link in links] == [
        {},
        {"tokens": (20_000, 10_000), "optimizer.lr": (0.003, 0.001)},
        {"optimizer.lr": (0.001, 0.003)},
    ]
    assert links[0].record == first
    assert lineage(second) == links[:2]


def test_lineage_ends_where_records_go_in_a_circle(run):
    first = run("first", A, start=f"run:second@{B}")
    second = run("second", B, start=f"run:first@{A}")
    assert [link.name for link in lineage(first)] == ["run:first", "second", "first"]
    assert [link.name for link in lineage(second)] == ["run:second", "first", "second"]


def test_lineage_finds_a_parent_by_its_weights(run):
    first = run("first", A)
    first.folder.rename(first.folder.with_name("renamed"))
    run("first", B)  # another run took its name
    assert [link.name for link in lineage(run("second", "c" * 64, start=f"run:first@{A}"))] == ["renamed", "second"]


def test_lineage_ends_where_no_record_is_left(run):
    folder, _ = lineage(run("one", A, start=f"folder:/models/small@{B}"))
    assert (folder.name, folder.record) == ("folder:/models/small", None)
    assert [link.name for link in lineage(run("two", A, start=f"run:gone@{B}"))] == ["run:gone", "two"]
