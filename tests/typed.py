"""Commands as a user types them, each in a process of its own that has torch and Lightning loaded already."""

import os
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from subprocess import CompletedProcess

from ablate.__main__ import main

Typed = Callable[..., CompletedProcess[str]]
SECONDS = 500


def typed(server: ForkServerContext, said: Path, folder: Path, *words: str) -> CompletedProcess[str]:
    """`ablate WORDS` in a folder whose modules it finds, to its end; what it prints goes through files in `said`."""
    out, err = said / "out", said / "err"
    process = server.Process(target=_type, args=(folder, out, err, words))
    process.start()
    process.join(SECONDS)
    assert process.exitcode is not None, f"ablate {' '.join(words)} takes more than {SECONDS} s"
    return CompletedProcess(words, process.exitcode, out.read_text(), err.read_text())


def _type(folder: Path, out: Path, err: Path, words: tuple[str, ...]) -> None:
    for number, path in enumerate((out, err), start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.argv = ["ablate", *words]
    main(list(words))
