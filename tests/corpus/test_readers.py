"""Every kind of file read alike, and every broken one named with its line."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from ablate.corpus.document import Document, identity
from ablate.corpus.readers import lines as json_lines
from ablate.corpus.readers.rows import Columns
from ablate.corpus.readers.table import read, reader_of
from ablate.run.settings import SettingsError, UserError

ROWS = [
    {"text": "one\nof two lines", "source": "a", "url": "https://x/1", "license": "CC0", "language": "en"},
    {"text": "zwei \u00e9\u4e2d", "source": "b"},
    {"text": 'three, "3"\t'},
]
META = {"url": "https://x/1", "licence": "CC0", "language": "en"}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def lines(rows: list) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows: list[dict], delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def parquet(rows: list[dict] | pyarrow.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows) if isinstance(rows, list) else rows, sink)
    return sink.getvalue()


KINDS: dict[str, Callable[[list], bytes]] = {
    ".jsonl": lambda rows: b"\xef\xbb\xbf" + lines(rows) + b"\n",
    ".NDJSON": lines,
    ".json": lambda rows: json.dumps(rows, indent=1).encode(),
    ".csv": lambda rows: b"\xef\xbb\xbf" + table(rows, ","),
    ".tsv": lambda rows: table(rows, "\t"),
    ".parquet": parquet,
}


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_rows_gives_the_same_documents(tmp_path, kind, packed):
    path = tmp_path / f"x{kind}{packed}"
    path.write_bytes(PACKED[packed](KINDS[kind](ROWS)))
    found = list(read(path, f"deep/{path.name}"))
    assert [document.text for document in found] == [row["text"] for row in ROWS]
    assert [document.source for document in found][:2] == ["a", "b"]
    # A row without a source is one by itself: the line where it begins, or its number
    number = 5 if kind in (".csv", ".tsv") else 3
    assert found[2].source == f"deep/{path.name}:{number}"
    assert found[0].meta == META | {"id": identity("a", ROWS[0]["text"])}
    assert found[1].meta == {"id": identity("b", ROWS[1]["text"])}


def test_a_saved_dataset_is_its_rows(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "x")
    found = list(read(tmp_path / "x" / "state.json", "x/state.json"))
    assert [(d.text, d.source) for d in found] == [
        *((r["text"], r["source"]) for r in ROWS[:2]),
        (ROWS[2]["text"], "x/state.json:3"),
    ]
    assert found[0].meta == META | {"id": identity("a", ROWS[0]["text"])}


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("x.txt", ""),
        ("X.TXT.gz", ""),
        ("x.md", "markdown"),
        ("x.rst.xz", "rst"),
        ("x.py", "code"),
        ("Makefile", "code"),
        ("x.3pm.gz", "man"),
    ],
)
def test_a_file_that_is_one_document_is_called_by_its_path(tmp_path, name, format):
    (tmp_path / name).write_bytes(
        PACKED[Path(name).suffix if Path(name).suffix in PACKED else ""]("one\ntwo \u00e9".encode())
    )
    expected = {"id": identity(f"a/{name}", "one\ntwo \u00e9")} | ({"format": format} if format else {})
    assert list(read(tmp_path / name, f"a/{name}")) == [Document("one\ntwo \u00e9", f"a/{name}", expected)]


def test_a_pdf_is_its_bytes(tmp_path):
    content = bytes(range(256))
    (tmp_path / "x.pdf").write_bytes(content)
    [document] = read(tmp_path / "x.pdf")
    assert document.text.encode("latin-1") == content
    assert document.meta["format"] == "pdf"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<p>\u00e9\u4e2d".encode(), "<p>\u00e9\u4e2d"),
        ("\ufeff<p>\u00e9".encode("utf-16"), "<p>\u00e9"),
        (b"<META charset='iso-8859-2'><p>\xb1", "<META charset='iso-8859-2'><p>\u0105"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=shift_jis"><p>\x82\xa0', None),
        (b"<p>\x93caf\xe9\x94", "<p>\u201ccaf\u00e9\u201d"),  # what browsers do without a word
        (b"<meta charset=nonsense>\xe9", "<meta charset=nonsense>\u00e9"),
    ],
)
def test_html_is_decoded_as_browsers_do(tmp_path, content, text):
    (tmp_path / "x.html").write_bytes(content)
    [document] = read(tmp_path / "x.html")
    assert document.text.endswith(text or "\u3042")


def test_responses_of_a_crawl_are_documents_called_by_their_url(tmp_path):
    path = tmp_path / "x.warc.gz"
    records = [
        record("response", "http://a/1", http("<p>one \u00e9", "text/html; charset=utf-8")),
        record("request", "http://a/1", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "application/http; msgtype=request"),
        record("response", "http://a/2", http("GIF89a", "image/gif")),
        record("response", "http://a/3", http("<p>not found", "text/html", "404 Not Found")),
        record("response", "http://b/4", http("<p>gzip", "text/html", encode="gzip")),
        record("response", "http://b/5", http("<p>chunks", "text/html", encode="chunked")),
        record("conversion", "http://b/6", b"plain", "text/plain"),
    ]
    path.write_bytes(b"".join(map(gzip.compress, records)))
    found = list(read(path))
    assert [(d.text, d.source) for d in found] == [
        ("<p>one \u00e9", "http://a/1"),
        ("<p>gzip", "http://b/4"),
        ("<p>chunks", "http://b/5"),
        ("plain", "http://b/6"),
    ]
    assert [d.meta.get("format") for d in found] == ["html", "html", "html", None]
    assert found[0].meta["url"] == "http://a/1"


def http(body: str, kind: str, status: str = "200 OK", encode: str = "") -> bytes:
    content, extra = body.encode(), ""
    if encode == "gzip":
        content, extra = gzip.compress(content), "Content-Encoding: gzip\r\n"
    elif encode == "chunked":
        content, extra = f"{len(content):x}\r\n{body}\r\n0\r\n\r\n".encode(), "Transfer-Encoding: chunked\r\n"
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(content)}\r\n\r\n".encode() + content
    )


def record(kind: str, url: str, content: bytes, of: str = "application/http; msgtype=response") -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nContent-Type: {of}\r\n"
    head += "WARC-Record-ID: <urn:uuid:12345678-1234-1234-1234-123456789012>\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content + b"\r\n\r\n"


def test_columns_of_other_names(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(lines([{"content": "one", "repo": 7, "text": "not this", "spdx": ["MIT", "BSD"]}]))
    columns = Columns.of({"text": "content", "source": "repo", "licence": "spdx"})
    [document] = read(path, columns=columns)
    assert (document.text, document.source, document.meta["licence"]) == ("one", "7", "MIT, BSD")
    with pytest.raises(
        UserError, match=r"line 1: no column 'body' \(it has content, repo, text, spdx\); data.columns.text=body$"
    ):
        list(read(path, columns=Columns.of({"text": "body"})))
    with pytest.raises(UserError, match=r"data\.columns\.url=link"):
        list(read(path, columns=Columns.of({"text": "content", "url": "link"})))
    with pytest.raises(SettingsError, match=r"^data\.columns=txt: must be one of text, messages, prompt"):
        Columns.of({"txt": "content"})
    with pytest.raises(SettingsError, match=r"^data\.columns\.text='': must be the name of a column"):
        Columns.of({"text": ""})


@pytest.mark.parametrize("kind", ["dictionary", "large_string", "string_view"])
def test_parquet_of_other_types_of_text(tmp_path, kind):
    types = {
        "dictionary": pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
        "large_string": pyarrow.large_string(),
        "string_view": pyarrow.string_view(),
    }
    column = pyarrow.array(["one", "two", "one"]).cast(types[kind])
    (tmp_path / "x.parquet").write_bytes(parquet(pyarrow.table({"text": column, "source": pyarrow.nulls(3)})))
    assert [d.text for d in read(tmp_path / "x.parquet")] == ["one", "two", "one"]


def test_a_json_array_is_read_as_it_comes(tmp_path, monkeypatch):
    """Whatever the pieces are that it is read in, and with little more than a piece in memory."""
    rows = [
        {"text": '\\"[\u4e2d\U0001f600' * (i % 7), "n": [i, {"x": -1.5e-7, "y": None}], "source": "s"}
        for i in range(300)
    ]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(rows))
    for chunk in (1, 7, 4096):
        monkeypatch.setattr(json_lines, "CHUNK", chunk)
        assert [d.text for d in read(path)] == [row["text"] for row in rows]
    path.write_text(json.dumps([{"text": f"{i} " * 5000} for i in range(1000)]))  # 24 MB
    tracemalloc.start()
    assert sum(1 for _ in read(path)) == 1000
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "text", ['{"text": "one"}', '{"text": "one"}\n{"text": "two"}', '  [{"text": "one"}]  ', "[]", "\n"]
)
def test_json_that_is_a_row_or_rows_one_after_the_other(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    assert [d.text for d in read(tmp_path / "x.json")] == [word for word in ("one", "two") if word in text]


GOOD = lines([{"text": "one", "source": "a"}, {"text": "two"}])
BROKEN = {
    "invalid UTF-8": ("x.jsonl", GOOD + b'{"text": "\xff"}\n', "line 3: not UTF-8"),
    "invalid JSON": ("x.jsonl", GOOD + b'{"text": one}\n', "line 3: not JSON"),
    "cut off": ("x.jsonl", GOOD[:-5], "line 2: not JSON"),
    "no text": (
        "x.jsonl",
        GOOD + b'{"body": "x"}\n',
        "line 3: no column 'text' (it has body); name the right one by data.columns.text",
    ),
    "not an object": ("x.jsonl", b'["text"]\n', "line 1: must be a row of columns, not list"),
    "text is a number": ("x.jsonl", GOOD + b'{"text": 1}\n', "line 3: column 'text' must be a string, not int"),
    "source is a list": (
        "x.jsonl",
        b'{"text": "x", "source": []}\n',
        "line 1: column 'source' must be a string, not list",
    ),
    "5,000 digits": (
        "x.jsonl",
        GOOD + b'{"text": "x", "n": ' + b"9" * 5000 + b"}",
        "line 3: cannot be read (Exceeds the limit",
    ),
    "nested": ("x.jsonl", GOOD + b'{"text": ' + b"[" * 200_000, "line 3: not JSON that can be read: nested too deeply"),
    "nested array": ("x.json", b"[" * 200_000, "row 1: not JSON that can be read: nested too deeply"),
    "array cut off": ("x.json", b'[{"text": "one"}, {"text": "tw', "row 2: not JSON (Unterminated string"),
    "array not closed": ("x.json", b'[{"text": "one"}', "row 1: not JSON (a comma or the end of the array is missing"),
    "array cut off at a comma": ("x.json", b'[{"text": "one"}, ', "row 1: not JSON (a value is missing"),
    "array without an end": ("x.json", b"[ ", "not JSON (the end of the array is missing"),
    "comma at the end": ("x.json", b'[{"text": "one"}, ]', "row 1: not JSON (a value is missing"),
    "two arrays": ("x.json", b'[{"text": "one"}] [{"text": "two"}]', "row 1: not JSON (more follows the end"),
    "broken value": ("x.json", b'[{"text": "one"}, {"text" "two"}]', "row 2: not JSON (Expecting ':' delimiter"),
    "array of texts": ("x.json", b'["one"]', "row 1: must be a row of columns, not str"),
    "no UTF-8 in an array": ("x.json", b'[{"text": "\xff"}]', "not UTF-8"),
    "gzip cut off": ("x.jsonl.gz", gzip.compress(GOOD)[:-9], "not a whole .gz file"),
    "bzip2 cut off": ("x.jsonl.bz2", bz2.compress(GOOD)[:-9], "not a whole .bz2 file"),
    "zstandard cut off": ("x.jsonl.zst", PACKED[".zst"](GOOD)[:-9], "not a whole .zst file"),
    "xz cut off": ("x.jsonl.xz", lzma.compress(GOOD)[:-9], "not a whole .xz file"),
    "not gzip": ("x.jsonl.gz", GOOD, "not a whole .gz file"),
    "not xz": ("x.txt.xz", GOOD, "not a whole .xz file"),
    "UTF-8 in gzip": ("x.jsonl.gz", gzip.compress(GOOD + b"\xff\n"), "line 3: not UTF-8"),
    "text file": ("x.txt", b"one\ntwo\nth\xe9\n", "line 3: not UTF-8"),
    "csv of other length": (
        "x.csv",
        b"text,url\none,u\ntwo\n",
        "line 3: 1 fields, where the first line names 2 columns",
    ),
    "csv quote not closed": ("x.csv", b'text\none\n"two\n', "line 3: not a table (unexpected end of data)"),
    "csv not UTF-8": ("x.csv", b"text\none\n\xff\n", "line 3: not UTF-8"),
    "csv column twice": ("x.csv", b"text,text\na,b\n", "two columns are called 'text'"),
    "empty csv": ("x.csv", b"", "no column 'text' (it has none)"),
    "not parquet": ("x.parquet", GOOD, "not a whole .parquet file"),
    "empty parquet": ("x.parquet", b"", "not a whole .parquet file"),
    "parquet without text": ("x.parquet", parquet([{"body": "x", "url": "y"}]), "no column 'text' (it has body, url)"),
    "parquet with an empty cell": (
        "x.parquet",
        parquet([{"text": "x"}, {"text": None}]),
        "row 2: column 'text' must be a string, not NoneType",
    ),
    "parquet column twice": (
        "x.parquet",
        parquet(pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["text", "text"])),
        "two columns are called 'text'",
    ),
    "parquet that is not UTF-8": (
        "x.parquet",
        parquet(pyarrow.table({"text": pyarrow.array([b"ok", b"\xff"]).cast(pyarrow.binary()).view(pyarrow.string())})),
        "row 2: not UTF-8",
    ),
    "parquet cut off": ("x.parquet", parquet(ROWS)[:-20], "not a whole .parquet file"),
    "git-lfs": (
        "x.txt",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "a pointer of git-lfs",
    ),
    "git-annex": ("x.parquet", b"/annex/objects/SHA256E-s1--ab.parquet\n", "a pointer of git-annex"),
    "unknown": ("x.zip", b"", "no reader has its ending"),
}


@pytest.mark.parametrize(("name", "content", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_named_with_the_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    assert message in complaint(path)


def test_a_crawl_that_is_not_whole(tmp_path):
    path = tmp_path / "x.warc"
    whole = record("response", "http://a/1", http("<p>one", "text/html"))
    for content, said in {
        whole[:-7]: "record 1: not a whole .warc",
        whole + whole[:60]: "record 2: not a whole",
        GOOD: "not a whole .warc file (Invalid",
    }.items():
        path.write_bytes(content)
        assert said in complaint(path)


def test_parquet_damaged_inside(tmp_path):
    path = tmp_path / "x.parquet"
    content = bytearray(parquet([{"text": f"document {i}"} for i in range(50_000)]))
    content[200:4000] = bytes(3800)
    path.write_bytes(content)
    complaint(path)


def test_dataset_that_is_not_whole(tmp_path):
    state = tmp_path / "x" / "state.json"
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "x")
    [part] = (tmp_path / "x").glob("*.arrow")
    part.write_bytes(part.read_bytes()[:100])
    assert "not a whole" in complaint(state)
    part.unlink()
    assert part.name in complaint(state)
    state.write_text("{")
    assert "not JSON" in complaint(state)
    (tmp_path / "x" / "dataset_info.json").unlink()
    assert "dataset_info.json" in complaint(state)


def test_permission_denied():
    with tempfile.TemporaryDirectory() as place:  # not tmp_path, whose parents are closed to others anyway
        os.chmod(place, 0o755)
        path = Path(place) / "x.jsonl"
        path.write_bytes(GOOD)
        path.chmod(0)
        with as_nobody():
            assert complaint(path) == f"{path}: Permission denied"


def test_names_that_no_message_could_hold(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.jsonl"))
    path.write_bytes(GOOD + b"{")
    with pytest.raises(UserError) as caught:
        list(read(path))
    str(caught.value).encode()
    assert "\n" not in str(caught.value)
    assert r"caf\xe9" in str(caught.value).replace("\\\\", "\\")


def test_the_last_ending_counts():
    assert reader_of("A.B/x.en.JSONL.GZ") is reader_of("x.jsonl")
    assert reader_of("x/state.json") is not reader_of("x.json")
    assert reader_of("x.jsonl.part") is None
    assert reader_of("x.tar.gz") is None
    assert reader_of("jsonl") is None


def complaint(path: Path) -> str:
    """The one line that reading `path` ends in; it names the path."""
    with pytest.raises(UserError) as caught:
        list(read(path))
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
