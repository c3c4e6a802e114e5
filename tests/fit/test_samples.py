"""Texts that a run notes while it trains: greedy, of the weights of that step, and nothing else is touched by them."""

from pathlib import Path
from typing import Any

import pytest
from runs import record_of, train_run

from ablate.data.tokenizer import as_prompt, end_of, pieces
from ablate.data.tokens import prepared
from ablate.fit import mirror, saved
from ablate.scores.metrics import Scope
from ablate.scores.sampling import generate

PROMPTS = ["The river was", "def "]
ASKED: dict[str, Any] = {"evaluate": {"samples": PROMPTS, "sample_tokens": 12}}


def last_texts(record) -> list[dict[str, str]]:
    """What the saved weights go on with."""
    corpus, model = prepared(record.folder.parents[1], record.fingerprint), saved.load(record)
    tokenizer = corpus.tokenizer()
    table, end = pieces(tokenizer, corpus.vocabulary), end_of(tokenizer)
    answers = generate(model, [as_prompt(tokenizer, prompt) for prompt in PROMPTS], table, tokens=12, end=end)
    return [{"prompt": prompt, "text": answer.text} for prompt, answer in zip(PROMPTS, answers, strict=True)]


def test_a_run_notes_what_it_goes_on_with_and_stays_what_it_is(tiny, outputs):
    plain = train_run(tiny())
    record = record_of(tiny())
    assert record.rows("sample") == []
    record.folder.rename(outputs / "plain")
    result = train_run(tiny(**ASKED))
    assert record_of(tiny(**ASKED)).id == record.id
    assert result["weights_sha256"] == plain["weights_sha256"]
    rows, evaluations = record.rows("sample"), record.rows("evaluation")
    assert [row["step"] for row in rows] == [row["step"] for row in evaluations]
    assert [row["tokens"] for row in rows] == [row["tokens"] for row in evaluations]
    assert [one["prompt"] for one in rows[0]["texts"]] == PROMPTS
    assert rows[-1]["texts"] == last_texts(record)


def test_the_text_is_that_of_the_average_once_there_is_one(tiny):
    settings = tiny(**ASKED, averaging={"kind": "uniform", "start": 0.2}, model={"pattern": "MA"})
    train_run(settings)
    record = record_of(settings)
    assert record.rows("sample")[-1]["texts"] == last_texts(record)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_several_processes_note_the_text_once(tiny, strategy):
    settings = tiny(**ASKED, where={"strategy": strategy, "devices": 2})
    train_run(settings)
    record = record_of(settings)
    lines = (record.folder / "metrics.jsonl").read_text().splitlines()
    assert sum('"kind": "sample"' in line for line in lines) == len(record.rows("evaluation"))
    assert record.rows("sample")[-1]["texts"] == last_texts(record)


def test_a_mirror_shows_a_table(tmp_path: Path):
    row = {"step": 4, "tokens": 512, "texts": [{"prompt": "def ", "text": "f(x):"}]}
    found = mirror.logged("sample", row, Scope(["code"], ""))
    assert found["tokens"] == 512
    assert found["sample"].columns == ["step", "prompt", "text"]
    assert found["sample"].data == [[4, "def ", "f(x):"]]
