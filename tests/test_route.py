"""The command: a router fitted and graded once, what is kept of it, what goes by it, and what it refuses."""

import json
import re

import numpy as np
import pytest
from runs import record_of, train_run

from ablate import generate, route
from ablate.fit import answering
from ablate.run import whole
from ablate.run.record import Record
from ablate.scores import protocols
from ablate.verdict import router

WIDTH = 32  # of the smallest run


def answers(candidate, items, shots, beat) -> list[dict]:
    """A model that knows easy questions at once, and all others by steps; its state says which are easy."""
    rows = []
    for item in items:
        rng = np.random.default_rng(int(item.key.rpartition("/")[2]))
        state, easy = rng.normal(size=WIDTH), bool(rng.random() < 0.5)
        state[0] += 3 * easy
        steps = {"text": "", "right": True, "written": 30, "came": True}
        row = {"item": item.key, "source": item.source, "gold": item.gold, "nats": [1.0], "bytes": [2], "tokens": [1]}
        row |= {
            "text": "1",
            "right": easy,
            "asked": item.context,
            "read": len(item.context),
            "written": 2,
            "ended": True,
        }
        rows.append(row | {"steps": steps, "state": state.tolist()})
    return rows


@pytest.fixture
def record(tiny) -> Record:
    train_run(settings := tiny(evaluate={"tasks": {"recall": {"kind": "recall", "items": 10}}}))
    return record_of(settings)


@pytest.fixture
def able(record, monkeypatch) -> Record:
    """The same, as if it had learnt both."""
    monkeypatch.setitem(protocols.PROTOCOLS, "both", answers)
    return record


def outputs(record: Record) -> str:
    return f"--outputs={record.folder.parents[1]}"


def said(capsys, *words: str) -> str:
    capsys.readouterr()
    route.main([*words])
    return capsys.readouterr().out


def refused(capsys, command, *words: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        command.main([*words])
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_a_router_is_fitted_and_graded_once(able, capsys, monkeypatch, tmp_path):
    figure = tmp_path / "new" / "curve.png"
    words = [able.id, outputs(able), "--items", "400", "--figure", str(figure)]
    first = said(capsys, *words)
    assert "fitting on " in first
    [line] = [line for line in first.splitlines() if line.startswith("router ") and "less" not in line and "[" in line]
    assert line.split()[-1] == "better"
    assert "never steps: 0." in first
    assert figure.read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(line) for line in (able.folder / "router" / "questions.jsonl").read_text().splitlines()]
    assert 390 < len(rows) <= 400  # some stand in the training text
    parts = {part: {row["asked"] for row in rows if row["part"] == part} for part in ("fit", "grade")}
    assert min(map(len, parts.values())) > 100
    assert not parts["fit"] & parts["grade"]
    assert rows[0]["steps"]["written"] == 30
    scores = [[row["score"] for row in rows if row["at_once"]["right"] is right] for right in (False, True)]
    assert np.mean(scores[0]) > np.mean(scores[1])
    monkeypatch.setattr(answering, "answer", lambda *_, **__: pytest.fail("asked again"))
    monkeypatch.setattr(router, "fitted", lambda *_: pytest.fail("fitted again"))
    again = said(capsys, *words)
    assert again.startswith("nothing to ask")
    assert again.partition("graded")[2] == first.partition("graded")[2]


def test_generate_goes_by_the_router(able, capsys):
    said(capsys, able.id, outputs(able), "--items", "400")
    words = [able.id, "What is 2 + 3?", outputs(able), "--temperature", "0", "--tokens", "5", "--route"]
    for share, begin in {"0": "Answer:", "1": "Steps:"}.items():
        kept = whole.read(path := able.folder / "router" / "router.json")
        kept["router"]["slow"]["bias"] += 100  # steps promise the answer for sure
        whole.write(path, kept)
        generate.main([*words, share])
        routed = capsys.readouterr().out
        assert routed.startswith(begin)
        generate.main([able.id, f"Question: What is 2 + 3?\n{begin}", *words[2:-1]])
        assert routed == begin + capsys.readouterr().out
        generate.main([*words[:3], "--tokens", "5", "--number", "2", "--route", share])
        assert [text.startswith(begin) for text in capsys.readouterr().out.split("\n---\n")] == [True, True]


def test_a_run_that_learnt_neither_is_told_so(record, capsys, monkeypatch):
    err = refused(capsys, route, record.id, outputs(record), "--items", "20")
    assert "has not learnt to" in err
    assert "data.target={qa: either} teaches both" in err

    def mute(*asked):
        return [row | {"steps": row["steps"] | {"came": False}} for row in answers(*asked)]

    monkeypatch.setitem(protocols.PROTOCOLS, "both", mute)
    err = refused(capsys, route, record.id, outputs(record), "--items", "30")
    assert "0% of its steps come to an answer, of 30 questions: it has not learnt to write steps; " in err


def test_questions_of_few_sources_are_too_few(able, capsys, monkeypatch):
    """Folds and draws are of sources: many questions of a few would be no more than those."""

    def alike(*asked):
        return [row | {"source": f"book {number % 30}"} for number, row in enumerate(answers(*asked))]

    monkeypatch.setitem(protocols.PROTOCOLS, "both", alike)
    err = refused(capsys, route, able.id, outputs(able), "--items", "500")
    fit, grade = (int(number) for number in re.findall(r"(\d+) (?:questions )?to (?:fit|grade) on", err))
    assert 20 < fit + grade <= 30
    assert int(err.split()[-1]) > 900


def test_mistakes_are_one_line(able, capsys):
    for words, message in {
        ("--items", "0"): "--items 0: must be 1 or more",
        ("--items", "20"): " to grade on, each of another source, are too few; both must be 100 or more: --items 400",
        ("--task", "sums"): "--task sums: the run has recall (evaluate.tasks)",
        ("--task", "recall", "--kinds", "dates"): "--kinds: are of generated questions; leave it out with --task",
        ("--kinds", "date"): "--kinds=date: must be one of arithmetic",
    }.items():
        assert message in refused(capsys, route, able.id, outputs(able), *words)
    words = [able.id, "What is 2 + 3?", outputs(able), "--route"]
    assert f"{able.id}: has no router; ablate route {able.id} fits it" in refused(capsys, generate, *words, "0.5")
    assert "--route 2: must be a share of the questions" in refused(capsys, generate, *words, "2")
