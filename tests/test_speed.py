"""The command: measured once, kept, told; what is asked wrongly is a line."""

import json
from pathlib import Path

import pytest
from runs import train_run

from ablate import speed
from ablate.run.record import Record

FEW = ["--prompt", "8", "--decode", "2", "--rounds", "2"]


@pytest.fixture
def record(tiny) -> Record:
    settings = tiny()
    train_run(settings)
    [folder] = (Path(settings.where.outputs) / "runs").iterdir()
    return Record(folder)


def said(capsys, *words: str) -> str:
    speed.main(list(words))
    return capsys.readouterr().out


def kept(record: Record) -> tuple[Path, dict]:
    [path] = (record.folder.parents[1] / "speed").iterdir()
    return path, json.loads(path.read_text())


@pytest.mark.slow
def test_what_was_measured_is_kept_and_not_measured_again(record, capsys):
    where = ["--outputs", str(record.folder.parents[1])]
    first = said(capsys, record.id, *FEW, "--runtime", "torch", *where)
    assert "measurement 6/6" in first
    assert "torch bf16" in first
    assert "onnx" not in first
    assert "Joules a token:" in first
    path, found = kept(record)
    assert found["weights_sha256"] == (record.result() or {})["weights_sha256"]
    assert [(side["type"], len(side["prompt"])) for side in found["sides"]] == [("fp32", 2), ("bf16", 2)]

    again = said(capsys, record.id, *FEW, "--runtime", "torch", *where)
    assert again.startswith(f"{record.id}: measured before; --again measures once more\n")
    assert "measurement" not in again.partition("\n")[2]
    assert kept(record) == (path, found)

    both = said(capsys, record.id, *FEW, "--runtime", "torch,onnx", *where)
    assert "onnx int4" in both
    found_now = kept(record)[1]
    assert [side["runtime"] for side in found_now["sides"]] == ["torch"] * 2 + ["onnx"] * 3
    assert found_now["sides"][:2] == found["sides"]

    found["sides"][0]["version"] = "0.0"  # another version of the program is another speed
    path.write_text(json.dumps(found))
    assert "measurement 6/6" in said(capsys, record.id, *FEW, "--runtime", "torch", *where)
    assert "measurement 6/6" in said(capsys, record.id, *FEW, "--runtime", "torch", "--again", *where)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--rounds", "0"], "error: --rounds 0: must be 1 or more\n"),
        (["--runtime", "vllm"], "error: --runtime=vllm: must be one of torch, onnx, llama.cpp\n"),
        ([], "error: 48d1b140: no such run in {}/runs; ablate runs lists them\n"),
    ],
)
def test_mistakes_are_a_line(words, line, tmp_path, capsys):
    with pytest.raises(SystemExit):
        speed.main(["48d1b140", *words, "--outputs", str(tmp_path)])
    assert capsys.readouterr().err == line.format(tmp_path)
