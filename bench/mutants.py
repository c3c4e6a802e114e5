"""Small errors planted in the code, one at a time: does a test fail for each of them?

    for each mutant    copy the files that git tracks, replace one text, run the tests named, throw the copy away

A test that no error can make fail protects nothing, and reading a test does not show which errors it notices. So each
mutant here is one plausible slip (a sign, a bound, a missing condition) in code that a verdict hangs on, with the
narrowest test file that must notice it. The first forty were made by hand in a review of the code: ten of them
survived every test of their module, and got a worked example each. `tests/test_mutants.py` keeps the list in step
with the code. Unlike `bench.mutations`, which grade the detector of confounds inside a running process, these change
the source and grade the tests.

    killed      a test fails
    survived    all tests pass: an example is missing
    hung        a test fails by its timeout alone; the wait in the test needs a shorter deadline of its own

A mutant proves something only where its tests pass without it, so these are run first, all together.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from bench.mutants_of_runs import RUNS
from bench.mutants_of_verdicts import VERDICTS
from bench.rounds import Row

ROOT = Path(__file__).parent.parent
TEST_SECONDS = 120  # of one test, after which it counts as hung
SECONDS = 900  # of all the tests of one mutant; of those without a mutant, as many times as there are files
QUICK = 12  # with --quick, every so many mutants
Outcome = Literal["killed", "survived", "hung"]


class Mutant(NamedTuple):
    """`tests`: files, or files and a test in them, that must fail once `old` has become `new` in `file`."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = [Mutant(*listed) for listed in (*VERDICTS, *RUNS)]


def mutants(quick: bool) -> list[Row]:
    """Errors planted in the code, and whether the tests fail for them."""
    chosen = MUTANTS[::QUICK] if quick else MUTANTS
    files = sorted({test for mutant in chosen for test in mutant.tests})
    with copied() as folder:
        outcome, said = tested(folder, files, SECONDS * len(files))
    if outcome != "survived":
        raise RuntimeError(f"the tests fail without any mutant ({outcome}):\n{said}")
    rows, seconds = [], []
    for mutant in chosen:
        start = time.monotonic()
        outcome = judged(mutant)
        seconds.append(round(time.monotonic() - start, 1))
        print(f"{len(rows) + 1} of {len(chosen)}, {seconds[-1]:.0f} s, {outcome}: {mutant.name}", flush=True)
        rows.append(Row(mutant.name, f"{outcome} by {' '.join(mutant.tests)}", [float(outcome == "killed")], 1.0))
    share = sum(row.median for row in rows) / len(rows)
    return [*rows, Row("all", "share killed", [share], 1.0), Row("all", "seconds a mutant", seconds)]


def judged(mutant: Mutant) -> Outcome:
    """What the tests of a mutant say of it. Raises ValueError unless its text stands in its file exactly once."""
    with copied() as folder:
        plant(mutant, folder)
        return tested(folder, mutant.tests, SECONDS)[0]


def plant(mutant: Mutant, folder: Path) -> None:
    """Change the one text in a copy of the repository."""
    path = folder / mutant.file
    text = path.read_text()
    if (count := text.count(mutant.old)) != 1:
        raise ValueError(f"mutant {mutant.name!r}: its text must stand in {mutant.file} once, and does {count} times")
    path.write_text(text.replace(mutant.old, mutant.new))


@contextlib.contextmanager
def copied() -> Iterator[Path]:
    """A copy of all files that git tracks, as they are now; gone afterwards."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
        for name in (name for name in names.split("\0") if name and os.path.lexists(ROOT / name)):
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, Path(folder) / name, follow_symlinks=False)
        yield Path(folder)


def tested(folder: Path, tests: Iterable[str], seconds: float) -> tuple[Outcome, str]:
    """Run some tests of a copy: what became of them, and their last words. Nothing that they started is left."""
    options = ["-n", "0", "-x", "-q", "--timeout", str(TEST_SECONDS), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "--basetemp", str(folder / ".tests"), *tests]
    with (folder / ".said").open("w+") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    words = (folder / ".said").read_text()[-4000:]
    if code == 0:
        return "survived", words
    if code is None or "Timeout (>" in words:
        return "hung", words
    if code == 1:
        return "killed", words
    raise RuntimeError(f"pytest could not run {' '.join(tests)} (exit code {code}):\n{words}")
