"""Weights & Biases as a mirror of the record: never read back, never the only copy.

run id = our id, group = study, job type = arm, x-axis = tokens. Offline runs lie under
`outputs/wandb`; `wandb sync` sends them later.
"""

import dataclasses
import logging

import wandb
from lightning.pytorch.loggers import Logger, WandbLogger

from ablate.record import Record
from ablate.settings import Settings


def loggers(settings: Settings, record: Record) -> list[Logger]:
    """The Lightning loggers of a run: one for W&B, or none."""
    where = settings.where
    if where.wandb == "off":
        return []
    logging.getLogger("wandb").setLevel(logging.ERROR)
    logger = WandbLogger(
        project=where.wandb_project,
        id=record.id,
        name=f"{where.arm} s{settings.seed}" if where.arm else record.id,
        group=settings.study.name or None,
        job_type=where.arm or None,
        offline=where.wandb == "offline",
        save_dir=where.outputs,
        config=dataclasses.asdict(settings),
        # what the record has already (packages, commit) is not collected again: 0.2 s a run
        settings=wandb.Settings(
            silent=True, console="off", x_disable_stats=True, disable_git=True, x_save_requirements=False
        ),
    )
    logger.experiment.define_metric("*", step_metric="tokens")
    return [logger]


def close() -> None:
    """End the W&B run of this process, if there is one."""
    wandb.finish()
