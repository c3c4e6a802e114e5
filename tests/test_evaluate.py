"""Trained runs are asked for tasks by one command, once, at any step of which weights are kept; and in a study."""

import json
import shutil

import pytest
from runs import record_of, train_run

from ablate import evaluate, export
from ablate.data.heldout import texts_of
from ablate.data.tokens import prepared
from ablate.fit import answering, asking
from ablate.fit.parents import resolved
from ablate.run.evaluate import Task
from ablate.run.settings import UserError
from ablate.scores import answers
from ablate.scores.items import Item
from ablate.sweep import worker

TASKS = {"sums": {"kind": "questions", "items": 12, "protocols": ["cloze", "likelihood"]}}
ASKED = {"evaluate": {"tasks": TASKS}}


@pytest.fixture
def trained(tiny):
    """A finished run with weights of step 10 and 20; nobody has asked it."""
    train_run(settings := tiny(**ASKED, where={"keep": [10]}))
    return record_of(settings)


def answered(record) -> list[str]:
    return sorted(path.name.rsplit("-", 1)[0] for path in record.scores.glob("*.jsonl"))


def test_a_run_is_asked_for_its_tasks_and_not_twice(trained, capsys, monkeypatch):
    outputs = str(trained.folder.parents[1])
    evaluate.main([trained.id, "--outputs", outputs])
    table = capsys.readouterr().out
    assert answered(trained) == ["sums-cloze-20", "sums-likelihood-20"]
    assert [line.split()[0] for line in table.splitlines() if line.startswith("sums")] == ["sums", "sums"]
    assert "likelihood, step 20" in table
    monkeypatch.setattr(answering, "answer", lambda *_, **__: pytest.fail("asked again"))
    evaluate.main([trained.id, "--outputs", outputs])
    again = capsys.readouterr().out
    assert again.startswith("nothing to ask")
    assert table.endswith(again.partition("\n")[2])


def test_a_task_that_the_text_makes_no_items_of_is_named_and_the_others_are_asked(trained, capsys):
    corpus = prepared(trained.folder.parents[1], trained.fingerprint)
    empty = Task(kind="last_word", domains=["code"], shots=10**6)
    asks = [
        asking.Ask(trained, name, task, "cloze", 20) for name, task in {"none": empty, "sums": Task(items=12)}.items()
    ]
    answering.answer(asks, shown=True)
    assert answered(trained) == ["sums-cloze-20"]
    assert "not asked: evaluate.tasks.none: last_word makes " in capsys.readouterr().out
    with pytest.raises(UserError, match=r"tasks\.none: last_word makes"):
        answering.Maker(corpus, {"none": empty})


def test_what_a_phase_before_has_read_is_contaminated_too(tiny, tmp_path):
    train_run(first := tiny())
    parent = record_of(first)
    texts = next(texts_of(prepared(tmp_path / "outputs", parent.fingerprint), "general", "train"))
    words = next(words for text in texts if len(words := text.split()) > 60)[:60]
    row = {"context": " ".join(words[:50]), "answer": " ".join(words[50:])}
    (path := tmp_path / "mine.jsonl").write_text(json.dumps(row))
    asked = {"tasks": {"mine": {"kind": "jsonl", "path": str(path)}}}
    changes = {"data": {"domains": ["code", "qa"]}, "tokens": 4096, "evaluate": asked}
    train_run(child := resolved(tiny(start=f"run:{parent.id}", **changes)))
    (ask,) = asking.asks_of(record_of(child), child.evaluate.tasks)
    answering.answer([ask], shown=False)
    assert ask.answers is not None
    assert ask.answers.header["contaminated"] == ["1"]


def test_an_edited_file_is_asked_again_and_not_for_what_was_declared_of_it(tiny, tmp_path, capsys):
    (path := tmp_path / "mine.jsonl").write_text('{"question": "What is 2 + 3?", "answer": "5"}')
    train_run(settings := tiny(evaluate={"tasks": {"mine": {"kind": "jsonl", "path": str(path)}}}))
    record = record_of(settings)
    asked = [record.id, "--outputs", str(record.folder.parents[1])]
    evaluate.main(asked)
    path.write_text('{"question": "What is 2 + 3?", "answer": "five"}')
    evaluate.main(asked)
    assert "nothing to ask" not in capsys.readouterr().out
    assert len(list(record.scores.glob("mine-*.jsonl"))) == 2
    evaluate.main(asked)
    assert "nothing to ask" in capsys.readouterr().out
    for one in record.scores.glob("mine-*.jsonl"):
        one.unlink()
    with pytest.raises(UserError, match="was edited since the task was declared"):
        answering.answer(asking.asks_of(record, settings.evaluate.tasks), shown=False)


def test_kept_weights_of_any_step_are_asked(trained, capsys):
    outputs = str(trained.folder.parents[1])
    evaluate.main([trained.id, "--outputs", outputs, "--steps", "all", "--protocol", "cloze"])
    assert answered(trained) == ["sums-cloze-10", "sums-cloze-20"]
    header = json.loads(next(trained.scores.glob("sums-cloze-10-*")).read_text().splitlines()[0])
    assert header["weights_sha256"] == trained.kept()[10]
    with pytest.raises(SystemExit):
        evaluate.main([trained.id, "--outputs", outputs, "--steps", "11"])
    assert "no weights are kept of step 11; there are those of 10, 20" in capsys.readouterr().err
    (path := trained.weights_after(10)).unlink()
    shutil.rmtree(trained.scores)
    with pytest.raises(SystemExit):
        evaluate.main([trained.id, "--outputs", outputs, "--steps", "10"])
    assert f"{path.name}: is gone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tasks", "words"], "--tasks words: no such task or group; there are sums, "),
        (["--tasks", "sums,words"], "--tasks words: no such task or group; there are sums, "),
        (["--limit", "0"], "--limit 0: must be 1 or more"),
        (["--limit", "-1"], "--limit -1: must be 1 or more"),
        (["--steps", "soon"], "--steps soon: must be last, all, or steps: 12000,24000"),
        (["--protocol", "shouted"], "protocols=shouted: must be one of likelihood, cloze, generate"),
    ],
)
def test_mistakes_are_one_line(trained, capsys, flags, said):
    with pytest.raises(SystemExit):
        evaluate.main([trained.id, "--outputs", str(trained.folder.parents[1]), *flags])
    assert said in capsys.readouterr().err


def test_an_evaluation_that_was_interrupted_goes_on(trained, monkeypatch):
    asks = asking.unanswered(asking.asks_of(trained, trained.settings().evaluate.tasks))
    one = answering._answer

    def once(candidate, maker, ask):
        one(candidate, maker, ask)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(answering, "_answer", once)
        with pytest.raises(KeyboardInterrupt):
            answering.answer(asks, shown=False)
    assert answered(trained) == ["sums-cloze-20"]
    assert [ask.protocol for ask in asking.unanswered(asks)] == ["likelihood"]
    answering.answer(asking.unanswered(asks), shown=False)
    assert asking.unanswered(asks) == []


def test_a_run_is_asked_at_its_end_in_its_own_process(tiny):
    task = worker.alone(settings := tiny(**ASKED))
    worker.train(task)
    assert answered(record_of(settings)) == ["sums-cloze-20", "sums-likelihood-20"]


def test_answers_of_other_weights_are_refused_by_name(trained):
    asks = asking.asks_of(trained, trained.settings().evaluate.tasks)
    answering.answer(asks[:1], shown=False)
    result = trained.result()
    trained.finish(result | {"weights_sha256": "0" * 64})
    with pytest.raises(UserError, match="other weights than those of the run were asked"):
        asking.unanswered(asks)


def test_items_that_are_asked_alike_have_one_source():
    def item(key, source, context="a", choices=(" x", " y"), gold=0):
        return Item(key, source, context, choices, gold)

    turned = item("2", "two", choices=(" y", " x"), gold=1)  # the same question with its choices shuffled
    found = answering.joined([item("1", "one"), turned, item("3", "two", "b"), item("4", "three", "c")])
    assert len({one.source for one in found[:3]}) == 1
    assert found[3].source == "three"


@pytest.mark.slow
def test_a_folder_of_transformers_agrees_with_the_run_that_it_is_of(trained, tmp_path, capsys, monkeypatch):
    outputs = trained.folder.parents[1]
    export.export(trained, "hf", tmp_path / "model")
    monkeypatch.setattr(answering, "prepare", lambda *_, **__: prepared(outputs, trained.fingerprint))
    monkeypatch.setattr(evaluate, "_chosen", lambda *_: trained.settings().evaluate.tasks)
    for name in (str(tmp_path / "model"), trained.id):
        evaluate.main([name, "--outputs", str(outputs), "--tasks", "sums", "--protocol", "cloze"])
    assert "not understood" not in capsys.readouterr().out
    (ours,), (theirs,) = (answers.found(folder, "sums") for folder in (trained.scores, tmp_path / "model" / "scores"))
    for a, b in zip(ours.rows, theirs.rows, strict=True):
        assert a["nats"] == pytest.approx(b["nats"], abs=1e-4)


def test_edited_data_of_a_task_of_lm_eval_make_another_task(tmp_path):
    data, path = tmp_path / "a.jsonl", tmp_path / "a.yaml"
    data.write_text("1")
    path.write_text(f"task: a\nprocess_docs: !function code.f\ndataset_kwargs: {{data_files: {{test: {data}}}}}\n")
    folder = {"data": str(tmp_path)}
    before = Task(kind="lm_eval", path=str(path)), Task(kind="lm_eval", options=folder)
    data.write_text("2")
    after = Task(kind="lm_eval", path=str(path)), Task(kind="lm_eval", options=folder)
    assert len({task.sha256 for task in (*before, *after)}) == 4
    path.write_text("task: [")
    assert Task(kind="lm_eval", path=str(path)).sha256  # what is wrong with it says who asks for it
