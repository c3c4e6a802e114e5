"""Worked questions, from the settings to tokens that count."""

import json
import re
from typing import Any

import numpy as np
import pytest
from small import write_jsonl

from ablate.corpus import checker
from ablate.data.heldout import HeldOut, texts_of
from ablate.data.questions import question
from ablate.data.request import asked
from ablate.data.tokens import prepare
from ablate.run.evaluate import Task
from ablate.run.settings import Data, SettingsError
from ablate.scores.contamination import search
from ablate.scores.tasks.questions import Options, make

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


PAIRS: dict[str, Any] = {"pairs": True, "span": 256, "domain_bytes": 200_000}


def halves(corpus, split):
    """The text of every half, and what counts of it."""
    tokens, marks = corpus.tokens("qa", split)[:-1].reshape(-1, 128), corpus.marks("qa", split)[:-1].reshape(-1, 128)
    decode, end = corpus.tokenizer().decode, corpus.end
    return [
        (decode(ids[ids != end].tolist()), decode(ids[(ids != end) & (counts == 1)].tolist()), int(counts.sum()))
        for ids, counts in zip(tokens, marks, strict=True)
    ]


def test_pairs_of_installed_questions_differ_in_a_slip_alone(tmp_path):
    """Length tells nothing: of every pair both responses have as many tokens."""
    found = halves(prepare(installed(**PAIRS), tmp_path), "train")
    assert len(found) > 500
    for (whole, better, long), (other, worse, short) in zip(found[::2], found[1::2], strict=True):
        asked = whole.removesuffix(better)
        assert asked.startswith("Question: ")
        assert other == asked + worse
        assert long == short
        told = [text.removeprefix("Steps: ").split("\nAnswer: ") for text in (better, worse)]
        assert [checker.wrong(*one, known=told[0][1]) for one in told] == ["", "answer"]


def test_pairs_may_be_of_answers_alone(tmp_path):
    found = halves(prepare(installed(**PAIRS, target={"qa": "answer"}), tmp_path), "validation")
    assert all(re.fullmatch(r"Answer: -?\d+", response) for _, response, _ in found)
    with pytest.raises(SettingsError, match=r"^data\.target\.qa=repair: must be one of answer, trace, trace_th"):
        prepare(installed(**PAIRS, target={"qa": "repair"}), tmp_path)
    with pytest.raises(SettingsError, match=r"^data\.pairs=true: code has none; of installed text qa and chains have"):
        prepare(installed(**PAIRS | {"domains": ["qa", "code"]}), tmp_path)


def test_what_is_held_out_of_pairs_is_held_out_of_the_phase_before(tmp_path):
    """Which sources are held out follows from their names: a smaller share of them is a part of a larger one."""
    answers = {"span": 256, "validation": 0.2, "domain_bytes": 200_000, "target": {"qa": "trace_then_answer"}}
    tune, pairs = (prepare(installed(**more), tmp_path) for more in (answers, PAIRS | {"validation": 0.15}))
    known = [set(json.loads((one.folder / "sources.json").read_text())["qa"]) for one in (pairs, tune)]
    assert len(known[0]) > 50
    assert known[0] < known[1]


CHAINS = {"domains": ["chains"], "domain_bytes": 1_000_000, "validation": 0.01}


@pytest.mark.parametrize("target", ["answer", "trace_then_answer"])
def test_no_question_of_chains_is_in_training_text_twice_or_in_another_split_or_in_a_task(tmp_path, target):
    """By text: the numbers are so small that a question of another index may be the same."""
    corpus = prepare(installed(**CHAINS, target={"chains": target}), tmp_path)
    asked = {split: questions_of(corpus, split) for split in ("train", "validation")}
    items = make(Task(items=2000), Options(kinds=["chains"], steps=False), HeldOut(corpus), 2000)
    of_tasks = [item.context.partition("\n")[0] for item in items]
    assert len(asked["train"]) > 5000
    assert len(asked["validation"]) > 50
    everywhere = [*asked["train"], *asked["validation"]]
    assert len(set(everywhere)) == len(everywhere)
    assert set(everywhere).isdisjoint(of_tasks)
    assert search({"chains": items}, corpus) == {"chains": []}


def questions_of(corpus, split):
    """The first line of every document that is whole."""
    texts = [text for chunk in texts_of(corpus, "chains", split) for text in chunk]
    return [text.partition("\n")[0] for text in texts if text.startswith("Question: ")]
