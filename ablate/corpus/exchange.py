"""One request to an OpenAI-compatible server, and what came of it: a reply, or what went wrong.

What a server says of an error stays out of messages where it repeats the key or the text that was sent.
"""

import email.utils
import json
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ablate.corpus.document import clean
from ablate.corpus.replies import Reply
from ablate.run.settings import UserError

if TYPE_CHECKING:
    import httpx

LATER = {408, 409, 425, 429}  # and 500 upwards
NEVER = {401, 402, 403, 404, 405}  # and below 400: wrong keys, models and addresses
SAID, REPEATED = 160, 24  # characters of what a server says; so many of those sent are a repetition
BYTES_A_TOKEN = 4  # where a server does not count
MOST_BYTES = 16_000_000  # that are read of what a server says: no reply is as long
MOST_TOKENS = 2**53  # more are not counted, but made up
THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)  # aloud, before the reply


class Failure(NamedTuple):
    said: str
    wrong: str = ""  # as in a reply: what is the matter with this request, not with the server
    paid: bool = True  # or may be
    answered: bool = True
    wait: float = 0.0  # seconds that the server asks for
    final: bool = False


class Wire:
    """The way to one server, for all threads of a process."""

    def __init__(self, url: str, key: str, timeout: int, most: int) -> None:
        try:
            import httpx
        except ImportError:
            raise UserError("a teacher behind an endpoint needs `pip install ablate[corpus]`") from None
        self.url, self.key, self.timeout = url, key, timeout
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=most)
        self.client: httpx.Client = httpx.Client(headers=headers, timeout=timeout, limits=limits)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def send(self, request: dict[str, Any]) -> Reply | Failure:
        import httpx

        try:
            status, headers, body = self._exchanged(request)
        except httpx.TimeoutException as error:
            connecting = isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
            return Failure(f"no answer within {self.timeout} s", paid=not connecting, answered=False)
        except httpx.HTTPError as error:
            connecting = isinstance(error, httpx.ConnectError)
            return Failure(_line(str(error)) or type(error).__name__, paid=not connecting, answered=False)
        if status == 200:
            return _read(request, body)
        said = f"{status} {self._harmless(body, request)}".strip()
        if status in LATER or status >= 500:
            return Failure(said, paid=False, wait=_asked_to_wait(headers.get("retry-after", "")))
        return Failure(said, "refused", paid=False, final=status in NEVER or status < 400)

    def _exchanged(self, request: dict[str, Any]) -> "tuple[int, httpx.Headers, bytes]":
        """Status, headers and body; the timeout counts for all of it, not only from one byte to the next."""
        import httpx

        end, body = time.monotonic() + self.timeout, bytearray()
        with self.client.stream("POST", self.url, json=request) as response:
            for some in response.iter_bytes():
                body += some
                if time.monotonic() > end:
                    raise httpx.ReadTimeout("too slow")
                if len(body) > MOST_BYTES:
                    break
            return response.status_code, response.headers, bytes(body)

    def _harmless(self, body: bytes, request: dict[str, Any]) -> str:
        """What a server says of an error, in one line; nothing where it repeats what was sent."""
        try:
            error = json.loads(body)["error"]
            said = _line(error["message"] if isinstance(error, dict) else error)
        except (ValueError, KeyError, TypeError, AttributeError):
            return ""
        sent = " ".join(_sent(request).split())
        pieces = {said[first : first + REPEATED] for first in range(max(1, len(said) - REPEATED + 1))}
        repeats = any(piece in sent for piece in pieces) or (self.key and self.key[:8] in said)
        return "" if repeats else said


def _sent(request: dict[str, Any]) -> str:
    """The text that the server was sent."""
    return request.get("prompt") or "\n".join(message["content"] for message in request["messages"])


def _line(text: str) -> str:
    return " ".join(text.split())[:SAID]


def _read(request: dict[str, Any], body: bytes) -> Reply | Failure:
    """What a server says that has served."""
    try:
        said = json.loads(body)
        choice = said["choices"][0]
        text = choice["message"]["content"] if "messages" in request else choice["text"]
        text, wrong = clean(THOUGHT.sub("", text or "")), "cut" if choice.get("finish_reason") == "length" else ""
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return Failure("a reply that is none", "garbled")
    if not text.strip():
        return Failure("a reply without text", "empty")
    of_prompt, of_text = _counted(said, "prompt_tokens"), _counted(said, "completion_tokens")
    if of_prompt is not None and of_text is not None:
        return Reply(text, wrong, 1, of_prompt, of_text)
    return Reply(text, wrong, 1, tokens_of(_sent(request)), tokens_of(text), estimated=True)


def _counted(said: dict[str, Any], name: str) -> int | None:
    """What a server counted; None where it did not."""
    usage = said.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and 0 <= count < MOST_TOKENS else None


def tokens_of(text: str) -> int:
    """An estimate."""
    return -(-len(text.encode()) // BYTES_A_TOKEN)


def _asked_to_wait(header: str) -> float:
    """Seconds of a Retry-After, which is a number or a date."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0
