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
from ablate.fit.processes import stop_with_parent
from ablate.run.files import make_folder
from ablate.run.identity import record_name
from ablate.run.record import Growth, Record, run_record
from ablate.run.settings import OutOfMemory, Settings, UserError
from ablate.sweep.ledger import Claimed, claim
from ablate.sweep.trunk import Branch, branches_of, growth, missing

CLAIMED = 75  # exit code of a run that another process is training (EX_TEMPFAIL)


class Failure(NamedTuple):
    """Why a run is not done, as its record says it."""

    outcome: str
    reason: str


def train_claimed(
    settings: Settings, ways: list[Branch] | Growth | None = None, until: int | None = None
) -> tuple[Record, dict[str, Any]]:
    """Train one run in this process, or look up its result when it is done.

    `ways`: where it may start from and what it leaves, or what was chosen of them; if not given, those of
    the run by itself. `until`: steps after which it pauses.
    """
    corpus = prepare(settings.data, Path(settings.where.outputs), progress=settings.where.progress)
    check_held_out(corpus, settings.data.span, settings.evaluation.spans)
    record = run_record(settings.where.outputs, record_name(settings, corpus.fingerprint))
    if record.done:
        return record, record.result() or {}
    if ways is None:
        ways = branches_of(settings, record.id, corpus.fingerprint)
    with claim(record, _leaves(record, settings.where.outputs, ways)):
        # the one place where a sweep meets torch and Lightning, which take seconds to import
        train_run = importlib.import_module("ablate.fit.run").train_run
        chosen = ways if isinstance(ways, Growth) else sound(settings.where.outputs, ways, until)
        if chosen.start:
            chosen.start.touch()  # from now on nobody clears it away before it is read
        return record, train_run(settings, chosen)


def work(
    settings: Settings,
    folder: Path,
    ways: list[Branch] | None = None,
    until: int | None = None,
    environment: dict[str, str] | None = None,
    says: Connection | None = None,
) -> None:
    """Main function of a run's own process, which stops with the launcher."""
    os.environ.update(environment or {})
    stop_with_parent()
    train_noting(settings, folder, ways, until, says)


def train_noting(
    settings: Settings,
    folder: Path,
    ways: list[Branch] | Growth | None,
    until: int | None = None,
    says: Connection | None = None,
) -> None:
    """Train one run. Exit code: 0 done, PAUSED, CLAIMED by another, 1 failed with a reason, which it also `says`."""
    try:
        _log_to(folder)
        train_claimed(settings, ways, until)
    except Claimed as error:
        print(error, flush=True)
        sys.exit(CLAIMED)
    except (OutOfMemory, MemoryError) as error:
        _fail(Failure("out of memory", str(error) or "none was left"), folder, says)
    except UserError as error:
        _fail(Failure("refused", str(error)), folder, says)
    except Exception as error:
        _fail(Failure("crashed", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"), folder, says)


def sound(outputs: str, ways: list[Branch], until: int | None = None) -> Growth:
    """From the last trunk that still holds what was left in it; one that was damaged is removed."""
    found = growth(outputs, ways, until)
    if not found.start or found.start.whole():
        return found
    print(f"{found.start.folder} is damaged: removed", flush=True)
    found.start.remove()
    return sound(outputs, ways, until)


def _leaves(record: Record, outputs: str, ways: list[Branch] | Growth) -> set[str]:
    """Keys of the trunks that the run will leave."""
    if isinstance(ways, Growth):
        return {trunk.key for trunk in ways.leave.values()}
    return missing(record, outputs, ways)


def _fail(failure: Failure, folder: Path, says: Connection | None) -> None:
    """Say why, note it and log it, as far as a full disk allows."""
    if says:
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
