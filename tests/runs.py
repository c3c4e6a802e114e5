"""What tests of whole runs share: where a run is recorded, and the same run elsewhere."""

import dataclasses
from pathlib import Path

from ablate.data.tokens import prepare
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
