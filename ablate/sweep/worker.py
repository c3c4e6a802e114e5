"""One claimed run: alone in this process, or in a process of its own with its output in a log.

The process of a sweep's run looks after itself: it tells and notes why it failed, and stops with a
checkpoint when the launcher that started it is gone.
"""

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ablate.data.tokens import Corpus, opened, prepare_for
from ablate.fit import parts
from ablate.fit.asking import asks_of, unanswered
from ablate.run import failures
from ablate.run import store as stores
from ablate.run.failures import CLAIMED, Claimed, noting
from ablate.run.files import make_own
from ablate.run.identity import record_name
from ablate.run.processes import stop_with_parent
from ablate.run.record import Record, run_record
from ablate.run.settings import Settings, UserError
from ablate.run.start import NONE, PHASE, teacher_of
from ablate.run.trunks import Growth
from ablate.sweep.adapted import adapted
from ablate.sweep.claims import claim
from ablate.sweep.trunk import Branch, branches_of, growth, missing


@dataclass(frozen=True)
class Task:
    """One run, as the process that trains it is told: what it is, its prepared text, its record, where it may start.

    `ways`: where the run may start from and what it leaves, or what was chosen of them. `until`: steps after which
    it pauses.
    """

    settings: Settings
    corpus: Path
    record: Record
    ways: Sequence[Branch] | Growth = ()
    until: int | None = None


def looked_up(settings: Settings) -> Settings:
    """The settings with the parent of `start`, and the teacher, found and named by their weights (`fit.parents`)."""
    # these load torch, which takes seconds that a run without a parent should not wait for
    if settings.start != NONE:
        settings = importlib.import_module("ablate.fit.parents").resolved(settings)
    if settings.distill.teacher != NONE:
        settings = importlib.import_module("ablate.fit.teachers").resolved(settings)
    return settings


def settled(settings: Settings) -> Settings:
    """As `looked_up`, of a run that no study asks for: with its weights, which depend on its seed (`mixture.adapt`)."""
    return adapted(looked_up(settings))


def text_of(settings: Settings) -> Corpus:
    """The text of a run, prepared where it is not there yet. Raises UserError."""

    def reader_of(run: str) -> Any:  # loads torch, which takes seconds that others should not wait for
        return importlib.import_module("ablate.fit.perplexity").reader_of(Path(settings.where.outputs))(run)

    return prepare_for(settings, reader_of)


def alone(settings: Settings) -> Task:
    """A run that no study asks for. Prepares its text; raises UserError when that or its parent cannot be had."""
    parts.check(settings)
    stores.check(settings.where.store)
    settings = settled(settings)
    if (teacher := teacher_of(settings)) and teacher.kind == PHASE:
        raise UserError(f"{teacher.setting}: is of a study with phases; a run alone has run:<id> or folder:<path>")
    corpus = text_of(settings)
    record = run_record(settings.where.outputs, record_name(settings, corpus.fingerprint))
    return Task(settings, corpus.folder, record, branches_of(settings, record.id, corpus.fingerprint))


def train(task: Task) -> dict[str, Any]:
    """Train one run in this process, or look up its result when it is done. The record says why a run failed."""
    record = task.record
    set_aside_damaged(record)
    if record.done:
        _ask(task)
        _put(task)
        return record.result() or {}
    record.try_again()
    with noting(record):
        corpus = opened(task.corpus)
        with claim(record, _leaves(task)):
            # who had the claim until now may have come to the end
            if not isinstance(task.ways, Growth):  # else it was looked up before the others were told (`look_up`)
                _fetch(task)
            result = record.result() or _train_claimed(task, corpus)
    _ask(task)
    _put(task)
    return result


def _train_claimed(task: Task, corpus: Corpus) -> dict[str, Any]:
    # the one place where a sweep meets torch and Lightning, which take seconds to import
    train_run = importlib.import_module("ablate.fit.run").train_run
    ways, outputs = task.ways, task.settings.where.outputs
    chosen = ways if isinstance(ways, Growth) else growth_deleting_damaged(outputs, ways, task.until)
    if chosen.start:
        chosen.start.touch()  # from now on nobody clears it away before it is read
    return train_run(task.settings, corpus, task.record, chosen)


def look_up(task: Task) -> bool:
    """Whether the run is done, here or on another machine: before several processes are told what to do."""
    set_aside_damaged(task.record)
    if task.settings.where.store and not task.record.done:
        with contextlib.suppress(Claimed), claim(task.record):
            _fetch(task)
    return task.record.done


def _fetch(task: Task) -> None:
    """Fetch the run if another machine has trained it. Where the store cannot be asked, the run is trained."""
    if (store := task.settings.where.store) and not task.record.done:
        try:
            stores.fetch(task.record, store)
        except UserError as error:
            print(f"not fetched: {error}", flush=True)


def _put(task: Task) -> None:
    """Put the run on the store. Where that cannot be done the run is done all the same, and the study tries again."""
    if store := task.settings.where.store:
        try:
            stores.put([task.record], store)
        except UserError as error:
            print(f"not stored: {error}", flush=True)


def set_aside_damaged(record: Record) -> None:
    """Of a run that is done. One that is not looks after itself (`run.checkpoints`)."""
    if record.done and (what := record.damage()):
        record.set_aside(what)


def _ask(task: Task) -> None:
    """Ask the final weights for the tasks of the settings. What cannot be asked is said: the run is done all the same,
    and who needs the answers asks again (`sweep.audit`)."""
    record, tasks = task.record, task.settings.evaluate.tasks
    if tasks and (record.result() or {}).get("outcome") == "finished":
        try:
            if asks := unanswered(asks_of(record, tasks)):
                importlib.import_module("ablate.fit.answering").answer(asks, task.settings.where.progress)
        except UserError as error:
            print(f"not asked: {error}", flush=True)


def work(task: Task, environment: dict[str, str] | None = None, says: Connection | None = None) -> None:
    """Main function of a run's own process, which stops with the launcher."""
    os.environ.update(task.settings.where.environment | (environment or {}))
    stop_with_parent()
    train_and_exit(task, says)


def train_and_exit(task: Task, says: Connection | None = None) -> None:
    """Train one run, with all output in its log. Exit code: 0 done, PAUSED, CLAIMED, or 1 for a failure.

    `says` gets the failure too: on a full disk the record does not hold it.
    """
    try:
        _log_to(task.record.folder)
        train(task)
    except Claimed as error:
        print(error, flush=True)
        sys.exit(CLAIMED)
    except Exception as error:
        if says:
            says.send(failures.of(error))
        with contextlib.suppress(OSError):  # the disk may be full
            traceback.print_exc()
            sys.stderr.flush()
        sys.exit(1)


def growth_deleting_damaged(outputs: str, ways: Sequence[Branch], until: int | None = None) -> Growth:
    """Where the run starts: the last whole trunk on its way. DELETES a trunk whose files are not as they were left."""
    chosen = growth(outputs, ways, until)
    while chosen.start and not chosen.start.whole():
        print(f"{chosen.start.folder} is damaged: removed", flush=True)
        chosen.start.remove()
        chosen = growth(outputs, ways, until)
    return chosen


def _leaves(task: Task) -> set[str]:
    """Keys of the trunks that the run will leave."""
    if isinstance(task.ways, Growth):
        return {trunk.key for trunk in task.ways.leave.values()}
    return missing(task.record, task.settings.where.outputs, task.ways)


def _log_to(folder: Path) -> None:
    """Send everything that is written to the terminal to the run's log instead."""
    make_own(folder)
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
