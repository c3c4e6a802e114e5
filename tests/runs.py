"""What tests of whole runs share: where a run is recorded, the same run elsewhere, and one that is interrupted."""

import dataclasses
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from ablate.data.tokens import prepare
from ablate.fit import checkpoint
from ablate.fit.run import train_run
from ablate.identity import run_id
from ablate.record import Record, run_record
from ablate.settings import Settings


def record_of(settings: Settings) -> Record:
    corpus = prepare(settings.data, Path(settings.where.outputs))
    return run_record(settings.where.outputs, run_id(settings, corpus.fingerprint))


def elsewhere(settings: Settings, folder: Path) -> Settings:
    """The same run, into another output folder that shares the data."""
    folder.mkdir()
    (folder / "data").symlink_to(Path(settings.where.outputs) / "data")
    return dataclasses.replace(settings, where=dataclasses.replace(settings.where, outputs=str(folder)))


class Interruption(Exception):
    """What stops a run here, as an error in the midst of training would."""


class Stopping(checkpoint.Saver):
    """Raises after step `at`, having saved if that was due: what came after the last save is lost."""

    at = 0

    def on_train_batch_end(self, trainer: L.Trainer, *rest: Any, **more: Any) -> None:
        super().on_train_batch_end(trainer, *rest, **more)
        if trainer.global_step == self.at:
            raise Interruption


def interrupt(settings: Settings, at: int) -> Path:
    """Train until step `at` and no further; the checkpoint that is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stopping, "at", at)
        patch.setattr(checkpoint, "Saver", Stopping)
        with pytest.raises(Interruption):
            train_run(settings)
    left = checkpoint.newest(record_of(settings).checkpoints)
    assert left is not None
    return left
