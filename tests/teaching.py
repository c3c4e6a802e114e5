"""A server that speaks OpenAI's language and does what a test tells it: answers, fails, hangs, cuts, talks rubbish."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ablate.run.corpus import Prepare, Teacher

HANG = 600.0  # seconds; longer than any client here waits

Answer = tuple[int, dict[str, str], bytes]


def text_of(body: dict[str, Any]) -> str:
    """What a request is about, without the prompt before it."""
    return body["messages"][-1]["content"] if "messages" in body else body["prompt"].rsplit("\n\n", 2)[-2]


def said(body: dict[str, Any], text: str, finish: str = "stop", **more: Any) -> Answer:
    choice = {"message": {"role": "assistant", "content": text}} if "messages" in body else {"text": text}
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    reply = {"choices": [choice | {"finish_reason": finish}], "usage": usage} | more
    return 200, {}, json.dumps(reply).encode()


def failed(status: int, message: str = "no", **headers: str) -> Answer:
    return status, headers, json.dumps({"error": {"message": message}}).encode()


class Server:
    """`answer(body, number of the request)` says what comes back; None: nothing, for a long time."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Answer | None]) -> None:
        self.answer, self.lock = answer, threading.Lock()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = self.most_at_once = 0
        self.over = threading.Event()

    @property
    def requests(self) -> int:
        return len(self.bodies)

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.bodies.append(body)
            self.headers.append(dict(handler.headers) | {"path": handler.path})
            number = len(self.bodies)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = self.answer(body, number)
            if answer is None:
                self.over.wait(HANG)
        finally:
            with self.lock:
                self.at_once -= 1  # before the client hears of it, who then may ask for more
        if answer:
            status, headers, content = answer
            handler.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(content)


@contextlib.contextmanager
def serving(answer: Callable[[dict[str, Any], int], Answer | None]) -> Iterator[tuple[Server, str]]:
    """The server and its URL."""
    server = Server(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with contextlib.suppress(ConnectionError):  # of a client that was killed or would not wait
                server._post(self)

        def log_message(self, format: str, *args: Any) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{http.server_port}/v1"
    finally:
        server.over.set()
        http.shutdown()
        thread.join()
        http.server_close()


def slowly(body: dict[str, Any], number: int, seconds: float = 0.02) -> Answer:
    time.sleep(seconds)
    return said(body, f"reply to {text_of(body)}")


def teacher(**changes: Any) -> Teacher:
    settings: dict[str, Any] = {"model": "wise"} | changes
    return Teacher(**settings)


def prepare(url: str, **changes: Any) -> Prepare:
    settings: dict[str, Any] = {"url": url, "concurrency": 4, "timeout": 60} | changes
    return Prepare(**settings)
