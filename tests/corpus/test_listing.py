"""What lies below a domain's folder is read, is no text, or is an error: nothing is passed over in silence."""

import os
import socket
from pathlib import Path

import pytest

from ablate.corpus.readers.listing import Listing, listed
from ablate.run.settings import UserError


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


def names(folder: Path) -> list[str]:
    return list(listed(folder, "d").files)


def test_all_files_are_found_whatever_their_depth(tmp_path):
    put(tmp_path, "b.TXT", "a/x.jsonl.zst", "a/b/c.d/y.3pm.gz", "Makefile")
    assert names(tmp_path) == ["Makefile", "a/b/c.d/y.3pm.gz", "a/x.jsonl.zst", "b.TXT"]


def test_hidden_files_and_what_describes_a_dataset_are_no_text(tmp_path):
    put(tmp_path, "x.jsonl", ".x.jsonl", ".git/config.jsonl", "a/.cache/x.jsonl", "README.md", "a/LICENSE", "x.lock")
    put(tmp_path, "SHA256SUMS", "x.jsonl.sha256", "_SUCCESS", "dataset_infos.json")
    put(tmp_path, "set/state.json", "set/dataset_info.json", "set/data-00000-of-00001.arrow", "set/cache-1.arrow")
    said = "domain d: a file that describes data is left out (such as README.md)"
    assert listed(tmp_path, "d") == Listing({n: tmp_path / n for n in ("set/state.json", "x.jsonl")}, [said])


def test_text_that_is_called_as_a_description_is_not_left_out_in_silence(tmp_path):
    put(tmp_path, "a/README.md", "b/README.rst", "license-plates.txt", "x.jsonl", "x.jsonl.md5")
    assert listed(tmp_path, "d").said == ["domain d: 3 files that describe data are left out (such as a/README.md)"]


def test_files_that_nobody_can_read_are_an_error_that_counts_them(tmp_path):
    put(tmp_path, "x.jsonl", "y.zip", "a/b.ZIP", "x.parquet.incomplete", "noending", "lone.arrow")
    with pytest.raises(UserError) as caught:
        listed(tmp_path, "d")
    said = str(caught.value)
    assert said.startswith(f"domain d: {tmp_path} has files that cannot be read, 2 .zip, 1 ")
    for part in (
        "1 .parquet.incomplete",
        "1 without an ending",
        "1 .arrow",
        "(such as a/b.ZIP)",
        "convert them",
        ".parquet",
    ):
        assert part in said
    assert "\n" not in said


def test_a_name_that_no_line_could_hold_is_shown_as_one(tmp_path):
    put(tmp_path, "a\nb.zip")
    with pytest.raises(UserError, match=r"^domain d: .*\(such as 'a\\nb.zip'\); .*$"):
        listed(tmp_path, "d")


def test_a_folder_without_text(tmp_path):
    put(tmp_path, ".hidden.txt")
    with pytest.raises(UserError, match=r"^domain d: .* has no text; rows \(\.jsonl"):
        listed(tmp_path, "d")
    put(tmp_path, "README.md")
    with pytest.raises(
        UserError, match=r"has no text: a file that describes data is left out \(such as README.md\); rows"
    ):
        listed(tmp_path, "d")


@pytest.mark.parametrize(
    ("there", "read", "said"),
    [
        (["w/train.jsonl", "w/test.jsonl", "other.jsonl"], ["other.jsonl", "w/train.jsonl"], "1 files of test"),
        (
            ["data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet", "data/test-0.parquet"],
            ["data/train-00000-of-00001.parquet"],
            "2 files of test, validation",
        ),
        (["s/train/state.json", "s/test/state.json", "s/dataset_dict.json"], ["s/train/state.json"], "1 files of test"),
        (["train/a/x.txt", "dev/a/x.txt"], ["train/a/x.txt"], "1 files of dev"),
        (["a/test.jsonl", "b/train.jsonl"], ["a/test.jsonl", "b/train.jsonl"], ""),  # not side by side
        (["test.jsonl", "validation.jsonl"], ["test.jsonl", "validation.jsonl"], ""),  # nothing else to read
        (["repo/train.py", "repo/test.py", "repo/train/a.py", "repo/test/b.py"], None, ""),  # code has such names
        (["trainers.jsonl", "test.jsonl"], None, ""),
    ],
)
def test_of_splits_side_by_side_only_train_is_read(tmp_path, there, read, said):
    put(tmp_path, *there)
    found = listed(tmp_path, "d")
    assert sorted(found.files) == sorted(read or there)
    assert found.said == ([f"domain d: only the split train is read; {said} are left out"] if said else [])


def test_folders_that_links_lead_to_are_read_once(tmp_path):
    put(tmp_path / "d", "b/x.txt")
    (tmp_path / "d" / "a").symlink_to(tmp_path / "d" / "b")
    (tmp_path / "d" / "b" / "loop").symlink_to(tmp_path / "d")
    put(tmp_path / "elsewhere", "y.txt")
    (tmp_path / "d" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "d" / "z.txt").symlink_to(tmp_path / "elsewhere" / "y.txt")
    assert names(tmp_path / "d") == ["b/x.txt", "link/y.txt", "z.txt"]


def test_names_of_other_encodings(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    [name] = names(tmp_path)
    assert name == r"caf\xe9.txt"


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "pipe"), (device, "device"), (bound, "socket")])
def test_what_a_reader_would_wait_for_is_refused(tmp_path, monkeypatch, make, kind):
    put(tmp_path, "a.jsonl")
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    make(Path("b.jsonl"))
    with pytest.raises(UserError, match=rf"b\.jsonl: is a {kind}, not a file"):
        listed(tmp_path, "web")
    Path("b.jsonl").rename(".b.jsonl")
    assert names(tmp_path) == ["a.jsonl"]
