"""Files of the user's: every kind read alike, and every broken one named with its line."""

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from small import write_jsonl  # pyrefly: ignore  # beside this file

from ablate.corpus.document import Document
from ablate.data.folder import Folder, read_file
from ablate.run.settings import Data, UserError

ROWS = [{"text": "one", "source": "a"}, {"text": "zwei \u00e9\u4e2d", "source": "b"}, {"text": "three"}]


def folder(root: Path, *domains: str) -> Folder:
    return Folder(Data(source="folder", root=str(root), domains=list(domains)))


def lines(rows: list) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(path: Path, rows: list[dict]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet", "x/state.json"])
def test_every_kind_of_file_gives_the_same_documents(tmp_path, name):
    path = tmp_path / name
    match name:
        case "x.jsonl":
            path.write_bytes(b"\xef\xbb\xbf" + lines(ROWS) + b"\n")
        case "x.jsonl.gz":
            path.write_bytes(gzip.compress(lines(ROWS)))
        case "x.parquet":
            parquet(path, ROWS)
        case "x/state.json":
            datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "x")
    assert list(read_file(path)) == [Document(row["text"], row.get("source", path.name)) for row in ROWS]


def test_a_txt_file_is_one_document(tmp_path):
    (tmp_path / "x.txt").write_bytes("one\ntwo \u00e9".encode())
    assert list(read_file(tmp_path / "x.txt")) == [Document("one\ntwo \u00e9", "x.txt")]


def test_documents_do_not_depend_on_names_or_order_of_files(tmp_path):
    for root, parts in {"p": (ROWS[:1], ROWS[1:]), "q": (ROWS[1:], ROWS[:1])}.items():
        for i, rows in enumerate(parts):
            write_jsonl(tmp_path / root / "d" / f"{i}.jsonl", [{"source": "c"} | row for row in rows])
    assert list(folder(tmp_path / "p", "d").documents("d")) == list(folder(tmp_path / "q", "d").documents("d"))


def test_hidden_and_other_files_are_left_alone(tmp_path):
    write_jsonl(tmp_path / "d" / "deep" / "x.jsonl", ROWS)
    for name in (".x.jsonl", ".cache/x.jsonl", "README.md", "x.jsonl.part"):
        path = tmp_path / "d" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("nonsense")
    assert len(list(folder(tmp_path, "d").documents("d"))) == len(ROWS)


def test_signature_moves_with_content_not_with_place(tmp_path):
    write_jsonl(tmp_path / "p" / "d" / "x.jsonl", ROWS)
    shutil.copytree(tmp_path / "p", tmp_path / "q")
    before = folder(tmp_path / "p", "d").signature()
    assert folder(tmp_path / "q", "d").signature() == before
    write_jsonl(tmp_path / "p" / "d" / "x.jsonl", ROWS[1:])
    assert folder(tmp_path / "p", "d").signature() != before


GOOD = lines(ROWS[:2])
BROKEN = {
    "invalid UTF-8": ("x.jsonl", GOOD + b'{"text": "\xff"}\n', "line 3: not UTF-8"),
    "invalid JSON": ("x.jsonl", GOOD + b'{"text": one}\n', "line 3: not JSON"),
    "cut off": ("x.jsonl", GOOD[:-5], "line 2: not JSON"),
    "no text": ("x.jsonl", GOOD + b'{"body": "x"}\n', "line 3: no field `text` (has body)"),
    "not an object": ("x.jsonl", b'["text"]\n', "line 1: no field `text`"),
    "text is a number": ("x.jsonl", GOOD + b'{"text": 1}\n', "line 3: `text` must be a string, not int"),
    "source is a list": ("x.jsonl", b'{"text": "x", "source": []}\n', "line 1: `source` must be a string, not list"),
    "gzip cut off": ("x.jsonl.gz", gzip.compress(GOOD)[:-9], "line 3: not a whole gzip file"),
    "not gzip": ("x.jsonl.gz", GOOD, "line 1: not a whole gzip file"),
    "UTF-8 in gzip": ("x.jsonl.gz", gzip.compress(GOOD + b"\xff\n"), "line 3: not UTF-8"),
    "text file": ("x.txt", b"one\ntwo\nth\xe9\n", "line 3: not UTF-8"),
    "not parquet": ("x.parquet", GOOD, "row 1: not a whole parquet file"),
    "empty parquet": ("x.parquet", b"", "row 1: not a whole parquet file"),
}


@pytest.mark.parametrize(("name", "content", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_named_with_the_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    assert message in complaint(path)


def test_parquet_cut_off(tmp_path):
    path = tmp_path / "x.parquet"
    parquet(path, ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a whole parquet file" in complaint(path)


def test_parquet_damaged_inside(tmp_path):
    path = tmp_path / "x.parquet"
    parquet(path, [{"text": f"document {i}"} for i in range(50_000)])
    content = bytearray(path.read_bytes())
    content[200:4000] = bytes(3800)
    path.write_bytes(content)
    complaint(path)


def test_parquet_without_text(tmp_path):
    path = tmp_path / "x.parquet"
    parquet(path, [{"body": "x", "url": "y"}])
    assert "no column `text` (has body, url)" in complaint(path)


def test_parquet_with_an_empty_cell(tmp_path):
    path = tmp_path / "x.parquet"
    parquet(path, [{"text": "x"}, {"text": None}])
    assert "row 2: `text` must be a string, not NoneType" in complaint(path)


def test_parquet_that_is_not_utf8(tmp_path):
    path = tmp_path / "x.parquet"
    text = pyarrow.array([b"ok", b"\xff"]).cast(pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"text": text}), path)
    assert "row 2: not UTF-8" in complaint(path)


def test_dataset_that_is_not_whole(tmp_path):
    state = tmp_path / "x" / "state.json"
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "x")
    [part] = (tmp_path / "x").glob("*.arrow")
    part.write_bytes(part.read_bytes()[:100])
    assert "row 1: not a whole dataset" in complaint(state)
    part.unlink()
    assert part.name in complaint(state)
    state.write_text("{")
    assert "row 1: not a whole dataset" in complaint(state)
    (tmp_path / "x" / "dataset_info.json").unlink()
    assert "dataset_info.json" in complaint(state)


def test_permission_denied():
    with tempfile.TemporaryDirectory() as place:  # not tmp_path, whose parents are closed to others anyway
        os.chmod(place, 0o755)
        write_jsonl(Path(place) / "d" / "x.jsonl", ROWS)
        path = Path(place) / "d" / "x.jsonl"
        path.chmod(0)
        with as_nobody():
            assert complaint(path) == f"{path}: Permission denied"


def test_unknown_domain_lists_what_exists(tmp_path):
    for name in ("english", "code", ".git"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"has no folder 'math'; set data.domains=\[code,english\]"):
        folder(tmp_path, "math")


def test_domain_cannot_leave_the_root(tmp_path):
    write_jsonl(tmp_path / "other" / "x.jsonl", ROWS)
    (tmp_path / "root").mkdir()
    with pytest.raises(UserError, match="no folder"):
        folder(tmp_path / "root", "../other")


def test_domain_without_files(tmp_path):
    (tmp_path / "d").mkdir()
    with pytest.raises(UserError, match=r"^domain d: .*no file that ends in \.jsonl"):
        folder(tmp_path, "d")


@pytest.mark.parametrize("root", ["", "missing/folder"])
def test_no_root(root):
    with pytest.raises(UserError, match=rf"^data\.root={root}: must be a folder"):
        Folder(Data(source="folder", root=root, domains=["d"]))


def complaint(path: Path) -> str:
    """The one line that reading `path` ends in; it names the path."""
    with pytest.raises(UserError) as caught:
        list(read_file(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, whom no file refuses."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
