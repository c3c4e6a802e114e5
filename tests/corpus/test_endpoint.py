"""The teacher's replies: whatever the server does, and whenever the job is killed, each is paid for once."""

import email.utils
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from teaching import failed, prepare, said, serving, slowly, teacher, text_of

from ablate.corpus import endpoint, exchange
from ablate.corpus.endpoint import Endpoint
from ablate.corpus.replies import Reply
from ablate.fit.parallel.processes import free_port
from ablate.run.settings import SettingsError, UserError

SECRET = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(endpoint, "POLL", 0.01)


def endpoint_of(url: str, folder: Path, of_teacher: dict | None = None, **changes: object) -> Endpoint:
    """Of a command of its own."""
    endpoint._command.cache_clear()
    return Endpoint.of(teacher(**of_teacher or {}), prepare(url, **changes), folder / "replies.sqlite")


def ask(of: Endpoint, texts: list[str]) -> list[Reply]:
    return of.ask([of.request("Say it again.", text) for text in texts])


def echo(body: dict, number: int):
    return said(body, f"reply to {text_of(body)}")


TEXTS = [f"text {n}" for n in range(20)]
REPLIES = [f"reply to {text}" for text in TEXTS]


@pytest.mark.parametrize("chat", [True, False])
def test_replies_come_in_order_and_equal_requests_are_made_once(tmp_path, chat):
    four = threading.Barrier(4)

    def together(body: dict, number: int):
        if number <= 4:
            four.wait(60)  # none of the first four is answered before all have come
        return slowly(body, number)

    with serving(together) as (server, url):
        of = endpoint_of(url, tmp_path, {"chat": chat, "seed": 3, "temperature": 0.5, "tokens": 77})
        replies = ask(of, TEXTS * 2)
        assert [reply.text for reply in replies] == REPLIES * 2
        assert server.requests == len(TEXTS)
        assert server.most_at_once == 4
        assert {headers["path"] for headers in server.headers} == {f"/v1/{'chat/' if chat else ''}completions"}
        body = server.bodies[0]
        assert (body["model"], body["max_tokens"], body["seed"], body["temperature"]) == ("wise", 77, 3, 0.5)
    again = endpoint_of("", tmp_path, {"chat": chat, "seed": 3, "temperature": 0.5, "tokens": 77})
    assert ask(again, TEXTS) == replies[: len(TEXTS)]  # without a server: none is asked
    with pytest.raises(SettingsError, match=r"prepare\.url=: must be that of a teacher, http://host:port/v1"):
        ask(again, ["another"])


def test_another_model_prompt_or_parameter_is_another_request(tmp_path):
    of = endpoint_of("http://x/v1", tmp_path)
    others = [endpoint_of("http://x/v1", tmp_path, change) for change in ({"model": "b"}, {"seed": 1}, {"chat": False})]
    requests = [of.request("p", "t"), of.request("q", "t"), of.request("p", "u")]
    requests += [other.request("p", "t") for other in others]
    assert len({endpoint.key_of(request) for request in requests}) == 6
    elsewhere = endpoint_of("http://y/v1", tmp_path, timeout=1).request("p", "t")
    assert endpoint.key_of(elsewhere) == endpoint.key_of(requests[0])


PASSING = {
    "429": lambda body: failed(429),
    "429 with a time": lambda body: failed(429, Retry_After="0.02"),
    "500": lambda body: failed(500),
    "503 without JSON": lambda body: (503, {}, b"<html>busy</html>"),
    "empty text": lambda body: said(body, " \n"),
    "no text": lambda body: said(body, None),  # type: ignore
    "empty body": lambda body: (200, {}, b""),
    "JSON cut short": lambda body: (200, {}, said(body, "long" * 99)[2][:100]),
    "body cut short": lambda body: (200, {"Content-Length": "5000"}, said(body, "x")[2]),
    "garbage": lambda body: (200, {}, b"\xff\xfe not JSON"),
    "a list": lambda body: (200, {}, b"[1, 2]"),
    "no choices": lambda body: (200, {}, b'{"choices": []}'),
    "brackets without end": lambda body: (200, {}, b"[" * 200_000),
    "a reply of 20 MB": lambda body: said(body, "x " * 10_000_000),
    "an error that is served": lambda body: (200, {}, b'{"error": "overloaded"}'),
}


@pytest.mark.parametrize("trouble", PASSING)
def test_what_passes_is_asked_again(tmp_path, trouble):
    tried = set()

    def answer(body, number):
        if text_of(body) in tried:
            return echo(body, number)
        tried.add(text_of(body))
        return PASSING[trouble](body)

    with serving(answer) as (server, url):
        replies = ask(endpoint_of(url, tmp_path), TEXTS[:3])
    assert [reply.text for reply in replies] == REPLIES[:3]
    assert server.requests == sum(reply.requests for reply in replies) == 6


def test_a_server_that_hangs_is_asked_again_and_then_told(tmp_path):
    with serving(lambda body, number: None) as (server, url):
        with pytest.raises(UserError, match="no answer within 1 s, at attempt 3; the same command goes on"):
            ask(endpoint_of(url, tmp_path, timeout=1, concurrency=1), TEXTS[:1])
        server.answer = echo
        assert [reply.text for reply in ask(endpoint_of(url, tmp_path), TEXTS[:1])] == REPLIES[:1]


def test_a_server_that_says_when_is_not_asked_before(tmp_path):
    date = email.utils.formatdate(time.time() + 2)
    until, times = email.utils.parsedate_to_datetime(date).timestamp(), list[float]()
    for text, header in (("t", "0.3"), ("u", date)):
        times.clear()

        def answer(body, number, header=header):
            times.append(time.time())
            return failed(429, Retry_After=header) if number == 1 else echo(body, number)

        with serving(answer) as (_, url):
            ask(endpoint_of(url, tmp_path), [text])
        assert times[1] >= (until if text == "u" else times[0] + 0.3)


@pytest.mark.parametrize(
    ("answer", "said", "requests"),
    [
        (failed(503, "model is loading"), "503 model is loading, at attempt 8; the same command goes on", 8),
        (failed(429, Retry_After="3600"), "429 no, at attempt 1; the same command goes on", 1),
        (failed(401, "who are you?"), "401 who are you?, at attempt 1", 1),
        (failed(404, "there is no model wise"), "404 there is no model wise, at attempt 1", 1),
        ((301, {"Location": "http://elsewhere/"}, b""), "301, at attempt 1", 1),
        (failed(400, "max_tokens is too large"), "400 max_tokens is too large; wise has never answered well", 3),
        ((200, {}, b"<html>"), "a reply that is none; wise has never answered well", 3),
    ],
)
def test_a_server_that_does_not_serve_is_one_line(tmp_path, answer, said, requests):
    with serving(lambda body, number: answer) as (server, url), pytest.raises(UserError) as error:
        ask(endpoint_of(url, tmp_path, concurrency=1), TEXTS)
    assert str(error.value).startswith(f"{url}/chat/completions: {said}")
    assert "\n" not in str(error.value)
    assert server.requests == requests


def test_no_server_at_all_is_said_soon(tmp_path):
    refused = pytest.raises(UserError, match=r"http://127.0.0.1:\d+/v1/chat/completions: .*refused, at attempt 3")
    with free_port() as port, refused:
        ask(endpoint_of(f"http://127.0.0.1:{port}/v1", tmp_path), TEXTS)


def test_what_one_text_brings_about_is_kept_as_wrong_and_never_paid_for_again(tmp_path):
    wrongs = {"text 3": failed(400, "flagged"), "text 5": (200, {}, b"{"), "text 7": None}

    def answer(body, number):
        if text_of(body) == "text 7":
            return said(body, "")
        return wrongs.get(text_of(body)) or echo(body, number)

    with serving(answer) as (server, url):
        of = endpoint_of(url, tmp_path)
        ask(of, TEXTS[:1])  # a model that has answered well
        first = ask(of, TEXTS)
        assert {reply.wrong for reply in first} == {"", "refused", "garbled", "empty"}
        assert [first[n].wrong for n in (3, 5, 7)] == ["refused", "garbled", "empty"]
        requests = server.requests
        assert ask(of, TEXTS) == first
        assert server.requests == requests == 17 + 3 * endpoint.WRONG_ATTEMPTS


def test_a_reply_cut_at_its_length_says_so_and_is_not_asked_for_again(tmp_path):
    with serving(lambda body, number: said(body, "on and", "length")) as (server, url):
        [reply] = ask(endpoint_of(url, tmp_path), ["t"])
    assert (reply.text, reply.wrong, server.requests) == ("on and", "cut", 1)


def test_thoughts_before_a_reply_are_not_of_it(tmp_path):
    with serving(lambda body, number: said(body, "<think>\nLet me see.\n</think>\n\nIt is so.")) as (_, url):
        assert ask(endpoint_of(url, tmp_path), ["t"])[0].text == "It is so."


def test_tokens_that_a_server_does_not_count_are_estimated_and_said_to_be(tmp_path):
    with serving(lambda body, number: said(body, "abcdefgh", usage=None)) as (_, url):
        replies = ask(endpoint_of(url, tmp_path), ["x" * 37])
    costs = endpoint.costs(replies)
    assert costs.pop("teacher.seconds", 0) == replies[0].seconds
    assert costs == {
        "teacher.requests": 1,
        "teacher.prompt_tokens": 13,  # of 50 characters, the prompt with a newline among them
        "teacher.reply_tokens": 2,
        "teacher.estimated_tokens": 15,
    }


def test_a_budget_ends_cleanly_and_the_same_command_goes_on(tmp_path):
    with serving(slowly) as (server, url):
        for most, missing in ((7, 13), (7, 6)):
            with pytest.raises(UserError) as error:
                ask(endpoint_of(url, tmp_path, requests=most), TEXTS)
            told = f"as many are made, and {missing} of 20 replies are missing"
            assert str(error.value) == f"prepare.requests=7: {told}; the same command goes on"
        assert [reply.text for reply in ask(endpoint_of(url, tmp_path, requests=7), TEXTS)] == REPLIES
        assert server.requests == 20


def test_requests_that_a_server_refuses_are_not_of_the_budget(tmp_path):
    with serving(lambda body, number: failed(429) if number % 2 else echo(body, number)) as (server, url):
        ask(endpoint_of(url, tmp_path, requests=20, concurrency=1), TEXTS)
    assert server.requests == 40


def test_the_budget_is_of_the_command_and_not_of_a_process(tmp_path):
    with serving(slowly) as (server, url):
        of = endpoint_of(url, tmp_path, requests=10)
        processes = [_started(of, TEXTS[first : first + 10]) for first in (0, 10)]
        for process in processes:
            process.join()
        assert server.requests == 10


def _started(of: Endpoint, texts: list[str]) -> Any:
    process = multiprocessing.get_context("fork").Process(target=_ask_quietly, args=(of, texts))
    process.start()
    return process


def _ask_quietly(of: Endpoint, texts: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever began the tests may ignore it
    try:
        ask(of, texts)
    except UserError:
        os._exit(1)


def test_two_processes_share_replies_and_pay_once(tmp_path):
    with serving(slowly) as (server, url):
        of = endpoint_of(url, tmp_path)
        processes = [_started(of, order) for order in (TEXTS, TEXTS[::-1])]
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0]
        assert server.requests == len(TEXTS)
        assert server.most_at_once <= 4
    assert [reply.text for reply in ask(of, TEXTS)] == REPLIES


def test_a_killed_job_loses_no_reply_that_has_come(tmp_path):
    texts, kills = [f"text {n}" for n in range(120)], 6
    with serving(slowly) as (server, url):
        of = endpoint_of(url, tmp_path)
        for number in range(kills):
            before, process = server.requests, _started(of, texts)
            while server.requests < before + 7 + 3 * number and process.is_alive():
                time.sleep(0.001)
            process.kill()
            process.join()
        assert [reply.text for reply in ask(of, texts)] == [f"reply to {text}" for text in texts]
        again = server.requests - len(texts)
    assert 0 <= again <= kills * 4  # those under way, whose replies never came


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_asked_to_stop_keeps_replies_under_way(tmp_path, monkeypatch, number):
    shutdown, asked = ThreadPoolExecutor.shutdown, threading.Event()
    stops = multiprocessing.get_context("fork").Event()

    def told(pool: ThreadPoolExecutor, **how: bool) -> None:
        stops.set()
        shutdown(pool, **how)

    def after_four(body: dict, count: int):
        if count > 4:
            asked.wait(60)  # those under way when the job begins to stop
        return slowly(body, count)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", told)
    with serving(after_four) as (server, url):
        of = endpoint_of(url, tmp_path)
        process = _started(of, TEXTS)
        while server.requests < 6:
            time.sleep(0.001)
        os.kill(process.pid or 0, number)
        assert stops.wait(60)
        asked.set()
        process.join()
        assert process.exitcode != 0
        assert server.requests <= 8
        assert [reply.text for reply in ask(of, TEXTS)] == REPLIES
        assert server.requests == len(TEXTS)


def test_a_cache_that_is_none_is_one_line(tmp_path):
    (tmp_path / "replies.sqlite").write_text("not a database, and long enough to be taken for one" * 99)
    with pytest.raises(UserError, match=r"replies.sqlite: file is not a database"):
        ask(endpoint_of("http://x/v1", tmp_path), TEXTS)


def test_neither_key_nor_text_is_written_anywhere(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TEACHER_KEY", SECRET)
    text = "a private text that nobody else is to see, ever"
    answers = iter(
        [said({"messages": []}, "fine"), failed(401, f"wrong key {SECRET[:12]}***"), failed(404, f"? {text}")]
    )
    with serving(lambda body, number: next(answers)) as (server, url):
        of = endpoint_of(url, tmp_path, key="TEACHER_KEY")
        ask(of, [text])
        errors = []
        for other in (f"{text} 1", f"{text} 2"):
            with pytest.raises(UserError) as error:
                ask(of, [other])
            errors.append(str(error.value))
    assert [headers["Authorization"] for headers in server.headers] == [f"Bearer {SECRET}"] * 3
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    said_aloud = "".join([*errors, *capfd.readouterr()])
    assert SECRET[:8].encode() not in written
    assert b"private text" not in written
    assert SECRET[:8] not in said_aloud + repr(of)
    assert "private text" not in said_aloud


@pytest.mark.parametrize("key", [f"{SECRET}\n", f"{SECRET}é"])
def test_a_key_that_cannot_be_sent_is_one_line_without_it(tmp_path, monkeypatch, key):
    monkeypatch.setenv("TEACHER_KEY", key)
    with serving(echo) as (_, url), pytest.raises(SettingsError, match=r"prepare\.key=TEACHER_KEY: ") as error:
        ask(endpoint_of(url, tmp_path, key="TEACHER_KEY"), ["t"])
    assert SECRET[:8] not in str(error.value)


def test_a_reply_is_kept_as_clean_text(tmp_path):
    odd = "caf\ud800\x00e\u0301\r\nand \x1b[31mmore\ufeff\r\n"
    with serving(lambda body, number: said(body, odd)) as (_, url):
        assert ask(endpoint_of(url, tmp_path), ["t"])[0].text == "café\nand more"


@pytest.mark.parametrize(
    "usage", ["none", [], {"prompt_tokens": 10**30, "completion_tokens": 1}, {"prompt_tokens": -5}]
)
def test_counts_that_are_none_cost_no_reply(tmp_path, usage):
    with serving(lambda body, number: said(body, "fine", usage=usage)) as (server, url):
        [reply] = ask(endpoint_of(url, tmp_path), ["t"])
    assert (reply.text, reply.estimated, server.requests) == ("fine", True, 1)


def test_without_a_key_none_is_sent(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(echo) as (server, url):
        ask(endpoint_of(url, tmp_path), ["t"])
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "localhost:8000"}, "prepare.url=localhost:8000: must be that of a teacher"),
        ({"url": "http://me:hidden@host/v1"}, "prepare.url=host/v1: must be that of a teacher"),
        ({"url": "http://host:port/v1"}, "prepare.url=http://host:port/v1: must be that of a teacher"),
        ({"url": "http://[::1/v1"}, "prepare.url=http://[::1/v1: must be that of a teacher"),
        ({"key": SECRET}, "prepare.key: must be the name of an environment variable, such as OPENAI_API_KEY"),
    ],
)
def test_settings_that_cannot_be_asked_are_one_line(tmp_path, changes, said):
    with pytest.raises(SettingsError) as error:
        Endpoint.of(teacher(), prepare(**{"url": "http://x/v1"} | changes), tmp_path)
    assert said in str(error.value)
    assert "hidden" not in str(error.value)
    assert SECRET not in str(error.value)


def test_a_model_must_be_named(tmp_path):
    with pytest.raises(SettingsError, match=r"corpus\.teacher\.model=: must be the name of a model at prepare.url"):
        Endpoint.of(teacher(model=""), prepare("http://x/v1"), tmp_path)


def test_replies_are_kept_as_they_come_and_not_at_the_end(tmp_path):
    path = tmp_path / "replies.sqlite"

    def answer(body, number):
        if number > 5:
            with sqlite3.connect(path) as file:
                assert file.execute("SELECT COUNT(*) FROM replies").fetchone()[0] >= number - 2
        return echo(body, number)

    with serving(answer) as (_, url):
        ask(endpoint_of(url, tmp_path, concurrency=1), TEXTS)


def test_a_date_to_wait_for_that_is_none_is_no_wait():
    assert exchange._asked_to_wait("soon") == 0
    assert exchange._asked_to_wait("") == 0
