"""Replies that were paid for, kept the moment they arrive, and who is asking for which: one sqlite file.

    replies    by the sha256 of all that was asked: text, what was wrong with it, what it took
    asking     what a process is asking for now, so that no other pays for it as well; that of a dead one is void,
               and that of one that was not heard of for longer than it said (`run.owners`)
    commands   requests that a command has made, whichever of its processes did

The write-ahead log lets processes of one machine read and write at once; it does not work over a network.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from ablate.run import owners
from ablate.run.files import make_folder
from ablate.run.settings import UserError

BUSY_SECONDS = 60.0  # that a process waits for another's transaction
ASKED_AT_ONCE = 500  # keys in one question to sqlite
TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY, model TEXT, text TEXT, wrong TEXT,
    requests INTEGER, prompt_tokens INTEGER, reply_tokens INTEGER, estimated INTEGER, seconds REAL);
CREATE TABLE IF NOT EXISTS asking (
    key BLOB PRIMARY KEY, machine TEXT, pid INTEGER, born TEXT, beat INTEGER, seconds REAL);
CREATE TABLE IF NOT EXISTS commands (command TEXT PRIMARY KEY, requests INTEGER);
"""


class Reply(NamedTuple):
    text: str
    wrong: str = ""  # why it is not to be used: cut, empty, garbled, refused
    requests: int = 1  # made for it, those in vain too
    prompt_tokens: int = 0
    reply_tokens: int = 0
    estimated: bool = False  # whether the tokens are, from the length of the text
    seconds: float = 0.0


class Claim(NamedTuple):
    """What became of the wish to ask: the reply that is there, or the lease, or neither yet."""

    reply: Reply | None = None
    granted: bool = False


class Replies:
    """The open file, for all threads of a process. Raises UserError where it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.Lock()
        self.owner, self.listener = tuple(owners.owner(os.getpid()).values()), owners.Listener()
        make_folder(path.parent)
        with self._faults():
            self.file = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            _log_ahead(self.file)
            self.file.execute("PRAGMA synchronous=FULL")  # else a crash of the machine may cost replies
            self.file.executescript(TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Reply]:
        found = {}
        for first in range(0, len(keys), ASKED_AT_ONCE):
            some = keys[first : first + ASKED_AT_ONCE]
            marks = ",".join("?" * len(some))
            with self._transaction() as file:
                rows = file.execute(f"SELECT key, {', '.join(Reply._fields)} FROM replies WHERE key IN ({marks})", some)
                found |= {key: _reply(rest) for key, *rest in rows}
        return found

    def keys(self) -> Iterable[bytes]:
        with self._transaction() as file:
            return [key for (key,) in file.execute("SELECT key FROM replies")]

    def count(self) -> int:
        with self._transaction() as file:
            return file.execute("SELECT COUNT(*) FROM replies").fetchone()[0]

    def has_good(self, model: str) -> bool:
        """Whether the model has ever answered as it should."""
        with self._transaction() as file:
            return bool(
                file.execute(
                    "SELECT 1 FROM replies WHERE model=? AND wrong IN ('', 'cut') LIMIT 1", (model,)
                ).fetchone()
            )

    def claim(self, key: bytes, most: int, seconds: float) -> Claim:
        """The reply, or leave to ask for it for some time, as long as no more than `most` are asked for at once."""
        with self._transaction() as file:
            row = file.execute(f"SELECT {', '.join(Reply._fields)} FROM replies WHERE key=?", (key,)).fetchone()
            if row:
                return Claim(_reply(row))
            leases = file.execute("SELECT * FROM asking").fetchall()
            void = [lease[0] for lease in leases if not self._holds(*lease)]
            file.executemany("DELETE FROM asking WHERE key=?", [(one,) for one in void])
            held = {lease[0] for lease in leases} - set(void)
            self.listener.forget_all_but(held)
            if len(held) >= most or key in held:
                return Claim()
            file.execute("INSERT INTO asking VALUES (?, ?, ?, ?, ?, ?)", (key, *self.owner, _beat(), seconds))
        return Claim(granted=True)

    def renew(self, key: bytes, seconds: float) -> None:
        with self._transaction() as file:
            file.execute("UPDATE asking SET beat=?, seconds=? WHERE key=?", (_beat(), seconds, key))

    def release(self, key: bytes) -> None:
        with self._transaction() as file:
            file.execute("DELETE FROM asking WHERE key=?", (key,))

    def keep(self, key: bytes, model: str, reply: Reply) -> None:
        """The reply, and an end to its lease."""
        marks = ",".join("?" * (2 + len(Reply._fields)))
        columns = f"key, model, {', '.join(Reply._fields)}"
        with self._transaction() as file:
            file.execute(f"INSERT OR REPLACE INTO replies ({columns}) VALUES ({marks})", (key, model, *reply))
            file.execute("DELETE FROM asking WHERE key=?", (key,))

    def spend(self, command: str, most: int) -> bool:
        """Count one request more; False if the command has made as many as it may (0: no limit)."""
        with self._transaction() as file:
            file.execute("INSERT OR IGNORE INTO commands VALUES (?, 0)", (command,))
            (made,) = file.execute("SELECT requests FROM commands WHERE command=?", (command,)).fetchone()
            if most and made >= most:
                return False
            file.execute("UPDATE commands SET requests=requests+1 WHERE command=?", (command,))
        return True

    def refund(self, command: str) -> None:
        """A request that the server would not serve."""
        with self._transaction() as file:
            file.execute("UPDATE commands SET requests=requests-1 WHERE command=?", (command,))

    def _holds(self, key: bytes, machine: str, pid: int, born: str, beat: int, seconds: float) -> bool:
        owner = {"machine": machine, "pid": pid, "born": born}
        return not owners.is_gone(owner) and self.listener.silent(key, (machine, pid, born, beat)) < seconds

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self.lock, self._faults():
            self.file.execute("BEGIN IMMEDIATE")
            try:
                yield self.file
            except BaseException:
                self.file.execute("ROLLBACK")
                raise
            self.file.execute("COMMIT")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UserError(f"{self.path}: {error}") from None


def _reply(row: Sequence) -> Reply:
    reply = Reply(*row)
    return reply._replace(estimated=bool(reply.estimated))


def _log_ahead(file: sqlite3.Connection) -> None:
    """Several processes may open a new file at once, and sqlite does not wait for this one lock."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            file.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _beat() -> int:
    """A number that this process gives once."""
    return time.monotonic_ns()
