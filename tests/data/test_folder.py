"""A folder of the user's as a source of text; how files are read is tested in tests/corpus."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from small import write_jsonl  # pyrefly: ignore  # beside this file

from ablate.data.folder import Folder
from ablate.data.questions import question
from ablate.data.tokens import prepare
from ablate.run.settings import Data, UserError

ROWS = [{"text": "one", "source": "a"}, {"text": "zwei \u00e9\u4e2d", "source": "b"}, {"text": "three"}]


def folder(root: Path, *domains: str, **settings) -> Folder:
    return Folder(Data(source="folder", root=str(root), domains=list(domains), **settings))


def test_documents_do_not_depend_on_names_or_order_of_files(tmp_path):
    for root, parts in {"p": (ROWS[:1], ROWS[1:]), "q": (ROWS[1:], ROWS[:1])}.items():
        for i, rows in enumerate(parts):
            write_jsonl(tmp_path / root / "d" / f"{i}.jsonl", [{"source": "c"} | row for row in rows])
    assert list(folder(tmp_path / "p", "d").documents("d")) == list(folder(tmp_path / "q", "d").documents("d"))


def test_one_file_of_rows_without_sources_can_be_split(tmp_path):
    rows = [{"text": question(i).text} for i in range(400)]
    write_jsonl(tmp_path / "d" / "x.jsonl", rows)
    corpus = prepare(
        Data(source="folder", root=str(tmp_path), domains=["d"], vocabulary=400, span=64), tmp_path / "out"
    )
    assert corpus.total("d", "sources") == corpus.total("d", "documents") == len(rows)


def test_files_of_one_name_in_two_folders_are_two_sources(tmp_path):
    for dump in ("a", "b"):
        write_jsonl(tmp_path / "d" / dump / "part-0.jsonl", [{"text": dump}])
        (tmp_path / "d" / dump / "x.txt").write_text(f"text {dump}")
    sources = sorted(document.source for document in folder(tmp_path, "d").documents("d"))
    assert sources == ["a/part-0.jsonl:1", "a/x.txt", "b/part-0.jsonl:1", "b/x.txt"]


def test_what_is_left_out_is_said_when_the_text_is_read(tmp_path, capsys):
    for name in ("train", "test"):
        write_jsonl(tmp_path / "d" / f"{name}.jsonl", [{"text": name}])
    source = folder(tmp_path, "d")
    assert not capsys.readouterr().out
    assert [document.text for document in source.documents("d")] == ["train"]
    assert capsys.readouterr().out == "domain d: only the split train is read; 1 files of test are left out\n"


def test_signature_moves_with_content_and_columns_not_with_place(tmp_path):
    write_jsonl(tmp_path / "p" / "d" / "x.jsonl", ROWS)
    before = folder(tmp_path / "p", "d").signature()
    (tmp_path / "p").rename(tmp_path / "q")
    assert folder(tmp_path / "q", "d").signature() == before
    assert folder(tmp_path / "q", "d", columns={"source": "text"}).signature() != before
    (tmp_path / "q").rename(tmp_path / "p")
    write_jsonl(tmp_path / "p" / "d" / "x.jsonl", ROWS[1:])
    assert folder(tmp_path / "p", "d").signature() != before


def test_unknown_domain_lists_what_exists(tmp_path):
    for name in ("english", "code", ".git"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"has no folder 'math'; set data.domains=\[code,english\]"):
        folder(tmp_path, "math")


def test_a_folder_without_folders_is_the_text_of_one_domain(tmp_path):
    write_jsonl(tmp_path / "x.jsonl", ROWS)
    assert len(list(folder(tmp_path, "d").documents("d"))) == len(ROWS)
    with pytest.raises(UserError, match=r"has no folder 'd'; it has no folders at all: move .* or ask for one domain$"):
        folder(tmp_path, "d", "e")


def test_domain_cannot_leave_the_root(tmp_path):
    write_jsonl(tmp_path / "other" / "x.jsonl", ROWS)
    (tmp_path / "root" / "in").mkdir(parents=True)
    with pytest.raises(ValidationError, match="must be the name of a file: without /"):
        folder(tmp_path / "root", "../other")


def test_pdf_needs_a_level(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.PDF.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"^domain d: x\.PDF\.gz has no text before level 1: data\.level=\{d: 1\}$"):
        folder(tmp_path, "d")
    assert folder(tmp_path, "d", level={"all": 2})
    assert folder(tmp_path, "d", level={"d": 1, "all": 0})


@pytest.mark.parametrize("root", ["", "missing/folder"])
def test_no_root(root):
    with pytest.raises(UserError, match=rf"^data\.root={root}: must be a folder"):
        Folder(Data(source="folder", root=root, domains=["d"]))
