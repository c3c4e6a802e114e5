"""The command: text after a prompt, from a run and from a folder of transformers, and what it refuses."""

import io
from pathlib import Path

import pytest
import torch
from runs import train_run

from ablate import export, generate
from ablate.data.tokenizer import as_prompt
from ablate.data.tokens import prepared
from ablate.fit import saved
from ablate.run.record import Record

GREEDY = ["--temperature", "0", "--tokens", "20"]


@pytest.fixture(scope="module")
def record(shared_tiny) -> Record:
    settings = shared_tiny(model={"pattern": "MA", "mamba": {"head_width": 16}})
    train_run(settings)
    [folder] = (Path(settings.where.outputs) / "runs").iterdir()
    return Record(folder)


def printed(capsys, *words: str) -> str:
    capsys.readouterr()
    generate.main([*words])
    return capsys.readouterr().out


def outputs(record: Record) -> str:
    return f"--outputs={record.folder.parents[1]}"


@torch.no_grad()
def expected(record: Record, prompt: str) -> str:
    """Twenty tokens, the likeliest each, of the model run again and again."""
    corpus, model = prepared(record.folder.parents[1], record.fingerprint), saved.load(record)
    tokenizer = corpus.tokenizer()
    read, start = as_prompt(tokenizer, prompt), len(as_prompt(tokenizer, prompt))
    while len(read) < start + 20 and read[start:][-1:] != [corpus.end]:
        read.append(int(model.logits(torch.tensor([read]))[0, -1].argmax()))
    return tokenizer.decode(read[start:])


def test_a_run_and_its_export_go_on_with_the_same_text(record, tmp_path, capsys, monkeypatch):
    text = expected(record, "The river was")
    assert len(text) > 10
    assert printed(capsys, record.id[:6], "The river was", *GREEDY, outputs(record)) == text + "\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("The river was\n"))
    assert printed(capsys, str(record.folder), "-", *GREEDY) == text + "\n"
    export.main([record.id, "--out", str(tmp_path / "hf"), outputs(record)])
    assert printed(capsys, str(tmp_path / "hf"), "The river was", *GREEDY) == text + "\n"
    stop = text[8:10]
    assert printed(capsys, record.id, "The river was", *GREEDY, "--stop", stop, outputs(record)) == (
        text[: text.index(stop)] + "\n"
    )


def test_several_texts_are_drawn_and_long_ones_are_said_to_be(record, capsys):
    words = [record.id, "", "--number", "3", "--tokens", "70", outputs(record)]
    generate.main([*words, "--seed", "1"])
    out, err = capsys.readouterr()
    assert len(set(out.split("\n---\n"))) == 3
    assert err == "note: 1 tokens of prompt and 70 of text are more than the 64 of the rows that it was trained on\n"
    assert printed(capsys, *words, "--seed", "1") == out
    assert printed(capsys, *words, "--seed", "2") != out


def test_what_makes_no_sense_is_said_before_anything_is_loaded(capsys):
    for words, said in {("--top-p", "2"): "top_p=2.0: must be", ("--tokens", "0"): "tokens=0: must be"}.items():
        with pytest.raises(SystemExit):
            generate.main(["nowhere", "x", *words])
        assert capsys.readouterr().err.startswith(f"error: {said}")


def test_mistakes_are_one_line(record, tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    for words, said in {
        ("nowhere", "x"): "error: nowhere: no such run in ",
        (record.id,): "error: PROMPT: must be given; see ablate generate --help",
        (record.id, "x", "--top-p", "2"): "error: top_p=2.0: must be above 0 and at most 1",
        (record.id, "x", "--tokens", "0"): "error: tokens=0: must be 1 or more",
        (record.id, "x", "--stop", ""): "error: stop=: must be a text that is not empty",
        (record.id, "x", "--number", "0"): "error: --number 0: must be 1 or more",
        (record.id, "x", "--number", "2", "--temperature", "0"): "error: --number 2: with --temperature 0 all texts",
        (record.id, "\udcff"): "error: PROMPT: must be text in UTF-8",
        (str(tmp_path), "x"): f"error: {tmp_path}: cannot be loaded: ",
    }.items():
        with pytest.raises(SystemExit):
            generate.main([*words, outputs(record)])
        err = capsys.readouterr().err
        assert err.startswith(said), err
        assert err.count("\n") == 1, err
