"""Worked questions, from the settings to tokens that count."""

import json
from typing import Any

import numpy as np
import pytest
from small import write_jsonl

from ablate.data.questions import question
from ablate.data.request import asked
from ablate.data.tokens import prepare
from ablate.run.settings import Data

QA: dict[str, Any] = {"domains": ["qa"], "domain_bytes": 60_000, "vocabulary": 300, "span": 16, "validation": 0.1}


def installed(**more: Any) -> Data:
    return Data(**QA | more)


def counted(corpus, split="train"):
    """Texts of the parts that count, each with its end token."""
    tokens, marks = corpus.tokens("qa", split)[:3000], corpus.marks("qa", split)[:3000]
    edges = np.flatnonzero(np.diff(marks, prepend=0, append=0)).reshape(-1, 2)
    return [corpus.tokenizer().decode(tokens[start:stop].tolist()) for start, stop in edges[:-1]]


def test_the_installed_questions_count_what_their_target_says(tmp_path):
    texts = {
        target: counted(prepare(installed(target={"qa": target}), tmp_path))
        for target in ("answer", "trace", "trace_then_answer")
    }
    assert all(text.startswith("Answer: ") and "\n" not in text for text in texts["answer"])
    assert all(text.startswith("Steps: ") and "Answer" not in text for text in texts["trace"])
    assert all(text.startswith("Steps: ") and "\nAnswer: " in text for text in texts["trace_then_answer"])


def test_without_a_target_nothing_moves(tmp_path):
    assert "target" not in json.dumps(asked(installed(), "")[1])
    assert prepare(installed(), tmp_path).marks("qa", "train") is None


def test_rows_of_prompt_trace_and_answer_have_targets_too(tmp_path):
    rows = [{"prompt": q.asked, "trace": q.steps, "answer": q.answer, "right": True} for q in map(question, range(300))]
    write_jsonl(tmp_path / "text" / "qa" / "rows.jsonl", rows)
    folder = QA | {"source": "folder", "root": str(tmp_path / "text"), "domain_bytes": 0}
    found = {
        target: counted(prepare(Data(**folder | more), tmp_path / "out"))
        for target, more in {"": {}, "answer": {"target": {"qa": "answer"}}}.items()
    }
    assert all(text.startswith("Steps: ") for text in found[""])
    assert all(text.startswith("Answer: ") for text in found["answer"])


@pytest.mark.parametrize("target", ["answer", "trace_then_answer"])
def test_no_question_of_the_tasks_is_trained_on(tmp_path, target):
    """Tasks ask questions of indices that the text never reaches; the source of each held-out document tells."""
    corpus = prepare(installed(target={"qa": target}), tmp_path)
    sources = json.loads((corpus.folder / "sources.json").read_text())["qa"]
    assert sources
    assert all(int(source.rpartition("/")[2]) < 10**9 for source in sources)
