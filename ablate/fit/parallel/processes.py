"""Processes that belong together: they start, are asked to stop and end as one, or with the one that started them."""

import multiprocessing
import multiprocessing.connection
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ablate.run.failures import PAUSED, RanksFailed
from ablate.run.processes import GRACE, stop_with_parent


def together(target: Callable[..., None], count: int, *arguments: Any) -> None:
    """Run `target(*arguments, rank, port)` in `count` processes. Raises RanksFailed when one fails.

    The others are stopped then, so that none waits for ever. Processes that all pause end as one that pauses.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([target.__module__])
    with free_port() as port:
        ranks = [context.Process(target=_alone, args=(target, *arguments, rank, port)) for rank in range(count)]
        _see_through(ranks)


def _see_through(ranks: list[Any]) -> None:
    """From their start to their end."""
    for process in ranks:
        process.start()
    with _passing_on_signals(ranks) as signals:
        try:
            while (alive := [p for p in ranks if p.exitcode is None]) and not _failed(ranks):
                multiprocessing.connection.wait([p.sentinel for p in alive])
        finally:
            codes = [process.exitcode for process in ranks]  # before any of them is killed for the sake of the others
            if not signals:  # a second one would cut short what they save
                _terminate(ranks)
            _join(ranks)
    if signals and any(process.exitcode for process in ranks):
        raise SystemExit(128 + signals[0])
    if _failed(ranks):
        raise RanksFailed(codes)
    if any(process.exitcode for process in ranks):
        raise SystemExit(PAUSED)


def _failed(ranks: list[Any]) -> bool:
    return any(process.exitcode not in (None, 0, PAUSED) for process in ranks)


@contextmanager
def _passing_on_signals(ranks: list[Any]) -> Iterator[list[int]]:
    """Asked to stop, ask all processes: each saves its part. Yields the signals that came."""
    signals: list[int] = []

    def note(number: int, frame: Any) -> None:
        signals.append(number)
        _terminate(ranks)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(ranks: list[Any]) -> None:
    for process in ranks:
        process.terminate()


def _join(ranks: list[Any]) -> None:
    """One that still waits for a process that is gone is killed."""
    deadline = time.monotonic() + GRACE
    for process in ranks:
        process.join(max(0, deadline - time.monotonic()))
        process.kill()
        process.join()


def _alone(target: Callable[..., None], *arguments: Any) -> None:
    stop_with_parent()
    target(*arguments)


@contextmanager
def free_port() -> Iterator[int]:
    """A port of this machine, which the system gives to nobody else meanwhile; a server of ours may listen on it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, who can then share it
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
