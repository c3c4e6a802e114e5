"""Files that would never end are read by nobody, and two writers of one file have names of their own."""

import json
import os
from pathlib import Path

import pytest

from ablate.data.given import tokenizer_file
from ablate.run import files, whole
from ablate.run.files import Damaged
from ablate.run.settings import UserError


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("read", [files.read_json, whole.read, lambda path: list(files.read_rows(path))])
def test_a_pipe_in_a_folder_of_others_is_damage(tmp_path, read):
    with pytest.raises(Damaged, match=r"result\.json: is a pipe, not a file"):
        read(pipe(tmp_path / "result.json"))


def test_nothing_is_written_where_a_pipe_is(tmp_path):
    pipe(tmp_path / "log.txt")
    with pytest.raises(UserError, match=r"log\.txt: is a pipe, not a file; remove it"):
        files.make_own(tmp_path)


@pytest.mark.parametrize("name", ["mine.json", "folder/tokenizer.json"])
def test_a_tokenizer_is_no_pipe(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    path = pipe(tmp_path / name)
    with pytest.raises(UserError, match=r"^data\.tokenizer=.*: is a pipe, not a file$"):
        tokenizer_file(str(path if name == "mine.json" else path.parent))


def test_writers_of_one_number_of_process_do_not_meet(tmp_path, monkeypatch):
    """Two containers over one folder may both be process 1 of a machine of the same name."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    path = tmp_path / "result.json"
    assert len({files.unfinished(path) for _ in range(9)}) == 9
    first = files.unfinished(path)
    first.write_text("half")
    files.write_json(path, {"of": "another"})
    assert first.read_text() == "half"
    assert json.loads(path.read_text()) == {"of": "another"}
