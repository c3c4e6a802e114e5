"""Prepared text that is what its manifest tells (`run.whole`), of which large shards are known by samples."""

from pathlib import Path
from typing import Any

from ablate.data.verified import SAMPLED, sampled_sha256_of
from ablate.run import whole


def wrong(folder: Path, files: dict[str, Any]) -> str | None:
    """What is wrong with the first file that is not as the manifest tells; `files`: its size and sha256 by name.

    Shards that lie elsewhere (`data.mapped`) are known by their names in full.
    """
    return whole.wrong(folder, files, _sum_of)


def _sum_of(path: Path, told: str) -> str:
    return (sampled_sha256_of if told.startswith(SAMPLED) else whole.sha256_of)(path)
