"""Processes that do equal work: they end when the one that started them does, whatever ends it.

for number in spread(work, [0, 1, 2], workers=2): ...      work(0), work(1), work(2); each number when it is done
with alone(folder): ...                                    of all processes that ask for this folder, one at a time
"""

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from ablate.run.settings import UserError

GRACE = 30.0  # seconds that a process has to save, once it is asked to stop


def spread(work: Callable[[int], object], numbers: Sequence[int], workers: int) -> Iterator[int]:
    """Call `work` with every number, in up to `workers` processes; one needs none.

    Raises what the first of them raises, and UserError when one is killed.
    """
    workers = min(workers, len(numbers))
    if workers < 2:
        for number in numbers:
            work(number)
            yield number
        return
    _give_back()
    with _server_of(type(work).__module__) as context:
        yield from _pooled(work, numbers, ProcessPoolExecutor(workers, context, _begin))


@contextmanager
def _server_of(module: str) -> Iterator[BaseContext]:
    """A server to fork from that has imported the module. It ends here, for a process has one server, and the runs
    that come next need one of other modules and threads."""
    server: Any = forkserver._forkserver
    ours = server._forkserver_pid is None
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])  # imported once, not in every process
    try:
        yield context
    finally:
        if ours:
            server._stop()


def _pooled(work: Callable[[int], object], numbers: Sequence[int], pool: ProcessPoolExecutor) -> Iterator[int]:
    before = set(multiprocessing.active_children())
    try:
        futures = {pool.submit(work, number): number for number in numbers}
        for future in as_completed(futures):
            future.result()
            yield futures[future]
        pool.shutdown()
    except BrokenProcessPool:
        raise UserError(
            "a process that prepares text was killed or could not begin, perhaps for want of memory: fewer "
            "prepare.workers or smaller parts (prepare.part_mb) need less; the same command goes on from here"
        ) from None
    finally:  # interrupted, or one has failed: what the others are at is not waited for
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        pool.shutdown(cancel_futures=True)


@contextmanager
def alone(folder: Path, shown: bool) -> Iterator[None]:
    """Hold the lock of a folder, once whoever has it lets go. The system lets go of it when its holder dies."""
    from filelock import FileLock, Timeout  # who finds what is wanted needs none

    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if shown:
            print(f"waiting for another run that prepares {folder}", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stop_with_parent() -> None:
    """Have this process stopped, with SIGTERM and later SIGKILL, when the one that started it is gone."""
    threading.Thread(target=_outlive, daemon=True).start()


def _give_back() -> None:
    """Memory that this process has freed and its allocator keeps: others need it now."""
    with suppress(AttributeError):  # glibc's alone
        ctypes.CDLL(None).malloc_trim(0)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal it goes to all; who started this one sees to it
    stop_with_parent()


def _outlive() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)  # one that hangs does not hear
    os.kill(os.getpid(), signal.SIGKILL)
