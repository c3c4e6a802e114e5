"""Processes that prepare text leave the server of processes to those that train."""

import multiprocessing
import sys
from multiprocessing import forkserver

from ablate.run.processes import spread


def work(number: int) -> None: ...


def told(answers) -> None:
    answers.put("colorsys" in sys.modules)


def test_the_next_processes_have_the_modules_that_they_ask_for():
    forkserver._forkserver._stop()  # of an earlier test
    assert sorted(spread(work, [0, 1], workers=2)) == [0, 1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["colorsys"])
    answers = context.SimpleQueue()
    process = context.Process(target=told, args=(answers,))
    process.start()
    assert answers.get()
    process.join()
    assert process.exitcode == 0
