"""Finished runs on an object store: machines without a common disk train none of them twice.

    where.store=s3://bucket/lab        runs/<id>/ of it has what a finished run leaves, result.json last

Any address that fsspec knows: s3://, gs://, abfs://, file:///. A run is fetched where it would be trained, and put
there once it is done. What comes back is held against its own sums before it is believed. Studies stay where they
are judged: how often one was looked at is known to its own outputs alone.
"""

import importlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablate.run.files import make_folder
from ablate.run.record import Record
from ablate.run.settings import UserError

OWN = ("checkpoints", "claim.lock", "failure.json", "pulse", "verified.json")  # of the machine that trains
LAST = "result.json"  # without it a run is not done, here or there


def put(records: Sequence[Record], store: str) -> None:
    """Put finished runs there that are not there yet. Raises UserError."""
    with _opened(store) as (system, runs):
        done = [record for record in records if record.done]
        for record in (one for one in done if not system.exists(f"{runs}/{one.id}/{LAST}")):
            for path in _files(record.folder):
                to = f"{runs}/{record.id}/{path.relative_to(record.folder).as_posix()}"
                system.makedirs(to.rpartition("/")[0], exist_ok=True)
                system.put_file(str(path), to)


def fetch(record: Record, store: str) -> bool:
    """Fetch a finished run, if it is there and whole; whoever calls has the claim of the run. Raises UserError."""
    outputs = make_folder(record.folder.parents[1])
    with _opened(store) as (system, runs), tempfile.TemporaryDirectory(dir=outputs, prefix=".fetched-") as folder:
        if not system.exists(f"{runs}/{record.id}/{LAST}"):
            return False
        found = Record(Path(folder, record.id))
        system.get(f"{runs}/{record.id}", str(found.folder), recursive=True)
        if what := found.damage() if found.done else f"{LAST} did not come":
            print(f"not fetched: {store}: {record.id}: {what}; it is trained here", flush=True)
            return False
        for path in _files(found.folder):
            to = record.folder / path.relative_to(found.folder)
            make_folder(to.parent)
            path.replace(to)
    shutil.rmtree(record.checkpoints, ignore_errors=True)
    return True


def _files(folder: Path) -> list[Path]:
    """What a run leaves, `LAST` at the end."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    kept = [path for path in paths if path.relative_to(folder).parts[0] not in OWN]
    return sorted(kept, key=lambda path: path.name == LAST)


@contextmanager
def _opened(store: str) -> Iterator[tuple[Any, str]]:
    """The file system, and the place of runs in it."""
    try:
        system, root = importlib.import_module("fsspec").url_to_fs(store)
        system.invalidate_cache()  # others write there, too
        yield system, f"{root.rstrip('/')}/runs"
    except UserError:
        raise
    except Exception as error:  # each kind of store has errors of its own
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"where.store={store}: {said}") from None
