"""The command: teachers of every sort, what is kept, what a killed one goes on with, and what must never be asked."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runs import train_run
from teaching import Answer, failed, said, serving, text_of

from ablate import traces
from ablate.corpus import checker, endpoint
from ablate.corpus.samples import Sample, judged, pairs
from ablate.data import prompts
from ablate.data.questions import TRAINED, question
from ablate.run.record import Record
from ablate.run.settings import UserError

GSM = "Question: Tom has 48 clips and half as many pins. How many?\nAnswer: 48/2 = 24 pins.\n48+24 = {}.\n#### 72"


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def asked(tmp_path: Path, *words: str, out: str = "rows.jsonl") -> list[dict]:
    traces.main([*words, "--outputs", str(tmp_path / "out"), "--out", str(tmp_path / out)])
    return rows(tmp_path / out)


def of_file(tmp_path: Path, *lines: dict) -> str:
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(tmp_path / "prompts.jsonl")


@pytest.fixture
def record(tiny) -> Record:
    settings = tiny()
    train_run(settings)
    [folder] = (Path(settings.where.outputs) / "runs").iterdir()
    return Record(folder)


def test_questions_are_a_perfect_teacher(tmp_path, capsys):
    found = asked(tmp_path, "--teacher", "questions", "--prompts", "questions", "--first", "5", "--number", "20")
    assert [row["source"] for row in found] == [f"questions:{question(i).kind}/{i}" for i in range(5, 25)]
    assert all(row["right"] and row["teacher"] == "questions" for row in found)
    one = question(5)
    assert (found[0]["prompt"], found[0]["trace"], found[0]["answer"]) == (one.asked, one.steps, one.answer)
    assert len({row["id"] for row in found}) == 20
    assert "20 of 20 prompts" in capsys.readouterr().out


def test_traces_that_are_given_are_checked(tmp_path, capsys):
    bare = {"prompt": "1 + 1?", "answer": "2"}
    path = of_file(tmp_path, {"text": GSM.format(72)}, {"text": GSM.format(73)}, {"text": "no question"}, bare)
    words = ["--teacher", "given", "--prompts", path]
    [row] = asked(tmp_path, *words)
    assert (row["trace"], row["answer"]) == ("48/2 = 24 pins.\n48+24 = 72.", "72")
    said = capsys.readouterr().out
    assert "arithmetic" in said
    assert "1 rows hold no question with a known answer" in said
    assert "1 questions have no trace" in said
    right, wrong = asked(tmp_path, *words, "--all")
    assert (right["right"], wrong["right"], wrong["why"]) == (True, False, checker.ARITHMETIC)


def test_prompts_without_a_trace_are_no_missing_samples(tmp_path):
    path = of_file(tmp_path, {"prompt": "1 + 1?", "trace": "1 + 1 = 2.", "answer": "2"}, {"prompt": "?", "answer": "3"})
    assert len(asked(tmp_path, "--teacher", "given", "--prompts", path)) == 1


def test_prompts_are_text(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b'{"prompt": "\xff"}')
    with pytest.raises(UserError, match=r"^--prompts .*x\.jsonl: must be text in UTF-8$"):
        prompts.of_file(tmp_path / "x.jsonl", 0, 0)


@pytest.mark.parametrize("index", [TRAINED, TRAINED + 7])
def test_questions_that_tasks_ask_are_never_prompts(tmp_path, index):
    """Neither by their number nor by rows of a file that were made of them."""
    with pytest.raises(UserError, match="is one that tasks ask"):
        prompts.of_questions(index - 10, 11)
    one = question(index)
    row = {"prompt": one.asked, "answer": one.answer, "source": f"questions:{one.kind}/{index}"}
    with pytest.raises(UserError, match=r"line 2: question 1,000,000,\d+ is one that tasks ask"):
        prompts.of_file(Path(of_file(tmp_path, {"prompt": "1 + 1?", "answer": "2"}, row)), 0, 0)
    assert len(prompts.of_questions(TRAINED - 10, 10)) == 10


def test_a_run_writes_the_same_however_often_it_is_asked(tmp_path, record, capsys):
    words = ["--teacher", record.id, "--prompts", "questions", "--number", "30", "--samples", "3", "--tokens", "12"]
    outputs = ["--outputs", str(record.folder.parents[1]), "--all", "--temperature", "1.5"]
    for name in ("first", "again"):
        traces.main([*words, *outputs, "--out", str(tmp_path / name)])
        assert len(rows(tmp_path / name)) == 90
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()
    (record.folder.parents[1] / "traces" / "replies.sqlite").unlink()
    traces.main([*words, *outputs, "--out", str(tmp_path / "anew")])
    assert (tmp_path / "first").read_bytes() == (tmp_path / "anew").read_bytes()
    traces.main([*words, *outputs, "--seed", "1", "--out", str(tmp_path / "other")])
    assert [row["trace"] for row in rows(tmp_path / "first")] != [row["trace"] for row in rows(tmp_path / "other")]


def test_a_budget_ends_the_command_and_the_next_one_goes_on(tmp_path, record, capsys):
    words = ["--teacher", record.id, "--prompts", "questions", "--number", "96", "--tokens", "4", "--all"]
    words += ["--outputs", str(record.folder.parents[1]), "--out", str(tmp_path / "rows")]
    with pytest.raises(SystemExit):
        traces.main([*words, "--budget", "70"])
    assert "--budget 70: reached, and 32 samples are missing; the same command goes on" in capsys.readouterr().err
    assert len(rows(tmp_path / "rows")) == 64
    traces.main([*words, "--budget", "70"])
    assert len(rows(tmp_path / "rows")) == 96
    with pytest.raises(SystemExit):
        traces.main([*words, "--seed", "1", "--budget", "63"])
    assert "--budget 63: must be 64 or more, which are written at once" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_rows(tmp_path, record):
    words = ["--teacher", record.id, "--prompts", "questions", "--number", "1000", "--tokens", "40", "--all"]
    command = [sys.executable, "-m", "ablate.traces", *words, "--temperature", "2"]
    outputs = record.folder.parents[1]
    there = outputs / "traces" / "replies.sqlite"
    killed = subprocess.Popen([*command, "--outputs", outputs, "--out", tmp_path / "killed"], stdout=subprocess.PIPE)
    assert killed.stdout
    assert killed.stdout.readline().startswith(b"sample ")  # a block or two are written
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed").exists()
    subprocess.run([*command, "--outputs", outputs, "--out", tmp_path / "killed"], check=True, capture_output=True)
    there.unlink()
    subprocess.run([*command, "--outputs", outputs, "--out", tmp_path / "whole"], check=True, capture_output=True)
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_an_endpoint_is_asked_once_for_each_sample(tmp_path):
    path = of_file(tmp_path, *({"prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(6)))

    def answer(body, number):
        n = int(text_of(body).split("What is ")[1].split()[0])
        return said(body, f"Steps: {n} + 1 = {n + 1}.\nAnswer: {n + 1 + body['seed'] % 2}")

    words = ["--model", "wise", "--prompts", path, "--samples", "2", "--pairs", str(tmp_path / "pairs")]
    with serving(answer) as (server, url):
        found = asked(tmp_path, "--teacher", url, *words)
        assert asked(tmp_path, "--teacher", url, *words) == found
        assert len(server.bodies) == 12
    assert [row["answer"] for row in found] == [str(n + 1) for n in range(6)]
    pair = rows(tmp_path / "pairs")[0]
    assert pair["prompt"] == "Question: What is 0 + 1?\n"
    assert pair["chosen"] == "Steps: 0 + 1 = 1.\nAnswer: 1"
    assert pair["rejected"] == "Steps: 0 + 1 = 1.\nAnswer: 2"


def numbered(tmp_path: Path, number: int) -> str:
    return of_file(tmp_path, *({"prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(number)))


def right(body: dict) -> tuple[int, Answer]:
    """Which question is asked, and its answer."""
    n = int(text_of(body).split("What is ")[1].split()[0])
    return n, said(body, f"Steps: {n} + 1 = {n + 1}.\nAnswer: {n + 1}")


def test_what_an_endpoint_fails_at_is_counted_by_its_reason(tmp_path, monkeypatch, capsys):
    """Busy at times, one question refused, one answered by rubbish, one answer cut: all others are there."""
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    troubles, busy = {7: failed(400, "too long"), 8: (200, {}, b"<html>")}, set(range(0, 40, 3))

    def answer(body, number):
        n, reply = right(body)
        if n in busy:
            busy.remove(n)
            return failed(503)
        return troubles.get(n, said(body, "Steps: 1 +", finish="length") if n == 9 else reply)

    words = ["--model", "wise", "--prompts", numbered(tmp_path, 40), "--pairs", str(tmp_path / "pairs"), "--all"]
    with serving(answer) as (_, url):
        asked(tmp_path, "--teacher", url, *words, "--number", "1")  # a model that has answered well
        found = asked(tmp_path, "--teacher", url, *words)
    assert not busy
    whys = {row["prompt"].split()[2]: row["why"] for row in found if not row["right"]}
    assert whys == {"7": "refused", "8": "garbled", "9": "cut"}
    assert len(found) == 40
    assert not rows(tmp_path / "pairs")
    said_ = capsys.readouterr().out
    assert all(why in said_ for why in whys.values())


def test_what_an_endpoint_was_asked_before_its_budget_ended_is_written(tmp_path, capsys):
    path, sizes = numbered(tmp_path, 80), []
    words = ["--model", "wise", "--prompts", path, "--outputs", str(tmp_path / "out"), "--out", str(tmp_path / "rows")]
    with serving(lambda body, number: right(body)[1]) as (server, url):
        for _ in range(3):
            endpoint._command.cache_clear()  # a command of its own
            with contextlib.suppress(SystemExit):
                traces.main(["--teacher", url, *words, "--budget", "35"])
            sizes.append((len(rows(tmp_path / "rows")), server.requests))
    assert sizes == [(32, 35), (64, 70), (80, 80)]
    assert "--budget 35: reached, and 48 samples are missing; the same command goes on" in capsys.readouterr().err


def test_an_endpoint_that_breaks_down_loses_nothing(tmp_path, capsys):
    words = ["--model", "wise", "--prompts", numbered(tmp_path, 40), "--outputs", str(tmp_path / "out")]
    with serving(lambda body, number: right(body)[1] if number <= 20 else failed(401)) as (_, url):
        with pytest.raises(SystemExit):
            traces.main(["--teacher", url, *words])
        assert "chat/completions: 401" in capsys.readouterr().err
    with serving(lambda body, number: right(body)[1]) as (server, url):
        assert len(asked(tmp_path, "--teacher", url, *words[:4])) == 40
        assert server.requests == 20


def test_what_a_teacher_wrote_is_parsed_and_judged():
    def sample(text, number=0, wrong=""):
        return Sample("a", "sum", "1 + 1?", "2", number, text, wrong)

    texts = ["Steps: 1 + 1 = 2.\nAnswer: 2", "1 + 1 = 2.\n#### 2", "Steps: 1 + 1 = 3.\nAnswer: 2", "Answer: 3", "two"]
    whys = [one.why for one in judged([*map(sample, texts), sample(texts[0]), sample("Steps: 1 +", wrong="cut")])]
    assert whys == ["", "", "arithmetic", "answer", "no answer", "repeated", "cut"]
    assert sample(texts[1]).parsed == ("1 + 1 = 2.", "2")
    assert sample("Answer: 3").parsed == ("", "3")
    assert sample("Steps: a. Answer: 3\nmore").parsed == ("a.", "3")


def test_pairs_are_right_beside_wrong_of_one_prompt():
    texts = {"a": ["Answer: 2", "Answer: 3", "Answer: 4"], "b": ["Answer: 2"], "c": ["Answer: 5"]}
    samples = [Sample(key, "", "1 + 1?", "2", n, text) for key, group in texts.items() for n, text in enumerate(group)]
    [pair] = pairs(judged(samples), "t")
    assert (pair["chosen"], pair["rejected"], pair["source"]) == ("Answer: 2", "Answer: 3", "a")


def test_prompts_of_one_source_are_not_one_prompt():
    """Such as of a book: what is right of one is neither repeated nor better than what is wrong of another."""
    asked = {"1 + 1?": ("2", "Answer: 2"), "4 - 2?": ("2", "Answer: 2"), "9 - 2?": ("7", "Answer: 6")}
    found = judged(Sample("book", "", prompt, known, 0, text) for prompt, (known, text) in asked.items())
    assert [one.why for one in found] == ["", "", "answer"]
    assert len({one.row("t", 0)["id"] for one in found}) == 3
    assert not list(pairs(found, "t"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--teacher questions --prompts questions --samples 2", "--samples 2: with --teacher questions"),
        ("--teacher x --prompts questions --samples 2 --temperature 0", "--samples 2: with --teacher x"),
        ("--teacher questions --prompts file", "--teacher questions: knows its own questions only"),
        ("--teacher x --prompts questions --tokens 0", "--tokens 0: must be 1 or more"),
        ("--teacher x --prompts questions --temperature -1", "--temperature -1.0: must be 0 or more"),
        ("--teacher questions", "--prompts: must be given"),
        ("--teacher x --prompts questions --model y", "--model y: must be left out unless --teacher is the URL"),
        ("--teacher http:// --prompts questions --model y", "error: --teacher http://: must be that of a teacher"),
        ("--teacher http://x/v1 --prompts questions", "error: --model : must be the name of a model"),
        ("--teacher http://x/v1 --prompts questions --model y --key z", "error: --key: must be the name of an"),
        ("--teacher questions --prompts questions --first 999999999", "--first 999999999 --number 1000: question"),
    ],
)
def test_what_makes_no_sense_is_one_line(words, message, capsys):
    with pytest.raises(SystemExit):
        traces.main(words.split())
    assert message in capsys.readouterr().err
