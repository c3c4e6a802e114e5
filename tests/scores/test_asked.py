"""Items asked once: kept whole, found again, gone on with after a kill, and not believed when they were edited."""

import dataclasses
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest
from candidates import candidate  # pyrefly: ignore  # beside this file

from ablate.run.settings import UserError
from ablate.scores import asked, items, protocols
from ablate.scores.asked import ask
from ablate.scores.items import Item, Sheet, read

ITEMS = [
    Item(f"i{n}", f"s{n % 7}", f"What is {n} + {n}?\nAnswer:", (f" {2 * n}", f" {n}", " the sea"), 0) for n in range(23)
]


SHEET = Sheet("sums", "cloze", 40, "ab" * 32, ITEMS)


def sheet(**changes: Any) -> Sheet:
    return dataclasses.replace(SHEET, **changes)


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(asked, "BLOCK", 5)


@pytest.fixture
def counted(monkeypatch):
    """The number of items that were asked."""
    numbers = []

    def cloze(candidate, items, shots, beat):
        numbers.append(len(items))
        return protocols.cloze(candidate, items, shots, beat)

    monkeypatch.setitem(protocols.PROTOCOLS, "cloze", cloze)
    return numbers


def test_a_file_has_what_was_asked_and_a_row_an_item(tmp_path):
    path = ask(candidate(), sheet(contaminated=["i3", "i1"]), tmp_path / "scores")
    header, rows = read(path)
    assert path.name == f"sums-cloze-40-{header['digest'][:8]}.jsonl"
    assert (header["items"], header["contaminated"], header["cut"]) == (23, ["i1", "i3"], 0)
    assert rows == protocols.cloze(candidate(), ITEMS[:5], [], lambda: None) + rows[5:]
    assert [row["item"] for row in rows] == [item.key for item in ITEMS]
    assert not list(tmp_path.rglob("*.part"))


def test_the_same_again_asks_nothing_and_anything_else_is_another_file(tmp_path, counted):
    one = candidate()
    first = ask(one, sheet(), tmp_path)
    assert counted == [5, 5, 5, 5, 3]
    assert ask(one, sheet(), tmp_path) == first
    assert sum(counted) == 23
    others = [
        sheet(items=ITEMS[:22]),
        sheet(shots=[Item("shot", "s", "What is 1 + 1?\nAnswer:", (" 2",), 0)]),
        sheet(weights_sha256="cd" * 32),
        sheet(step=20),
        sheet(protocol="likelihood"),
    ]
    assert len({ask(one, other, tmp_path) for other in others} | {first}) == 6


def test_another_version_of_the_protocols_asks_again(tmp_path, monkeypatch, counted):
    ask(candidate(), sheet(), tmp_path)
    monkeypatch.setattr(asked, "VERSION", items.VERSION + 1)
    ask(candidate(), sheet(), tmp_path)
    assert sum(counted) == 46


def test_what_is_found_contaminated_later_is_noted_without_asking(tmp_path, counted):
    first = ask(candidate(), sheet(), tmp_path)
    rows = read(first)[1]
    assert ask(candidate(), sheet(contaminated=["i2"]), tmp_path) == first
    assert (read(first)[0]["contaminated"], read(first)[1]) == (["i2"], rows)
    assert sum(counted) == 23


def _held(folder: Path) -> None:
    """Ask two blocks of items and stand still in the third."""

    def beat() -> None:
        while _lines(folder) > 10:
            time.sleep(0.02)

    ask(candidate(), sheet(), folder, beat=beat)


def _lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.part"))


def killed(folder: Path) -> Path:
    """What an evaluation leaves that is killed in its third block."""
    process = multiprocessing.get_context("fork").Process(target=_held, args=(folder,))
    process.start()
    while _lines(folder) < 11:
        time.sleep(0.02)
    process.kill()
    process.join()
    [found] = folder.glob("*.part")
    return found


def test_a_killed_evaluation_goes_on_to_the_same_file(tmp_path, counted):
    found = killed(tmp_path / "killed")
    with found.open("a") as file:
        file.write('{"item": "i1')  # a row that was cut short
    counted.clear()
    path = ask(candidate(), sheet(), tmp_path / "killed")
    assert sum(counted) == 13
    assert path.read_bytes() == ask(candidate(), sheet(), tmp_path / "whole").read_bytes()


def test_a_part_of_other_items_is_not_gone_on_with(tmp_path, counted):
    path = ask(candidate(), sheet(), tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    path.unlink()
    path.with_name(path.name + ".part").write_text(lines[0].replace('"step": 40', '"step": 41') + "".join(lines[1:12]))
    ask(candidate(), sheet(), tmp_path)
    assert sum(counted) == 46


def test_a_damaged_part_is_asked_again(tmp_path, counted):
    whole_ = ask(candidate(), sheet(), tmp_path / "whole").read_bytes()
    found = killed(tmp_path / "killed")
    lines = found.read_bytes().splitlines(keepends=True)
    digit = lines[1].index(b'"nats": [') + len(b'"nats": [')
    lines[1] = lines[1][:digit] + bytes([lines[1][digit] ^ 1]) + lines[1][digit + 1 :]
    found.write_bytes(b"".join(lines))
    assert ask(candidate(), sheet(), tmp_path / "killed").read_bytes() == whole_


def _nats(lines):
    row = json.loads(lines[3])
    row["nats"][0] -= 1
    return [*lines[:3], json.dumps(row) + "\n", *lines[4:]]


EDITS = {
    "a number": _nats,
    "a row dropped": lambda lines: lines[:-1],
    "a row cut short": lambda lines: [*lines[:-1], lines[-1][:9]],
    "rows in another order": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "contaminated items": lambda lines: [lines[0].replace('"contaminated": []', '"contaminated": ["i1"]'), *lines[1:]],
    "its first row": lambda lines: lines[1:],
    "no text": lambda lines: ["\x00\n"],
    "nothing": lambda lines: [],
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_damaged_or_edited_file_is_refused_by_name(tmp_path, edit):
    path = ask(candidate(), sheet(), tmp_path)
    path.write_text("".join(edit(path.read_text().splitlines(keepends=True))))
    for reading in (lambda: read(path), lambda: ask(candidate(), sheet(), tmp_path)):
        with pytest.raises(UserError, match=rf"{path.name}: damaged or edited since it was written; delete it"):
            reading()


def test_a_file_under_another_name_is_refused(tmp_path):
    path = ask(candidate(), sheet(), tmp_path)
    other = path.rename(path.with_name(path.name.replace("sums-", "better-")))
    with pytest.raises(UserError, match="damaged or edited"):
        read(other)
