"""One claimed run: alone in this process, or in a process of its own with its output in a log.

The process of a sweep's run looks after itself: it notes why it failed, and stops with a checkpoint
when the launcher that started it is gone.
"""

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from ablate.data.tokens import check_held_out, prepare
from ablate.identity import run_id
from ablate.processes import stop_with_parent
from ablate.record import Record, make_folder, run_record
from ablate.settings import Settings, UserError
from ablate.sweep.ledger import Claimed, claim
from ablate.sweep.trunk import Branch, branches_of, growth

CLAIMED = 75  # exit code of a run that another process is training (EX_TEMPFAIL)


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
    with claim(record):
        # the one place where a sweep meets torch and Lightning, which take seconds to import
        train_run = importlib.import_module("ablate.fit.run").train_run
        way = growth(settings.where.outputs, ways)
        if way.start:
            way.start.touch()  # from now on nobody clears it away before it is read
        return record, train_run(settings, way)


def work(settings: Settings, folder: Path, ways: list[Branch] | None = None) -> None:
    """Main function of a run's own process. Exit code: 0 done, 1 failed with a reason in the record."""
    _log_to(folder)
    stop_with_parent()
    try:
        train_claimed(settings, ways)
    except Claimed as error:
        print(error, flush=True)
        sys.exit(CLAIMED)
    except UserError as error:
        Record(folder).fail("refused", str(error))
        print(f"error: {error}", flush=True)
        sys.exit(1)
    except Exception as error:
        traceback.print_exc()
        Record(folder).fail("crashed", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
        sys.exit(1)


def _log_to(folder: Path) -> None:
    """Send everything that is written to the terminal to the run's log instead."""
    make_folder(folder)
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
