"""Trunks are counted by what their removal frees, and the least recently used go first."""

import io
import json
import os
import time

import pytest
from rich.console import Console

from ablate.run.settings import UserError
from ablate.run.trunks import Trunk, trunks
from ablate.trunks import RECENT_SECONDS, bytes_of, held, main, prune, show

SIZE = 40_960


def leave(outputs, name: str, age: float) -> Trunk:
    """A trunk last used `age` seconds before it would be too young to go."""
    folder = outputs / "trunks" / name
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint" / "state").write_bytes(os.urandom(SIZE))
    (folder / "trunk.json").write_text(json.dumps({"run": "r", "step": 7}))
    then = folder.stat().st_mtime - RECENT_SECONDS - age
    os.utime(folder, (then, then))
    return Trunk(folder)


def names(outputs) -> list[str]:
    return [trunk.key for trunk in trunks(outputs)]


def test_the_least_recently_used_go_first_and_no_more_than_must(tmp_path):
    for name, age in (("old", 300), ("new", 100), ("middle", 200)):
        leave(tmp_path, name, age)
    total = sum(held(trunks(tmp_path)).values())
    removed, freed = prune(tmp_path, total - 1)
    assert (removed, names(tmp_path)) == (1, ["new", "middle"])
    assert freed == total - sum(held(trunks(tmp_path)).values())
    assert not list((tmp_path / "trunks").glob(".*"))


def test_a_limit_that_fits_removes_nothing(tmp_path):
    leave(tmp_path, "one", 100)
    assert prune(tmp_path, 10 * SIZE) == (0, 0)


def test_what_a_run_still_holds_frees_nothing_and_stays(tmp_path):
    linked, alone = leave(tmp_path, "linked", 300), leave(tmp_path, "alone", 100)
    for path in linked.folder.rglob("*"):
        if path.is_file():
            os.link(path, tmp_path / path.name)
    assert held([linked])["linked"] == 0
    assert held([alone])["alone"] >= SIZE
    prune(tmp_path, 0)
    assert names(tmp_path) == ["linked"]


def test_two_links_within_a_trunk_are_its_own(tmp_path):
    trunk = leave(tmp_path, "twice", 100)
    before = held([trunk])["twice"]
    os.link(trunk.checkpoint / "state", trunk.checkpoint / "again")
    assert held([trunk])["twice"] == before


def test_a_trunk_just_used_stays(tmp_path):
    leave(tmp_path, "used", 100).touch()
    assert prune(tmp_path, 0) == (0, 0)


def test_removing_twice_is_no_error(tmp_path):
    trunk = leave(tmp_path, "one", 100)
    trunk.remove()
    trunk.remove()
    assert not trunk.exists


def test_the_list_says_what_is_there(tmp_path):
    leave(tmp_path, "one", 100)
    text = io.StringIO()
    show(tmp_path, Console(file=text, width=120))
    row = next(line for line in text.getvalue().splitlines() if line.startswith("r "))
    assert row.split()[:2] == ["r", "7"]
    assert "1 trunk, " in text.getvalue()


@pytest.mark.parametrize(("text", "size"), [("10GB", 10**10), ("1.5 M", 1_500_000), ("7", 7), ("2kb", 2000)])
def test_sizes(text, size):
    assert bytes_of(text) == size


def test_a_wrong_size_is_one_line(tmp_path, capsys):
    with pytest.raises(UserError):
        bytes_of("much")
    with pytest.raises(SystemExit):
        main(["--limit", "much", "--outputs", str(tmp_path)])
    assert capsys.readouterr().err.splitlines() == [
        "error: --limit much: must be a number of bytes, such as 500MB or 10GB"
    ]


def test_ids_and_dates_are_whole_in_80_columns(tmp_path):
    trunk, run = leave(tmp_path, "0123456789abcdef", 100), "mmma256x8-256to1024-s0-07c72a43"
    (trunk.folder / "trunk.json").write_text(json.dumps({"run": run, "step": 123_456}))
    text = io.StringIO()
    show(tmp_path, Console(file=text, width=80))
    _, row, _ = text.getvalue().splitlines()
    assert row.split()[:2] == [run, "123456"]
    assert time.strftime("%Y-%m-%d %H:%M", time.localtime(trunk.folder.stat().st_mtime)) in row


@pytest.mark.parametrize("skew", [-86_400, -90, 90, 86_400])
def test_how_long_a_trunk_was_not_used_is_told_by_the_clock_that_stamps_it(tmp_path, monkeypatch, skew):
    leave(tmp_path, "idle", 1)
    leave(tmp_path, "used", -RECENT_SECONDS)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + skew)
    prune(tmp_path, 0)
    assert names(tmp_path) == ["used"]
