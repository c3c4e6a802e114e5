"""The teacher: a model behind an OpenAI-compatible endpoint (vLLM, llama.cpp, `transformers serve`, a paid one).

    endpoint = Endpoint.of(teacher, prepare, outputs / "corpus" / "replies.sqlite")    once a command, for all processes
    requests = [endpoint.request(prompt, text) for text in texts]
    replies = endpoint.ask(requests)                                                   in order

Every reply is kept when it arrives (`corpus.replies`), so that the same command goes on where it was killed, and equal
requests are paid for once, whoever makes them. What goes wrong:

    no answer, 408, 409, 425, 429, 5xx   asked again, later and later, or when it says; then one line, and an end
    no JSON, no text, another 4xx        asked again; then kept as wrong, and whoever asked does without the reply; of a
                                         model that never answered well, one line, and an end
    401, 402, 403, 404, 3xx              one line, and an end
    cut at `corpus.teacher.tokens`       a reply that is cut: asked again, it would be cut again

No key and no prompt is written anywhere, into messages neither.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import random
import re
import signal
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from ablate.corpus.exchange import Failure, Wire, tokens_of
from ablate.corpus.replies import Replies, Reply
from ablate.run.corpus import Prepare, Teacher
from ablate.run.settings import SettingsError, UserError

ATTEMPTS, FIRST_ATTEMPTS = 8, 3  # of one request; while the server has not answered once, fewer
WRONG_ATTEMPTS = 3  # of one that is answered, and not well
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds between two attempts: twice as many each time
PATIENCE = 600.0  # seconds that a server may ask to wait
URL = re.compile(r"https?://([a-z\d_.-]+|\[[\da-f:.]+\])(:\d{1,5})?(/[!-~]*)?", re.IGNORECASE)
A_URL = "must be that of a teacher, http://host:port/v1"
KEY = re.compile("[!-~]*")
POLL = 0.1  # seconds between two looks at what another process is asking for


class Stopped(Exception):
    """Another request has failed for good."""


class Spent(UserError):
    """As many requests are made as may be."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    teacher: Teacher
    prepare: Prepare
    path: Path  # of the replies
    command: str  # whose requests are counted together

    @classmethod
    def of(cls, teacher: Teacher, prepare: Prepare, path: Path) -> Self:
        """Raises SettingsError for what cannot be asked. Without a URL there are the replies that are kept."""
        if prepare.url and not (URL.fullmatch(prepare.url) and "@" not in prepare.url):
            raise SettingsError(f"prepare.url={prepare.url.rpartition('@')[2]}: {A_URL}")
        if prepare.key and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", prepare.key):
            raise SettingsError("prepare.key: must be the name of an environment variable, such as OPENAI_API_KEY")
        if not teacher.model:
            raise SettingsError(f"corpus.teacher.model={teacher.model}: must be the name of a model at prepare.url")
        return cls(teacher, prepare, path, _command())

    def key(self) -> dict[str, Any]:
        """All that decides a reply, besides the prompt; where it is from does not."""
        return {"chat": self.teacher.chat, "model": self.teacher.model} | self._sampling

    @property
    def _sampling(self) -> dict[str, Any]:
        of = self.teacher
        return {"max_tokens": of.tokens, "temperature": of.temperature, "seed": of.seed}

    def request(self, prompt: str, text: str) -> dict[str, Any]:
        """What is sent, and what the reply is kept under."""
        asked: dict[str, Any] = {"prompt": f"{prompt}\n\n{text}\n\n"}
        if self.teacher.chat:
            asked = {"messages": [{"role": "system", "content": prompt}, {"role": "user", "content": text}]}
        return {"model": self.teacher.model} | asked | self._sampling

    def kept(self) -> int:
        """Replies that are there, whoever asked for them."""
        with Replies(self.path) as replies:
            return replies.count()

    def ask(self, requests: Sequence[dict[str, Any]], of_all: np.ndarray | None = None) -> list[Reply]:
        """`of_all`: short keys of all that a domain asks for, to tell how much is missing where the budget ends."""
        keys = [key_of(request) for request in requests]
        with Replies(self.path) as replies:
            found = replies.find(list(dict.fromkeys(keys)))
            missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in found}
            if missing and not self.prepare.url:
                raise SettingsError(f"prepare.url=: {A_URL}")
            try:
                found |= _Asking(self, replies).all(missing) if missing else {}
            except Spent:
                every = short(keys) if of_all is None else of_all
                left = len(np.setdiff1d(every, short(replies.keys())))
                told = f"as many are made, and {left:,} of {len(every):,} replies are missing"
                raise Spent(f"prepare.requests={self.prepare.requests}: {told}; the same command goes on") from None
        return [found[key] for key in keys]


@contextmanager
def _terminated_late() -> Iterator[None]:
    """SIGTERM, which would end this process at once, lets it keep the replies under way first."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        asked_to = signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if asked_to:
            os.kill(os.getpid(), signal.SIGTERM)


def _terminate(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough
    raise SystemExit


@functools.cache
def _command() -> str:
    """A name for this process; those that it starts are told."""
    return uuid.uuid4().hex


def key_of(request: dict[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).digest()


def short(keys: Iterable[bytes]) -> np.ndarray:
    """The beginnings of keys, enough to tell them apart: uint64, sorted, each once."""
    return np.unique(np.array([int.from_bytes(key[:8]) for key in keys], np.uint64))


def costs(replies: Sequence[Reply]) -> dict[str, float]:
    """What replies took, to be summed; a reply that several documents share counts in each."""
    found = {
        "teacher.requests": sum(reply.requests for reply in replies),
        "teacher.prompt_tokens": sum(reply.prompt_tokens for reply in replies),
        "teacher.reply_tokens": sum(reply.reply_tokens for reply in replies),
        "teacher.estimated_tokens": sum(
            reply.prompt_tokens + reply.reply_tokens for reply in replies if reply.estimated
        ),
        "teacher.seconds": round(sum(reply.seconds for reply in replies), 3),
    }
    return {name: value for name, value in found.items() if value}


class _Asking:
    """Threads that ask at once, until all is answered or one has failed for good."""

    def __init__(self, endpoint: Endpoint, replies: Replies) -> None:
        self.teacher, self.prepare, self.command = endpoint.teacher, endpoint.prepare, endpoint.command
        self.replies, self.stop, self.answered = replies, threading.Event(), threading.Event()

    def all(self, missing: dict[bytes, dict[str, Any]]) -> dict[bytes, Reply]:
        path = "chat/completions" if self.teacher.chat else "completions"
        url, most = f"{self.prepare.url.rstrip('/')}/{path}", self.prepare.concurrency
        key = os.environ.get(self.prepare.key, "")
        if not KEY.fullmatch(key):
            what = "the key in it must be of plain characters, without spaces and ends of lines"
            raise SettingsError(f"prepare.key={self.prepare.key}: {what}")
        self.wire = Wire(url, key, self.prepare.timeout, most)
        with _terminated_late(), self.wire, ThreadPoolExecutor(most) as pool:
            futures = {key: pool.submit(self._one, key, request) for key, request in missing.items()}
            try:
                wait(futures.values(), return_when=FIRST_EXCEPTION)
            finally:  # those under way are waited for: they are paid
                self.stop.set()
                pool.shutdown(cancel_futures=True)
        errors = [error for future in futures.values() if not future.cancelled() and (error := future.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error
        return {key: future.result() for key, future in futures.items()}

    def _one(self, key: bytes, request: dict[str, Any]) -> Reply:
        """Ask, unless another thread or process does so or has done so."""
        while not self.stop.is_set():
            claim = self.replies.claim(key, self.prepare.concurrency, self._lease)
            if claim.reply:
                return claim.reply
            if claim.granted:
                try:
                    reply = self._insisting(key, request)
                    self.replies.keep(key, self.teacher.model, reply)
                    return reply
                except BaseException:
                    self.stop.set()
                    self.replies.release(key)
                    raise
            self.stop.wait(POLL)
        raise Stopped

    @property
    def _lease(self) -> float:
        """Seconds from one attempt to the next, at most."""
        return self.prepare.timeout + PATIENCE + LONGEST_WAIT

    def _insisting(self, key: bytes, request: dict[str, Any]) -> Reply:
        """The reply, after several attempts if need be. Raises UserError, Spent or Stopped."""
        start, wrongs = time.monotonic(), 0
        for attempt in itertools.count(1):
            got = self._attempt(request)
            if isinstance(got, Reply):
                return got._replace(requests=attempt, seconds=round(time.monotonic() - start, 3))
            wrongs += bool(got.wrong)
            most = ATTEMPTS if self.answered.is_set() else FIRST_ATTEMPTS
            if got.final or got.wait > PATIENCE or (attempt >= most and not got.wrong):
                raise UserError(f"{self.wire.url}: {got.said}, at attempt {attempt}; the same command goes on")
            if wrongs >= WRONG_ATTEMPTS:
                if not self.replies.has_good(self.teacher.model):
                    raise UserError(f"{self.wire.url}: {got.said}; {self.teacher.model} has never answered well")
                tokens = attempt * tokens_of(json.dumps(request))
                return Reply("", got.wrong, attempt, tokens, 0, True, round(time.monotonic() - start, 3))
            pause = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5)
            if self.stop.wait(max(pause, got.wait)):
                raise Stopped
            self.replies.renew(key, self._lease)
        raise AssertionError

    def _attempt(self, request: dict[str, Any]) -> Reply | Failure:
        if not self.replies.spend(self.command, self.prepare.requests):
            raise Spent
        got = self.wire.send(request)
        if isinstance(got, Reply) or got.answered:
            self.answered.set()
        if isinstance(got, Failure) and not got.paid:
            self.replies.refund(self.command)
        return got
