"""Commands as a user types them, each in a process of its own that has torch and Lightning loaded already."""

import multiprocessing
import os
import sys
import tempfile
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from subprocess import CompletedProcess

from ablate.__main__ import main
from ablate.sweep.executors.local import PRELOADED

ROOT = Path(__file__).parents[1]
SECONDS = 500
IMPORTED = [*PRELOADED, "ablate.train", "ablate.sweep.launcher", "ablate.sweep.conduct"]


def warm() -> ForkServerContext:
    """Processes forked from a server that has imported what runs and commands need, and stays for all tests."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    forkserver.ensure_running()  # now: whoever prepares text would begin one for itself alone
    return context


def typed(*words: str, there: Path = ROOT) -> CompletedProcess[str]:
    """`ablate WORDS`, typed in a folder whose modules it finds, to its end."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = warm().Process(target=_type, args=(there, out, err, words))
        process.start()
        process.join(SECONDS)
        assert process.exitcode is not None, f"ablate {' '.join(words)} takes more than {SECONDS} s"
        return CompletedProcess(words, process.exitcode, out.read_text(), err.read_text())


def _type(there: Path, out: Path, err: Path, words: tuple[str, ...]) -> None:
    for number, path in enumerate((out, err), start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(there)
    sys.path.insert(0, str(there))
    sys.argv = ["ablate", *words]
    main(list(words))
