"""Weights & Biases as a mirror of the record: never read back, never the only copy, and no loss to a run when lost.

run id = our id, group = study, job type = arm, x-axis = tokens. Offline runs lie under
`outputs/wandb`; `wandb sync` sends them later.

W&B knows one group of a run. A run that a later study shares is mirrored into that study's group too, out of its
record, as `<our id>-in-<study>`.
"""

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from ablate.fit.parallel import strategy
from ablate.run.identity import flatten
from ablate.run.record import Record
from ablate.run.settings import Settings, UserError
from ablate.scores.metrics import Scope, readings

KINDS = ("train", "evaluation", "sample", "spike")  # of the rows that are mirrored


class Mirror(Logger):
    """Lightning's logger of W&B, begun with the first row; online at once, so that a missing login is told early.

    W&B's service takes a fifth of a second to start, so it starts on the side, while the run gets ready.
    """

    def __init__(self, settings: wandb.Settings, options: dict[str, Any], alerts: bool):
        self.settings, self.options, self.alerts = settings, options, alerts
        self.logger: WandbLogger | None = None
        self.lost = False
        if strategy.is_first():
            self.service = threading.Thread(target=_start, args=(settings,), daemon=True)
            self.service.start()
            if not options["offline"]:
                self._begin_online()

    @property
    def name(self) -> str:
        return self.options["project"]

    @property
    def version(self) -> str:
        return self.options["id"]

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """They are in the options."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """A row, as long as there is somebody to take it."""
        if not self.lost:
            with self._letting_go():
                self._begun().log_metrics(metrics, step)

    @rank_zero_only
    def close(self) -> None:
        """End the W&B run."""
        if not self.lost:
            with self._letting_go():
                wandb.finish()

    @rank_zero_only
    def alert(self, title: str, text: str) -> None:
        """Have W&B write to the user."""
        if not self.lost:
            with self._letting_go():
                self._begun().experiment.alert(title, text)

    def _begun(self) -> WandbLogger:
        if self.logger is None:
            self.service.join()
            self.logger = WandbLogger(settings=self.settings, **self.options)
            self.logger.experiment.define_metric("*", step_metric="tokens")
        return self.logger

    def _begin_online(self) -> None:
        try:
            self._begun()
        except wandb.errors.Error as error:
            raise UserError(f"where.wandb=online: {' '.join(str(error).split())}") from error

    @contextlib.contextmanager
    def _letting_go(self) -> Iterator[None]:
        """Go on without W&B when its service was killed or its disk is full: the record has all that it had."""
        try:
            yield
        except Exception as error:  # whatever its sockets raise, which it does not say
            self.lost = True
            print(f"W&B was lost, and the run goes on without it: {type(error).__name__}: {error}", flush=True)
            with contextlib.suppress(Exception):
                wandb.teardown()


def loggers(settings: Settings, record: Record, id: str = "") -> list[Logger]:
    """The Lightning loggers of a run: one for W&B, or none. `id`: at W&B, if not that of the run."""
    where = settings.where
    if where.wandb == "off":
        return []
    logging.getLogger("wandb").setLevel(logging.ERROR)
    # what the record has already (packages, commit) is not collected again: 0.2 s a run
    how = wandb.Settings(
        mode=where.wandb,
        silent=True,
        console="off",
        x_disable_stats=not where.wandb_system,
        disable_git=True,
        x_save_requirements=False,
    )
    options = {
        "project": where.wandb_project,
        "entity": where.wandb_entity or None,
        "tags": where.wandb_tags,
        "notes": where.wandb_notes or None,
        "id": id or record.id,
        "name": f"{where.arm} s{settings.seed}" if where.arm else record.id,
        "group": settings.study.name or None,
        "job_type": where.arm or None,
        "offline": where.wandb == "offline",
        "save_dir": where.outputs,
        "config": dataclasses.asdict(settings),
    }
    return [Mirror(how, options, where.wandb_alerts)]


def logged(kind: str, row: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """What is told of a row of the record: people want means; the study judges by its own declaration."""
    if kind == "sample":
        texts: list[Any] = [[row["step"], one["prompt"], one["text"]] for one in row["texts"]]
        return {"sample": wandb.Table(columns=["step", "prompt", "text"], data=texts), "tokens": row["tokens"]}
    if kind == "evaluation":
        row = row | {"sums": {}, "metric": readings(row, scope)}
    return {f"{kind}/{name}": value for name, value in flatten(row, "/").items()} | {"tokens": row["tokens"]}


def share(runs: Sequence[tuple[Settings, Record]]) -> None:
    """Mirror finished runs into the group of a study that did not train them, each once; settings as that study has."""
    for settings, record in runs:
        id = f"{record.id}-in-{settings.study.name}"
        if record.done and not any(Path(settings.where.outputs, "wandb").glob(f"*run-*-{id}")):
            _tell(loggers(settings, record, id), record, Scope(settings.data.domains, settings.data.focus))
    wandb.teardown()


def _tell(found: Sequence[Logger], record: Record, scope: Scope) -> None:
    """All rows of a record."""
    for logger in found:
        for kind in KINDS:
            for row in record.rows(kind):
                values = {name: value for name, value in row.items() if name != "kind"}
                logger.log_metrics(logged(kind, values, scope))
    close(found)


def alert(loggers: Sequence[Logger], title: str, text: str) -> None:
    """Have W&B write to the user, where that is asked for (`where.wandb_alerts`)."""
    for logger in loggers:
        if isinstance(logger, Mirror) and logger.alerts:
            logger.alert(title, text)


def announce(settings: Settings, record: Record, text: str) -> None:
    """Have W&B write what a study says, from a run of its own in the study's group: `<study>-verdict`."""
    name = f"{settings.study.name}-verdict"
    alone = dataclasses.replace(settings, where=dataclasses.replace(settings.where, arm="verdict"))
    found = loggers(alone, record, name)
    alert(found, f"{settings.study.name}: the verdict", text)
    close(found)
    wandb.teardown()


def close(loggers: Sequence[Logger]) -> None:
    """End the W&B run of this process, if there is one."""
    for logger in loggers:
        if isinstance(logger, Mirror):
            logger.close()


def _start(settings: wandb.Settings) -> None:
    with contextlib.suppress(Exception):  # the run that begins tells what is wrong
        wandb.setup(settings)
