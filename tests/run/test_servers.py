"""Processes that prepare text leave the server of processes to those that train."""

import multiprocessing
import sys

from ablate.run.processes import spread


def work(number: int) -> None: ...


def told(answers) -> None:
    answers.put("colorsys" in sys.modules)


def prepares_then_asks() -> None:
    """In a process of its own, which has no server yet: the one of all tests stays as it is."""
    assert sorted(spread(work, [0, 1], workers=2)) == [0, 1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["colorsys"])
    answers = context.SimpleQueue()
    process = context.Process(target=told, args=(answers,))
    process.start()
    assert answers.get()
    process.join()
    assert process.exitcode == 0


def test_the_next_processes_have_the_modules_that_they_ask_for():
    process = multiprocessing.get_context("spawn").Process(target=prepares_then_asks)
    process.start()
    process.join()
    assert process.exitcode == 0
