"""One claimed run: alone in this process, or in a process of its own with its output in a log.

The process of a sweep's run looks after itself: it tells and notes why it failed, and stops with a
checkpoint when the launcher that started it is gone.
"""

import contextlib
import importlib
import os
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from ablate.data.tokens import check_held_out, prepare
from ablate.identity import run_id
from ablate.processes import stop_with_parent
from ablate.record import Growth, Record, make_folder, run_record
from ablate.settings import OutOfMemory, Settings, UserError
from ablate.sweep.ledger import Claimed, claim
from ablate.sweep.trunk import Branch, branches_of, growth, missing

CLAIMED = 75  # exit code of a run that another process is training (EX_TEMPFAIL)


class Failure(NamedTuple):
    """Why a run is not done, as its record says it."""

    outcome: str
    reason: str


def train_claimed(settings: Settings, ways: list[Branch] | None = None) -> tuple[Record, dict[str, Any]]:
    """Train one run in this process, or look up its result when it is done.

    `ways`: where it may start from and what it leaves; if not given, those of the run by itself.
    """
    corpus = prepare(settings.data, Path(settings.where.outputs), progress=settings.where.progress)
    check_held_out(corpus, settings.data.span, settings.evaluation.spans)
    record = run_record(settings.where.outputs, run_id(settings, corpus.fingerprint))
    if record.done:
        return record, record.result() or {}
    if ways is None:
        ways = branches_of(settings, record.id, corpus.fingerprint)
    with claim(record, missing(record, settings.where.outputs, ways)):
        # the one place where a sweep meets torch and Lightning, which take seconds to import
        train_run = importlib.import_module("ablate.fit.run").train_run
        return record, train_run(settings, _growth(settings.where.outputs, ways))


def work(
    settings: Settings, folder: Path, ways: list[Branch] | None, environment: dict[str, str], says: Connection
) -> None:
    """Main function of a run's own process. Exit code: 0 done, 1 failed with a reason, which it also `says`."""
    os.environ.update(environment)
    try:
        _log_to(folder)
        stop_with_parent()
        train_claimed(settings, ways)
    except Claimed as error:
        print(error, flush=True)
        sys.exit(CLAIMED)
    except (OutOfMemory, MemoryError) as error:
        _fail(Failure("out of memory", str(error) or "none was left"), folder, says)
    except UserError as error:
        _fail(Failure("refused", str(error)), folder, says)
    except Exception as error:
        _fail(Failure("crashed", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"), folder, says)


def _growth(outputs: str, ways: list[Branch]) -> Growth:
    """From the last trunk that still holds what was left in it; one that was damaged is removed."""
    found = growth(outputs, ways)
    if not found.start or found.start.whole():
        return found
    print(f"{found.start.folder} is damaged: removed", flush=True)
    found.start.remove()
    return _growth(outputs, ways)


def _fail(failure: Failure, folder: Path, says: Connection) -> None:
    """Say why, note it and log it, as far as a full disk allows."""
    says.send(failure)
    with contextlib.suppress(UserError):
        Record(folder).fail(*failure)
    with contextlib.suppress(OSError):
        traceback.print_exc()
        sys.stderr.flush()
    sys.exit(1)


def _log_to(folder: Path) -> None:
    """Send everything that is written to the terminal to the run's log instead."""
    make_folder(folder)
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
