"""Pieces of files as one stream: sliced and picked from as the array that they make together."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data import mapped
from ablate.data.formats import Piece
from ablate.run.settings import UserError

SIZES = [5, 1, 40, 7]
TYPES = ["<u2", "<i4", "<u4", "<u2"]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory) -> list[Piece]:
    """Pieces of two files that hold 0, 1, 2, ... together, each in a type of its own and behind 6 other bytes."""
    folder, found, begin = tmp_path_factory.mktemp("pieces"), [], 0
    paths = [folder / name for name in ("a", "a", "b", "b")]
    for path in paths:
        path.write_bytes(b"")
    for path, size, dtype in zip(paths, SIZES, TYPES, strict=True):
        before = path.read_bytes() + b"header"
        ids = np.arange(begin, begin + size).astype(dtype)
        found.append(Piece(path, len(before), dtype, size))
        path.write_bytes(before + ids.tobytes())
        begin += size
    return found


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_slice_is_that_of_the_whole(pieces, start, stop):
    stream, whole = mapped.Stream(pieces), np.arange(sum(SIZES))
    assert len(stream) == len(whole)
    assert stream[start:stop].tolist() == whole[start:stop].tolist()
    assert stream[start:].tolist() == whole[start:].tolist()


def test_places_are_picked_as_from_an_array(pieces):
    places = np.arange(12).reshape(3, 4) * 4
    assert mapped.Stream(pieces)[places].tolist() == places.tolist()


@settings(max_examples=200)
@given(st.sets(st.integers(0, sum(SIZES) - 1)))
def test_ranges_are_left_out(pieces, gone):
    ranges = [(place, place + 1) for place in sorted(gone)]
    left = mapped.without(pieces, ranges)
    assert all(piece.count > 0 for piece in left)
    assert mapped.Stream(left)[:].tolist() == [place for place in range(sum(SIZES)) if place not in gone]


def test_a_range_over_several_pieces_is_left_out(pieces):
    assert mapped.Stream(mapped.without(pieces, [(3, 44), (50, 53)]))[:].tolist() == [0, 1, 2, *range(44, 50)]


def test_many_files_do_not_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "OPEN_FILES", 3)
    opened = lambda: len(list(Path("/proc/self/fd").iterdir()))  # noqa: E731
    before, found = opened(), []
    for number in range(20):
        np.array([number], dtype="<u2").tofile(tmp_path / str(number))
        found.append(Piece(tmp_path / str(number), 0, "<u2", 1))
    assert mapped.Stream(found)[:].tolist() == list(range(20))
    stream = mapped.Stream(found)
    assert [int(stream[n : n + 1][0]) for n in range(20)] == list(range(20))
    assert opened() <= before + 2 * 3


def test_a_file_that_is_gone_or_changed_is_one_line(pieces, tmp_path):
    files = {piece.path: mapped.File(piece.path.stat().st_size, "sha") for piece in pieces}
    content, names = mapped.written(pieces, files, tmp_path)
    (tmp_path / "text.map").write_bytes(content)
    assert mapped.opened(tmp_path / "text.map", names)[:].tolist() == list(range(sum(SIZES)))
    with pytest.raises(UserError, match=rf"^{tmp_path}/gone: is gone; it had \d+ when {tmp_path} was prepared of it$"):
        mapped.opened(tmp_path / "text.map", [str(tmp_path / "gone"), names[1]])
    (tmp_path / "short").write_bytes(b"12")
    with pytest.raises(UserError, match=rf"^{tmp_path}/short: has 2 bytes; it had \d+ when"):
        mapped.opened(tmp_path / "text.map", [str(tmp_path / "short"), names[1]])
